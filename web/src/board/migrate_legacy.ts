/** The three panel types from before Grafana 7, turned into the modern ones: graph, singlestat and the old table. */
import { isObject, num, obj, objects, optNum, str, strings, type Json } from './json';
import { legacyReducer } from './reducers';

/** Converted is a panel's visual part in modern terms; readFieldConfig normalises it further. */
export interface Converted {
  type: string;
  options: Json;
  fieldConfig: Json;
  overrides: Json[];
  transformations: { id: string; options: Json }[];
}

const PALETTE = ['rgba(50, 172, 45, 0.97)', 'rgba(237, 129, 40, 0.89)', 'rgba(245, 54, 54, 0.9)'];

/** legacyGraph turns the flot graph into a time series, or into what its x axis asked for: bars per series, or a histogram. */
export function legacyGraph(original: Json): Converted {
  const raw = olderGraph(original);
  const axes = objects(raw.yaxes);
  const left = axes[0] ?? {};
  const right = axes[1] ?? {};
  const custom: Json = {
    ...graphStyle(raw),
    axisLabel: str(left.label),
    axisPlacement: left.show === false ? 'hidden' : 'auto',
    scaleDistribution: num(left.logBase, 1) > 1 ? { type: 'log', log: num(left.logBase, 10) } : { type: 'linear' },
    ...graphThresholds(raw),
  };
  const defaults: Json = { custom, unit: str(left.format, 'short'), ...axisLimits(left), ...graphThresholdSteps(raw) };
  if (defaults.decimals === undefined && optNum(raw.decimals) !== undefined) {
    defaults.decimals = optNum(raw.decimals);
  }
  if (raw.nullPointMode === 'null as zero') {
    defaults.nullValueMode = 'null as zero';
  }
  const tooltip = obj(raw.tooltip);
  const options = {
    legend: graphLegend(obj(raw.legend)),
    tooltip: { mode: tooltip.shared === false ? 'single' : 'multi', sort: num(tooltip.sort, 0) === 2 ? 'desc' : num(tooltip.sort, 0) === 1 ? 'asc' : 'none' },
  };
  const overrides = [...aliasColors(obj(raw.aliasColors)), ...objects(raw.seriesOverrides).map((o) => seriesOverride(o, right))];
  if (obj(raw.xaxis).show === false) {
    overrides.push({ matcher: { id: 'byType', options: 'time' }, properties: [{ id: 'custom.axisPlacement', value: 'hidden' }] });
  }
  return graphKind({ type: 'timeseries', options, fieldConfig: defaults, overrides, transformations: [] }, obj(raw.xaxis));
}

function graphKind(c: Converted, xaxis: Json): Converted {
  if (xaxis.mode === 'histogram') {
    const buckets = optNum(xaxis.buckets);
    return { ...c, type: 'histogram', options: { legend: c.options.legend, tooltip: c.options.tooltip, ...(buckets === undefined ? {} : { bucketCount: buckets }) } };
  }
  if (xaxis.mode !== 'series') {
    return c;
  }
  const first = str((xaxis.values as unknown[] | undefined)?.[0]);
  const calcs = [legacyReducer(first, 'sum')];
  return { ...c, type: 'bargauge', options: { reduceOptions: { calcs, values: false }, orientation: 'vertical', displayMode: 'gradient', showUnfilled: false } };
}

/** olderGraph reads the settings of Grafana 2: `grid`, `y_formats` and a legend that was a mere switch. */
function olderGraph(raw: Json): Json {
  const out = { ...raw };
  if (typeof raw.legend === 'boolean') {
    out.legend = { show: raw.legend };
  }
  const grid = obj(raw.grid);
  if (!Array.isArray(raw.yaxes)) {
    const formats = strings(raw.y_formats);
    const axis = (side: 'left' | 'right', i: number): Json => ({
      format: formats[i] ?? 'short', show: raw['y-axis'] !== false, label: str(raw[`${side}YAxisLabel`]), logBase: num(grid[`${side}LogBase`], 1),
      min: grid[`${side}Min`] ?? null, max: grid[`${side}Max`] ?? null,
    });
    out.yaxes = [axis('left', 0), axis('right', 1)];
    out.xaxis = isObject(raw.xaxis) ? raw.xaxis : { show: raw['x-axis'] !== false };
  }
  if (!Array.isArray(raw.thresholds) && optNum(grid.threshold1) !== undefined) {
    const line = grid.thresholdLine === true;
    const step = (n: 1 | 2, op: string): Json => ({
      value: grid[`threshold${n}`], op, line, fill: !line, colorMode: 'custom', fillColor: grid[`threshold${n}Color`], lineColor: grid[`threshold${n}Color`],
    });
    const op = optNum(grid.threshold2) !== undefined && num(grid.threshold1, 0) > num(grid.threshold2, 0) ? 'lt' : 'gt';
    out.thresholds = [step(1, op), ...(optNum(grid.threshold2) === undefined ? [] : [step(2, op)])];
  }
  return out;
}

function graphStyle(raw: Json): Json {
  const bars = raw.bars === true;
  const points = raw.points === true;
  const gradient = num(raw.fillGradient, 0);
  return {
    drawStyle: bars ? 'bars' : raw.lines === false && points ? 'points' : 'line',
    lineWidth: raw.lines === false && !bars && !points ? 0 : num(raw.linewidth, 1),
    fillOpacity: bars ? 100 : gradient > 0 ? gradient * 10 : num(raw.fill, 1) * 10,
    ...(gradient > 0 && !bars ? { gradientMode: 'opacity' } : {}),
    lineInterpolation: raw.steppedLine === true ? 'stepAfter' : 'linear',
    pointSize: num(raw.pointradius, 2) * 2,
    showPoints: points ? 'always' : 'never',
    spanNulls: raw.nullPointMode === 'connected',
    stacking: { mode: raw.stack === true ? (raw.percentage === true ? 'percent' : 'normal') : 'none', group: 'A' },
    ...(raw.dashes === true ? { lineStyle: { fill: 'dash', dash: [num(raw.dashLength, 10), num(raw.spaceLength, 10)] } } : {}),
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
  const calcs = legend.values === true ? ['min', 'max', 'avg', 'current', 'total'].filter((c) => legend[c] === true).map((c) => legacyReducer(c)) : [];
  const sort = str(legend.sort);
  return {
    showLegend: legend.show !== false,
    displayMode: legend.alignAsTable === true ? 'table' : 'list',
    placement: legend.rightSide === true ? 'right' : 'bottom',
    calcs,
    ...(num(legend.sideWidth, 0) > 0 ? { width: num(legend.sideWidth, 0) } : {}),
    ...(sort === '' ? {} : { sortBy: legendHeader(legacyReducer(sort)), sortDesc: legend.sortDesc === true }),
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

/** A "gt" threshold colours what lies above it, an "lt" one what lies below: together they make the steps of today. */
function graphThresholdSteps(raw: Json): Json {
  const colors: Record<string, string> = { critical: 'red', warning: 'orange', ok: 'green' };
  const colorOf = (t: Json) => colors[str(t.colorMode)] ?? str(t.fillColor, str(t.lineColor, 'red'));
  const sorted = objects(raw.thresholds).filter((t) => optNum(t.value) !== undefined).sort((a, b) => num(a.value, 0) - num(b.value, 0));
  const steps: { value: number | null; color: string }[] = [];
  sorted.forEach((t, i) => {
    const next = sorted[i + 1];
    if (t.op === 'lt') {
      if (i === 0) {
        steps.push({ value: null, color: colorOf(t) });
      }
      steps.push({ value: num(t.value, 0), color: next?.op === 'lt' ? colorOf(next) : 'transparent' });
    } else {
      steps.push({ value: num(t.value, 0), color: colorOf(t) });
    }
  });
  if (steps.length === 0) {
    return {};
  }
  if (steps[0]?.value !== null) {
    steps.unshift({ value: null, color: 'transparent' });
  }
  return { thresholds: { mode: 'absolute', steps }, color: { mode: 'palette-classic' } };
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
  if (o.points !== undefined) {
    add('custom.showPoints', o.points === true ? 'always' : 'never');
  }
  if (o.pointradius !== undefined) {
    add('custom.pointSize', num(o.pointradius, 2) * 2);
  }
  if (o.steppedLine !== undefined) {
    add('custom.lineInterpolation', o.steppedLine === true ? 'stepAfter' : 'linear');
  }
  if (o.nullPointMode !== undefined) {
    add('custom.spanNulls', o.nullPointMode === 'connected');
  }
  if (o.fillGradient !== undefined && num(o.fillGradient, 0) > 0) {
    add('custom.gradientMode', 'opacity');
    add('custom.fillOpacity', num(o.fillGradient, 0) * 10);
  }
  if (o.dashes === true) {
    add('custom.lineStyle', { fill: 'dash', dash: [num(o.dashLength, 10), num(o.spaceLength, 10)] });
  }
  if (typeof o.fillBelowTo === 'string') {
    add('custom.fillBelowTo', o.fillBelowTo);
  }
  if (o.legend === false || o.hiddenSeries === true || o.hideTooltip === true) {
    add('custom.hideFrom', { legend: o.legend === false, viz: o.hiddenSeries === true, tooltip: o.hideTooltip === true || o.hiddenSeries === true });
  }
  const regex = /^\/.*\/[a-z]*$/.test(alias);
  return { matcher: { id: regex ? 'byRegexp' : 'byName', options: alias }, properties };
}

/** legacySingleStat turns a single stat into a stat, or a gauge when it drew one. Before version 9 its first threshold meant nothing. */
export function legacySingleStat(raw: Json, from: number): Converted {
  const gauge = obj(raw.gauge);
  const asGauge = gauge.show === true;
  const calc = legacyReducer(str(raw.valueName, 'avg'), 'mean');
  const defaults: Json = {
    unit: statUnit(raw),
    ...axisLimits(raw),
    mappings: statMappings(raw),
    thresholds: { mode: 'absolute', steps: colorSteps(thresholdTexts(raw.thresholds, from < 9), strings(raw.colors)) },
    color: { mode: 'thresholds' },
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
  const sparkline = obj(raw.sparkline);
  const stat = {
    reduceOptions,
    colorMode: raw.colorBackground === true ? 'background' : raw.colorValue === true ? 'value' : 'none',
    graphMode: sparkline.show === true ? 'area' : 'none',
    justifyMode: 'center',
    textMode: raw.valueName === 'name' ? 'name' : 'value',
    orientation: 'horizontal',
    ...statTextSize(raw),
  };
  return {
    type: asGauge ? 'gauge' : 'stat',
    options: asGauge ? { reduceOptions, showThresholdMarkers: gauge.thresholdMarkers !== false, showThresholdLabels: gauge.thresholdLabels === true } : stat,
    fieldConfig: defaults,
    overrides: [],
    transformations: [],
  };
}

/** A prefix or postfix survives as a unit of its own when the panel had no other. */
function statUnit(raw: Json): string {
  const unit = str(raw.format, 'none');
  if (unit !== 'none' && unit !== '') {
    return unit;
  }
  const [prefix, postfix] = [str(raw.prefix).trim(), str(raw.postfix).trim()];
  return postfix !== '' ? `suffix:${postfix}` : prefix !== '' ? `prefix:${prefix}` : 'none';
}

/** The font size of a single stat was a share of 38 px in per cent; today's text size is in pixels and only set when it was changed. */
function statTextSize(raw: Json): Json {
  const share = optNum(str(raw.valueFontSize).replace('%', ''));
  return share === undefined || share === 80 ? {} : { text: { valueSize: Math.round((38 * share) / 100) } };
}

function thresholdTexts(raw: unknown, dropFirst: boolean): number[] {
  const texts = Array.isArray(raw) ? strings(raw) : str(raw).split(',');
  const values = texts.map((s) => optNum(s)).filter((n) => n !== undefined);
  return dropFirst && values.length >= 3 ? values.slice(1) : values;
}

function colorSteps(values: readonly number[], own: readonly string[]): Json[] {
  const colors = own.length > 0 ? own : PALETTE;
  return [{ value: null, color: colors[0] ?? 'green' }, ...values.map((value, i) => ({ value, color: colors[i + 1] ?? colors[colors.length - 1] ?? 'red' }))];
}

function statMappings(raw: Json): Json[] {
  if (num(raw.mappingType, 1) === 2) {
    return objects(raw.rangeMaps).map((m) => ({ type: 2, from: m.from, to: m.to, text: m.text }));
  }
  return objects(raw.valueMaps).map((m) => ({ type: 1, value: m.value, text: m.text }));
}

/** legacyTable turns the old table, with its styles by pattern, into the modern one. */
export function legacyTable(raw: Json, from: number): Converted {
  const styles = objects(raw.styles);
  const transform = str(raw.transform, 'table');
  const transformations: Converted['transformations'] = [];
  if (transform === 'timeseries_to_rows') {
    transformations.push({ id: 'seriesToRows', options: {} });
  } else if (transform === 'timeseries_to_columns') {
    transformations.push({ id: 'joinByField', options: { mode: 'outer' } });
  } else if (transform === 'timeseries_aggregations') {
    const reducers = objects(raw.columns).map((c) => legacyReducer(str(c.value)));
    transformations.push({ id: 'reduce', options: { includeTimeField: false, reducers: reducers.length > 0 ? reducers : ['mean'] } });
  } else {
    transformations.push({ id: 'merge', options: {} });
  }
  const sort = obj(raw.sort);
  return {
    type: 'table',
    options: { showHeader: raw.showHeader !== false, ...(typeof sort.col === 'number' ? { legacySortColumn: sort.col, legacySortDesc: sort.desc === true } : {}) },
    fieldConfig: { custom: { align: 'auto' } },
    // The catch-all pattern comes last in old tables and first in modern ones, where later rules win.
    overrides: [...styles].reverse().map((style) => tableStyle(style, from)),
    transformations,
  };
}

function tableStyle(style: Json, from: number): Json {
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
    add('thresholds', { mode: 'absolute', steps: colorSteps(thresholdTexts(style.thresholds, from < 10), strings(style.colors)) });
  }
  if (str(style.align) !== '' && style.align !== 'auto') {
    add('custom.align', str(style.align));
  }
  const mappings = style.type === 'string' ? statMappings(style) : [];
  if (mappings.length > 0) {
    add('mappings', mappings);
  }
  return { matcher: { id: regex ? 'byRegexp' : 'byName', options: pattern }, properties };
}

function dateUnit(format: string): string {
  return format === '' || format === 'YYYY-MM-DD HH:mm:ss' ? 'dateTimeAsIso' : `time:${format}`;
}
