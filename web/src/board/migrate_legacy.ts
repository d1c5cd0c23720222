/** The three panel types from before Grafana 7, turned into the modern ones: graph, singlestat and the old table. */
import { isObject, num, obj, objects, optNum, str, strings, type Json } from './json';

/** Converted is a panel's visual part in modern terms; readFieldConfig normalises it further. */
export interface Converted {
  type: string;
  options: Json;
  fieldConfig: Json;
  overrides: Json[];
  transformations: { id: string; options: Json }[];
}

const CALCS: Record<string, string> = {
  avg: 'mean', current: 'lastNotNull', total: 'sum', last: 'lastNotNull', min: 'min', max: 'max', first: 'firstNotNull', delta: 'delta',
  diff: 'diff', range: 'range', count: 'count', last_time: 'lastNotNull',
};

const PALETTE = ['rgba(50, 172, 45, 0.97)', 'rgba(237, 129, 40, 0.89)', 'rgba(245, 54, 54, 0.9)'];

/** legacyGraph turns the flot graph into a time series. */
export function legacyGraph(raw: Json): Converted {
  const axes = objects(raw.yaxes);
  const left = axes[0] ?? {};
  const right = axes[1] ?? {};
  const custom: Json = {
    drawStyle: raw.bars === true ? 'bars' : raw.lines === false && raw.points === true ? 'points' : 'line',
    lineWidth: num(raw.linewidth, 1),
    fillOpacity: raw.bars === true ? 100 : num(raw.fill, 1) * 10,
    lineInterpolation: raw.steppedLine === true ? 'stepAfter' : 'linear',
    pointSize: num(raw.pointradius, 2) * 2,
    showPoints: raw.points === true ? 'always' : 'never',
    spanNulls: raw.nullPointMode === 'connected',
    stacking: { mode: raw.stack === true ? (raw.percentage === true ? 'percent' : 'normal') : 'none', group: 'A' },
    axisLabel: str(left.label),
    axisPlacement: left.show === false ? 'hidden' : 'auto',
    scaleDistribution: num(left.logBase, 1) > 1 ? { type: 'log', log: num(left.logBase, 10) } : { type: 'linear' },
    ...graphThresholds(raw),
  };
  const defaults: Json = { custom, unit: str(left.format, 'short'), ...axisLimits(left), ...graphThresholdSteps(raw) };
  if (raw.nullPointMode === 'null as zero') {
    defaults.nullValueMode = 'null as zero';
  }
  const tooltip = obj(raw.tooltip);
  return {
    type: 'timeseries',
    options: {
      legend: graphLegend(obj(raw.legend)),
      tooltip: { mode: tooltip.shared === false ? 'single' : 'multi', sort: num(tooltip.sort, 0) === 2 ? 'desc' : num(tooltip.sort, 0) === 1 ? 'asc' : 'none' },
    },
    fieldConfig: defaults,
    overrides: [...aliasColors(obj(raw.aliasColors)), ...objects(raw.seriesOverrides).map((o) => seriesOverride(o, right))],
    transformations: [],
  };
}

function axisLimits(axis: Json): Json {
  const out: Json = {};
  for (const key of ['min', 'max', 'decimals']) {
    const n = optNum(axis[key]);
    if (n !== undefined) {
      out[key] = n;
    }
  }
  return out;
}

function graphLegend(legend: Json): Json {
  const calcs = legend.values === true ? ['min', 'max', 'avg', 'current', 'total'].filter((c) => legend[c] === true).map((c) => CALCS[c] ?? c) : [];
  const sort = str(legend.sort);
  return {
    showLegend: legend.show !== false,
    displayMode: legend.alignAsTable === true || calcs.length > 1 ? 'table' : 'list',
    placement: legend.rightSide === true ? 'right' : 'bottom',
    calcs,
    ...(num(legend.sideWidth, 0) > 0 ? { width: num(legend.sideWidth, 0) } : {}),
    ...(sort === '' ? {} : { sortBy: legendHeader(CALCS[sort] ?? sort), sortDesc: legend.sortDesc === true }),
  };
}

function legendHeader(calc: string): string {
  const names: Record<string, string> = { mean: 'Mean', max: 'Max', min: 'Min', sum: 'Total', lastNotNull: 'Last *' };
  return names[calc] ?? calc;
}

function graphThresholds(raw: Json): Json {
  const all = objects(raw.thresholds);
  if (all.length === 0) {
    return {};
  }
  const fill = all.some((t) => t.fill === true);
  const line = all.some((t) => t.line === true);
  return { thresholdsStyle: { mode: fill && line ? 'line+area' : fill ? 'area' : 'line' } };
}

function graphThresholdSteps(raw: Json): Json {
  const colors: Record<string, string> = { critical: 'red', warning: 'orange', ok: 'green' };
  const steps = objects(raw.thresholds)
    .filter((t) => optNum(t.value) !== undefined && t.op !== 'lt')
    .map((t) => ({ value: num(t.value, 0), color: colors[str(t.colorMode)] ?? str(t.lineColor, str(t.fillColor, 'red')) }))
    .sort((a, b) => a.value - b.value);
  return steps.length === 0 ? {} : { thresholds: { mode: 'absolute', steps: [{ value: null, color: 'transparent' }, ...steps] }, color: { mode: 'palette-classic' } };
}

function aliasColors(colors: Json): Json[] {
  return Object.entries(colors)
    .filter(([, c]) => typeof c === 'string')
    .map(([name, c]) => ({ matcher: { id: 'byName', options: name }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: c } }] }));
}

function seriesOverride(o: Json, right: Json): Json {
  const alias = str(o.alias);
  const properties: Json[] = [];
  const add = (id: string, value: unknown) => properties.push({ id, value });
  if (typeof o.color === 'string') {
    add('color', { mode: 'fixed', fixedColor: o.color });
  }
  if (o.yaxis !== undefined && num(o.yaxis, 1) === 2) {
    add('custom.axisPlacement', 'right');
    add('unit', str(right.format, 'short'));
    for (const [key, value] of Object.entries(axisLimits(right))) {
      add(key, value);
    }
    if (str(right.label) !== '') {
      add('custom.axisLabel', str(right.label));
    }
  }
  if (o.transform !== undefined) {
    add('custom.transform', o.transform);
  }
  if (o.fill !== undefined) {
    add('custom.fillOpacity', num(o.fill, 1) * 10);
  }
  if (o.linewidth !== undefined) {
    add('custom.lineWidth', num(o.linewidth, 1));
  }
  if (o.stack !== undefined) {
    const group = typeof o.stack === 'string' ? o.stack : 'A';
    add('custom.stacking', { mode: o.stack === false ? 'none' : 'normal', group });
  }
  if (o.bars === true) {
    add('custom.drawStyle', 'bars');
  } else if (o.lines === true) {
    add('custom.drawStyle', 'line');
  }
  if (o.lines === false && o.bars !== true) {
    add('custom.lineWidth', 0);
  }
  if (o.dashes === true) {
    add('custom.lineStyle', { fill: 'dash', dash: [num(o.dashLength, 10), num(o.spaceLength, 10)] });
  }
  if (typeof o.fillBelowTo === 'string') {
    add('custom.fillBelowTo', o.fillBelowTo);
  }
  if (o.legend === false || o.hiddenSeries === true) {
    add('custom.hideFrom', { legend: o.legend === false, viz: o.hiddenSeries === true, tooltip: false });
  }
  const regex = /^\/.*\/[a-z]*$/.test(alias);
  return { matcher: { id: regex ? 'byRegexp' : 'byName', options: alias }, properties };
}

/** legacySingleStat turns a single stat into a stat, or a gauge when it drew one. */
export function legacySingleStat(raw: Json): Converted {
  const gauge = obj(raw.gauge);
  const asGauge = gauge.show === true;
  const calc = CALCS[str(raw.valueName, 'avg')] ?? 'mean';
  const colored = raw.colorValue === true || raw.colorBackground === true || asGauge;
  const defaults: Json = {
    unit: str(raw.format, 'none'),
    ...axisLimits(raw),
    mappings: statMappings(raw),
    ...statThresholds(raw, colored),
  };
  const noValue = str(raw.nullText);
  if (noValue !== '') {
    defaults.noValue = noValue;
  }
  if (asGauge) {
    defaults.min = num(gauge.minValue, 0);
    defaults.max = num(gauge.maxValue, 100);
  }
  const column = str(raw.tableColumn);
  const reduceOptions = { calcs: [calc], values: false, fields: column === '' ? '' : `/^${column.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$/` };
  const stat = {
    reduceOptions,
    colorMode: raw.colorBackground === true ? 'background' : raw.colorValue === true ? 'value' : 'none',
    graphMode: obj(raw.sparkline).show === true ? 'area' : 'none',
    justifyMode: 'center',
    textMode: raw.valueName === 'name' ? 'name' : 'value',
    orientation: 'horizontal',
  };
  return {
    type: asGauge ? 'gauge' : 'stat',
    options: asGauge ? { reduceOptions, showThresholdMarkers: gauge.thresholdMarkers !== false, showThresholdLabels: gauge.thresholdLabels === true } : stat,
    fieldConfig: defaults,
    overrides: [],
    transformations: [],
  };
}

function statThresholds(raw: Json, colored: boolean): Json {
  const values = str(raw.thresholds).split(',').map((s) => optNum(s)).filter((n) => n !== undefined);
  const own = strings(raw.colors);
  const colors = own.length > 0 ? own : PALETTE;
  if (!colored) {
    return { color: { mode: 'fixed', fixedColor: 'text' } };
  }
  const steps = [{ value: null as number | null, color: colors[0] ?? 'green' }, ...values.map((value, i) => ({ value, color: colors[i + 1] ?? 'red' }))];
  return { thresholds: { mode: 'absolute', steps }, color: { mode: 'thresholds' } };
}

function statMappings(raw: Json): Json[] {
  if (num(raw.mappingType, 1) === 2) {
    return objects(raw.rangeMaps).map((m) => ({ type: 2, from: m.from, to: m.to, text: m.text }));
  }
  return objects(raw.valueMaps).map((m) => ({ type: 1, value: m.value, text: m.text }));
}

/** legacyTable turns the old table, with its styles by pattern, into the modern one. */
export function legacyTable(raw: Json): Converted {
  const styles = objects(raw.styles);
  const transform = str(raw.transform, 'table');
  const transformations: Converted['transformations'] = [];
  if (transform === 'timeseries_to_rows') {
    transformations.push({ id: 'seriesToRows', options: {} });
  } else if (transform === 'timeseries_to_columns') {
    transformations.push({ id: 'joinByField', options: { byField: 'Time', mode: 'outer' } });
  } else if (transform === 'timeseries_aggregations') {
    const reducers = objects(raw.columns).map((c) => CALCS[str(c.value)] ?? str(c.value));
    transformations.push({ id: 'reduce', options: { reducers: reducers.length > 0 ? reducers : ['mean'] } });
  } else {
    transformations.push({ id: 'merge', options: {} });
  }
  const sort = obj(raw.sort);
  return {
    type: 'table',
    options: { showHeader: raw.showHeader !== false, ...(typeof sort.col === 'number' ? { legacySortColumn: sort.col, legacySortDesc: sort.desc === true } : {}) },
    fieldConfig: { custom: { align: 'auto' } },
    // The catch-all pattern comes last in old tables and first in modern ones, where later rules win.
    overrides: [...styles].reverse().map(tableStyle),
    transformations,
  };
}

function tableStyle(style: Json): Json {
  const pattern = str(style.pattern);
  const regex = /^\/.*\/[a-z]*$/.test(pattern);
  const properties: Json[] = [];
  const add = (id: string, value: unknown) => properties.push({ id, value });
  switch (style.type) {
    case 'hidden':
      add('custom.hideFrom.viz', true);
      break;
    case 'date':
      add('unit', dateUnit(str(style.dateFormat)));
      break;
    case 'number':
      add('unit', str(style.unit, 'short'));
      add('decimals', optNum(style.decimals) ?? 2);
      break;
  }
  if (str(style.alias) !== '') {
    add('displayName', str(style.alias));
  }
  if (style.link === true && str(style.linkUrl) !== '') {
    add('links', [{ title: str(style.linkTooltip), url: str(style.linkUrl), targetBlank: style.linkTargetBlank === true }]);
  }
  const mode = str(style.colorMode);
  if (mode !== '' && mode !== 'null' && isObject(style)) {
    add('custom.cellOptions', { type: mode === 'value' ? 'color-text' : 'color-background', mode: 'basic', applyToRow: mode === 'row' });
    const values = strings(style.thresholds).map((s) => optNum(s)).filter((n) => n !== undefined);
    const colors = strings(style.colors);
    const steps = [{ value: null as number | null, color: colors[0] ?? 'green' }, ...values.map((value, i) => ({ value, color: colors[i + 1] ?? 'red' }))];
    add('thresholds', { mode: 'absolute', steps });
  }
  return { matcher: { id: regex ? 'byRegexp' : 'byName', options: pattern }, properties };
}

function dateUnit(format: string): string {
  return format === '' || format === 'YYYY-MM-DD HH:mm:ss' ? 'dateTimeAsIso' : `time:${format}`;
}
