/** One panel's JSON made modern: old types through migrate_legacy.ts, then what each schema version changed in the types that stayed. */
import { isObject, list, num, obj, objects, optNum, str, strings, type Json } from './json';
import { legacyGraph, legacySingleStat, legacyTable, type Converted } from './migrate_legacy';
import { legacyHeatmap, legacyPie } from './migrate_legacy_charts';
import { seriesReducer } from './reducers';

/** Keys of the old types that conversion has used up; left in place they would be converted again. */
const USED: Record<string, readonly string[]> = {
  graph: [
    'aliasColors', 'bars', 'dashLength', 'dashes', 'decimals', 'fill', 'fillGradient', 'hiddenSeries', 'legend', 'lines', 'linewidth', 'nullPointMode', 'percentage', 'pointradius', 'points',
    'renderer', 'seriesOverrides', 'spaceLength', 'stack', 'steppedLine', 'thresholds', 'timeRegions', 'tooltip', 'xaxis', 'yaxes', 'yaxis', 'grid', 'y_formats', 'y-axis', 'x-axis',
    'leftYAxisLabel', 'rightYAxisLabel',
  ],
  singlestat: [
    'cacheTimeout', 'colorBackground', 'colorPostfix', 'colorPrefix', 'colorValue', 'colors', 'decimals', 'format', 'gauge', 'mappingType', 'mappingTypes', 'nullPointMode', 'nullText', 'postfix',
    'postfixFontSize', 'prefix', 'prefixFontSize', 'rangeMaps', 'sparkline', 'tableColumn', 'thresholds', 'valueFontSize', 'valueMaps', 'valueName',
  ],
  table: ['columns', 'fontSize', 'pageSize', 'scroll', 'showHeader', 'sort', 'styles', 'transform'],
  heatmap: [
    'cards', 'color', 'dataFormat', 'heatmap', 'hideZeroBuckets', 'highlightCards', 'legend', 'reverseYBuckets', 'tooltip', 'tooltipDecimals', 'xAxis', 'xBucketNumber', 'xBucketSize', 'yAxis',
    'yBucketBound', 'yBucketNumber', 'yBucketSize',
  ],
  piechart: ['aliasColors', 'breakPoint', 'combine', 'fontSize', 'format', 'legend', 'legendType', 'nullPointMode', 'pieType', 'strokeWidth', 'valueName', 'decimals'],
};

/** upgradePanel answers a modern copy of a panel that came from a board of the given schema version. */
export function upgradePanel(raw: Json, from: number): Json {
  let panel: Json = { ...raw };
  panel.type = str(panel.type, 'timeseries');
  const [converted, used] = convertLegacy(panel, from);
  if (converted) {
    panel = apply(panel, converted, USED[used] ?? []);
  }
  if (panel.type === 'text' || panel.type === 'text2') {
    panel = upgradeText(panel);
  }
  upgradeSingleStatShared(panel);
  upgradeMinSpan(panel);
  upgradeOptions(panel);
  upgradeFieldConfig(panel, from);
  upgradeTransformations(panel, from);
  upgradeLinks(panel);
  if (panel.repeatPanelId !== undefined && from < 27) {
    delete panel.repeatPanelId;
  }
  return panel;
}

function convertLegacy(panel: Json, from: number): [Converted | null, string] {
  switch (panel.type) {
    case 'graph':
    case 'graphite':
    case 'flot':
      return [legacyGraph(panel), 'graph'];
    case 'singlestat':
    case 'grafana-singlestat-panel':
      return [legacySingleStat(panel, from), 'singlestat'];
    case 'table-old':
      return [legacyTable(panel, from), 'table'];
    case 'table':
      return Array.isArray(panel.styles) ? [legacyTable(panel, from), 'table'] : [null, ''];
    case 'grafana-piechart-panel':
      return [legacyPie(panel), 'piechart'];
    case 'heatmap':
      return isObject(panel.yAxis) || typeof panel.dataFormat === 'string' || isObject(panel.cards) ? [legacyHeatmap(panel), 'heatmap'] : [null, ''];
    default:
      return [null, ''];
  }
}

function apply(panel: Json, c: Converted, used: readonly string[]): Json {
  const out: Json = { ...panel };
  used.forEach((key) => delete out[key]);
  out.type = c.type;
  out.options = c.options;
  const { custom, ...defaults } = c.fieldConfig;
  out.fieldConfig = { defaults: { ...defaults, custom: custom ?? {} }, overrides: c.overrides };
  const transformations = [...objects(out.transformations), ...c.transformations];
  if (transformations.length > 0) {
    out.transformations = transformations;
  }
  if (c.type === 'table') {
    // An old table that asks for the table format asks at one instant, whatever its target says of ranges.
    out.targets = objects(out.targets).map((t) => (t.format === 'table' && t.range !== true && t.instant === undefined ? { ...t, instant: true, range: false } : t));
  }
  return out;
}

function upgradeText(panel: Json): Json {
  const { mode, content, ...rest } = panel;
  const o = obj(panel.options);
  return { ...rest, type: 'text', options: { ...o, mode: str(o.mode, str(mode, 'markdown')), content: str(o.content, str(content)) } };
}

/** upgradeSingleStatShared follows the options of stat, gauge and bar gauge from Grafana 6.0 to 7.0. */
function upgradeSingleStatShared(panel: Json): void {
  if (isObject(panel['options-gauge'])) {
    panel.options = { ...panel['options-gauge'], ...obj(panel.options) };
    delete panel['options-gauge'];
  }
  if (!isObject(panel.options)) {
    return;
  }
  const o: Json = { ...panel.options };
  const config = obj(panel.fieldConfig);
  const defaults: Json = {};
  if (isObject(o.valueOptions) || Array.isArray(o.thresholds) || Array.isArray(o.valueMappings)) {
    Object.assign(defaults, fromGauge60(o));
  }
  if (isObject(o.fieldOptions)) {
    const f = o.fieldOptions;
    const { title, ...old } = obj(f.defaults);
    Object.assign(defaults, old, title === undefined ? {} : { displayName: title });
    for (const key of ['thresholds', 'mappings', 'unit', 'decimals', 'min', 'max']) {
      if (f[key] !== undefined && defaults[key] === undefined) {
        defaults[key] = key === 'thresholds' ? bareThresholds(f[key]) : f[key];
      }
    }
    if (Array.isArray(defaults.thresholds)) {
      defaults.thresholds = bareThresholds(defaults.thresholds);
    }
    const calcs = f.calcs !== undefined ? strings(f.calcs) : strings(f.stat);
    o.reduceOptions ??= { calcs: calcs.map(seriesReducer), values: f.values === true, ...(f.limit === undefined ? {} : { limit: f.limit }) };
    panel.fieldConfig = { defaults: { ...defaults, ...obj(config.defaults) }, overrides: [...objects(f.overrides), ...objects(f.override), ...objects(config.overrides)] };
    delete o.fieldOptions;
  } else if (Object.keys(defaults).length > 0) {
    panel.fieldConfig = { defaults: { ...defaults, ...obj(config.defaults) }, overrides: objects(config.overrides) };
  }
  panel.options = o;
}

function fromGauge60(o: Json): Json {
  const v = obj(o.valueOptions);
  const defaults: Json = {};
  for (const [key, value] of [['unit', v.unit], ['decimals', v.decimals], ['min', o.minValue], ['max', o.maxValue]] as const) {
    if (value !== undefined && value !== null) {
      defaults[key] = value;
    }
  }
  if (Array.isArray(o.thresholds)) {
    defaults.thresholds = bareThresholds(o.thresholds);
  }
  if (Array.isArray(o.valueMappings)) {
    defaults.mappings = o.valueMappings;
  }
  if (o.reduceOptions === undefined && str(v.stat) !== '') {
    o.reduceOptions = { calcs: [seriesReducer(str(v.stat))], values: false };
  }
  ['valueOptions', 'thresholds', 'valueMappings', 'minValue', 'maxValue'].forEach((key) => delete o[key]);
  return defaults;
}

/** bareThresholds turns the list of steps that thresholds once were into today's object; the lowest step has no value. */
function bareThresholds(raw: unknown): unknown {
  if (!Array.isArray(raw)) {
    return raw;
  }
  const steps = objects(raw)
    .map((s) => ({ color: str(s.color, 'green'), value: num(s.index, -1) === 0 ? null : (optNum(s.value) ?? null) }))
    .sort((a, b) => (a.value ?? -Infinity) - (b.value ?? -Infinity));
  return { mode: 'absolute', steps };
}

const FACTORS = [1, 2, 3, 4, 6, 8, 12, 24];

function upgradeMinSpan(panel: Json): void {
  if (panel.minSpan === undefined) {
    return;
  }
  const max = 24 / Math.max(1, num(panel.minSpan, 24));
  panel.maxPerRow ??= FACTORS[FACTORS.findIndex((f) => f > max) - 1] ?? 24;
  delete panel.minSpan;
}

/** upgradeOptions rewrites legends that were hidden by their display mode (version 37) and reducers under their old names. */
function upgradeOptions(panel: Json): void {
  if (!isObject(panel.options)) {
    return;
  }
  const o: Json = { ...panel.options };
  if (isObject(o.legend)) {
    const hidden = o.legend.displayMode === 'hidden' || o.legend.showLegend === false;
    o.legend = { ...o.legend, ...(hidden ? { displayMode: 'list', showLegend: false } : { showLegend: o.legend.showLegend ?? true }) };
  }
  if (isObject(o.reduceOptions)) {
    o.reduceOptions = { ...o.reduceOptions, calcs: strings(o.reduceOptions.calcs).map(seriesReducer) };
  }
  panel.options = o;
}

/** upgradeFieldConfig brings numbers, colours, mappings, thresholds and cell types of defaults and overrides to today's form. */
function upgradeFieldConfig(panel: Json, from: number): void {
  const config = obj(panel.fieldConfig);
  if (!isObject(panel.fieldConfig) && panel.type === 'row') {
    return;
  }
  const defaults = { ...obj(config.defaults) };
  for (const [key, value] of Object.entries(defaults)) {
    const next = upgradeProperty({ id: key, value });
    if (next.value === undefined) {
      delete defaults[key];
    } else {
      defaults[key] = next.value;
    }
  }
  if (isObject(defaults.custom)) {
    defaults.custom = upgradeCustom(defaults.custom);
  }
  panel.fieldConfig = { ...config, defaults, overrides: objects(config.overrides).filter((o) => isObject(o.matcher)).map((o) => upgradeOverride(o, from)) };
}

function upgradeOverride(o: Json, from: number): Json {
  const properties = objects(o.properties).map(upgradeProperty);
  if (from < 42) {
    // Since version 42 a series hidden from the picture leaves the tooltip as well.
    for (const p of properties) {
      if (p.id === 'custom.hideFrom' && isObject(p.value) && p.value.viz === true) {
        p.value = { ...p.value, tooltip: true };
      }
    }
  }
  return { ...o, matcher: { ...obj(o.matcher), id: str(obj(o.matcher).id) }, properties };
}

function upgradeProperty(p: Json): Json {
  switch (str(p.id)) {
    case 'min':
    case 'max':
    case 'decimals':
      return { ...p, value: optNum(p.value) };
    case 'color':
      return { ...p, value: typeof p.value === 'string' ? { mode: 'fixed', fixedColor: p.value } : p.value };
    case 'mappings':
      return { ...p, value: upgradeMappings(p.value) };
    case 'thresholds':
      return { ...p, value: upgradeThresholds(p.value) };
    case 'custom.displayMode':
      return { ...p, id: 'custom.cellOptions', value: cellOptions(str(p.value)) };
    case 'title':
      return { ...p, id: 'displayName' };
    case 'links':
      return { ...p, value: objects(p.value).map((l) => ({ ...l, url: oldMacros(str(l.url)), title: oldMacros(str(l.title)) })) };
    default:
      return p;
  }
}

function upgradeCustom(c: Json): Json {
  const { displayMode, ...out } = c;
  if (typeof displayMode === 'string') {
    out.cellOptions ??= cellOptions(displayMode);
  } else if (displayMode !== undefined) {
    out.displayMode = displayMode;
  }
  return out;
}

/** cellOptions turns the cell display modes of Grafana 7 to 9 into today's cell types. */
export function cellOptions(mode: string): Json {
  switch (mode) {
    case 'basic':
    case 'gradient-gauge':
    case 'lcd-gauge':
      return { type: 'gauge', mode: mode === 'gradient-gauge' ? 'gradient' : mode === 'lcd-gauge' ? 'lcd' : 'basic' };
    case 'color-background':
    case 'color-background-solid':
      return { type: 'color-background', mode: mode === 'color-background' ? 'gradient' : 'basic' };
    default:
      return { type: mode === '' ? 'auto' : mode };
  }
}

function upgradeThresholds(t: unknown): Json {
  const raw = obj(bareThresholds(t));
  const steps = objects(raw.steps).map((s, i) => ({ ...s, color: str(s.color, 'green'), value: i === 0 ? null : (optNum(s.value) ?? null) }));
  return { ...raw, mode: raw.mode === 'percentage' ? 'percentage' : 'absolute', steps: steps.length > 0 ? steps : [{ color: 'green', value: null }] };
}

/** upgradeMappings accepts today's mappings and the numbered ones of Grafana 6 and 7. */
export function upgradeMappings(raw: unknown): Json[] {
  return objects(raw).flatMap((m, index): Json[] => {
    if (typeof m.type === 'string') {
      return [m];
    }
    const result: Json = { text: str(m.text), index, ...(str(m.color) === '' ? {} : { color: str(m.color) }) };
    if (num(m.type, 1) === 2 && m.from === 'null' && m.to === 'null') {
      return [{ type: 'special', options: { match: 'null', result } }];
    }
    if (num(m.type, 1) === 2) {
      return [{ type: 'range', options: { from: optNum(m.from) ?? null, to: optNum(m.to) ?? null, result } }];
    }
    const value = str(m.value);
    if (value === 'null') {
      return [{ type: 'special', options: { match: 'null', result } }];
    }
    return value === '' && list(m.value).length === 0 ? [] : [{ type: 'value', options: { [value]: result } }];
  });
}

/** upgradeTransformations: before version 31, labelsToFields merged its result by itself; seriesToColumns is joinByField. */
function upgradeTransformations(panel: Json, from: number): void {
  if (!Array.isArray(panel.transformations)) {
    return;
  }
  panel.transformations = objects(panel.transformations).flatMap((t): Json[] => {
    if (t.id === 'seriesToColumns') {
      return [{ ...t, id: 'joinByField', options: { mode: 'outer', ...obj(t.options) } }];
    }
    return t.id === 'labelsToFields' && from < 31 ? [t, { id: 'merge', options: {} }] : [t];
  });
}

function upgradeLinks(panel: Json): void {
  if (!Array.isArray(panel.links)) {
    return;
  }
  panel.links = objects(panel.links).map((l) => {
    if (str(l.url) !== '') {
      return { ...l, url: oldMacros(str(l.url)) };
    }
    // Until version 19 a panel's link named a board by its title or address.
    const slug = str(l.dashUri) !== '' ? `dashboard/${str(l.dashUri)}` : str(l.dashboard) !== '' ? `dashboard/db/${slugOf(str(l.dashboard))}` : '';
    if (slug === '') {
      return l;
    }
    const query = [l.keepTime === true ? '$__url_time_range' : '', l.includeVars === true ? '$__all_variables' : '', str(l.params)].filter((x) => x !== '');
    return { title: str(l.title, str(l.dashboard)), targetBlank: l.targetBlank === true, url: slug + (query.length > 0 ? `?${query.join('&')}` : '') };
  });
}

function slugOf(title: string): string {
  return title.toLowerCase().replace(/[^\w ]+/g, '').replace(/ +/g, '-');
}

/** oldMacros writes the link variables of Grafana 6 in today's dotted form. */
function oldMacros(text: string): string {
  return text
    .replace(/__series_name\b/g, '__series.name')
    .replace(/\$__value_time\b|\$\{__value_time\}/g, '${__value.time}')
    .replace(/\$__field_name\b|\$\{__field_name\}/g, '${__field.name}')
    .replace(/__series\.labels\b/g, '__field.labels');
}
