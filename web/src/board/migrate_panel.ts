/** Panels: the modern form with its small variants, and the way in for the old types (migrate_legacy.ts). */
import { FieldColorModeId, MappingType, ThresholdsMode, type FieldConfigSource, type ValueMapping } from '@grafana/data';
import { isObject, list, num, obj, objects, optNum, str, strings, type Json } from './json';
import { legacyGraph, legacySingleStat, legacyTable, type Converted } from './migrate_legacy';
import type { DataSourceRef, GridPos, Panel, PanelLink, Target } from './model';

/** readPanel turns one panel's JSON into the model. */
export function readPanel(raw: Json, id: number, notes: string[]): Panel {
  const originalType = str(raw.type, 'timeseries');
  const converted = convert(originalType, raw);
  if (isObject(raw.libraryPanel) && objects(raw.targets).length === 0) {
    notes.push(`Panel "${str(raw.title)}" is a library panel; its content is not part of the board's JSON.`);
  }
  const fieldConfig = readFieldConfig(converted.fieldConfig, converted.overrides);
  return {
    id,
    type: converted.type,
    originalType,
    title: str(raw.title),
    description: str(raw.description),
    gridPos: readGridPos(raw),
    datasource: readDataSource(raw.datasource),
    targets: readTargets(raw, converted.type),
    interval: str(raw.interval),
    maxDataPoints: optNum(raw.maxDataPoints) ?? null,
    timeFrom: str(raw.timeFrom),
    timeShift: str(raw.timeShift),
    hideTimeOverride: raw.hideTimeOverride === true,
    transparent: raw.transparent === true,
    options: converted.options,
    fieldConfig,
    transformations: readTransformations(raw, converted),
    links: objects(raw.links).map(readLink),
    repeat: str(raw.repeat),
    repeatDirection: raw.repeatDirection === 'v' ? 'v' : 'h',
    maxPerRow: Math.max(1, num(raw.maxPerRow, 4)),
  };
}

function convert(type: string, raw: Json): Converted {
  switch (type) {
    case 'graph':
    case 'flot':
      return legacyGraph(raw);
    case 'singlestat':
    case 'grafana-singlestat-panel':
      return legacySingleStat(raw);
    case 'table-old':
      return legacyTable(raw);
    case 'table':
      return Array.isArray(raw.styles) ? legacyTable(raw) : modern(type, raw);
    case 'text':
      return { ...modern(type, raw), options: textOptions(raw) };
    case 'grafana-piechart-panel':
      return modern('piechart', raw);
    default:
      return modern(type, raw);
  }
}

function modern(type: string, raw: Json): Converted {
  const config = obj(raw.fieldConfig);
  // Boards of Grafana 6 kept the field settings of gauges and stats in options.fieldOptions.
  const old = obj(obj(raw.options).fieldOptions);
  const defaults = { ...obj(old.defaults), ...obj(config.defaults) };
  const options = { ...obj(raw.options) };
  if (isObject(options.fieldOptions) && !isObject(options.reduceOptions)) {
    options.reduceOptions = { calcs: strings(old.calcs), values: old.values === true };
  }
  return { type, options, fieldConfig: defaults, overrides: [...objects(old.overrides), ...objects(config.overrides)], transformations: [] };
}

function textOptions(raw: Json): Json {
  const o = obj(raw.options);
  return { ...o, mode: str(o.mode, str(raw.mode, 'markdown')), content: str(o.content, str(raw.content)) };
}

function readGridPos(raw: Json): GridPos {
  const g = obj(raw.gridPos);
  const w = Math.min(24, Math.max(1, Math.round(num(g.w, 12))));
  return {
    w,
    h: Math.max(1, Math.round(num(g.h, 8))),
    x: Math.max(0, Math.min(24 - w, Math.round(num(g.x, 0)))),
    y: Math.max(0, Math.round(num(g.y, 0))),
  };
}

/** readDataSource reads the forms a reference has: null, a name or uid, "$var", "${DS_X}", {uid}, {type, uid}. */
export function readDataSource(raw: unknown): DataSourceRef | null {
  if (typeof raw === 'string') {
    return raw === '' ? null : { uid: raw };
  }
  if (!isObject(raw)) {
    return null;
  }
  const ref: DataSourceRef = {};
  if (str(raw.uid) !== '') {
    ref.uid = str(raw.uid);
  }
  if (str(raw.type) !== '') {
    ref.type = str(raw.type);
  }
  return ref.uid === undefined && ref.type === undefined ? null : ref;
}

function readTargets(raw: Json, type: string): Target[] {
  const seen = new Set<string>();
  return objects(raw.targets).map((t, i) => {
    let refId = str(t.refId, String.fromCharCode(65 + (i % 26)));
    while (seen.has(refId)) {
      refId += "'";
    }
    seen.add(refId);
    const instant = t.instant === true;
    const format = str(t.format, 'time_series');
    return {
      refId,
      expr: str(t.expr),
      legendFormat: str(t.legendFormat),
      format: format === 'table' || format === 'heatmap' ? format : 'time_series',
      instant: instant || (type === 'table' && raw.type !== 'table' && format === 'table' && t.range !== true && t.instant !== false),
      range: instant ? t.range === true : true,
      interval: str(t.interval),
      intervalFactor: Math.max(1, num(t.intervalFactor, 1)),
      hide: t.hide === true,
      datasource: readDataSource(t.datasource),
    };
  });
}

function readTransformations(raw: Json, converted: Converted): Panel['transformations'] {
  const own = objects(raw.transformations).map((t) => ({
    id: str(t.id),
    options: obj(t.options),
    ...(t.disabled === true ? { disabled: true } : {}),
    ...(isObject(t.filter) ? { filter: { id: str(t.filter.id), options: t.filter.options } } : {}),
  }));
  return [...own, ...converted.transformations];
}

function readLink(l: Json): PanelLink {
  return { title: str(l.title), url: str(l.url, str(l.dashUri)), targetBlank: l.targetBlank === true };
}

/** readFieldConfig normalises field settings: numbers kept as text, colours as plain strings, old mappings and cell modes. */
function readFieldConfig(defaults: Json, overrides: Json[]): FieldConfigSource {
  const d: Json = { ...defaults };
  normaliseNumbers(d);
  if (d.color !== undefined) {
    d.color = readColor(d.color);
  }
  if (d.mappings !== undefined) {
    d.mappings = readMappings(d.mappings);
  }
  if (d.thresholds !== undefined) {
    d.thresholds = readThresholds(d.thresholds);
  }
  if (isObject(d.custom)) {
    d.custom = readCustom(d.custom);
  }
  return {
    defaults: d as FieldConfigSource['defaults'],
    overrides: overrides
      .filter((o) => isObject(o.matcher))
      .map((o) => ({
        ...o,
        matcher: { id: str(obj(o.matcher).id), options: obj(o.matcher).options },
        properties: objects(o.properties).map(readProperty),
      })),
  };
}

function normaliseNumbers(d: Json): void {
  for (const key of ['min', 'max', 'decimals']) {
    if (d[key] !== undefined) {
      const n = optNum(d[key]);
      if (n === undefined) {
        delete d[key];
      } else {
        d[key] = n;
      }
    }
  }
}

function readProperty(p: Json): { id: string; value: unknown } {
  const id = str(p.id);
  switch (id) {
    case 'min':
    case 'max':
    case 'decimals':
      return { id, value: optNum(p.value) };
    case 'color':
      return { id, value: readColor(p.value) };
    case 'mappings':
      return { id, value: readMappings(p.value) };
    case 'thresholds':
      return { id, value: readThresholds(p.value) };
    case 'custom.displayMode':
      return { id: 'custom.cellOptions', value: cellOptions(str(p.value)) };
    default:
      return { id, value: p.value };
  }
}

function readColor(c: unknown): unknown {
  return typeof c === 'string' ? { mode: FieldColorModeId.Fixed, fixedColor: c } : c;
}

function readCustom(c: Json): Json {
  const out = { ...c };
  if (typeof out.displayMode === 'string') {
    out.cellOptions = out.cellOptions ?? cellOptions(out.displayMode);
    delete out.displayMode;
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

function readThresholds(t: unknown): Json {
  const raw = obj(t);
  const steps = objects(raw.steps).map((s, i) => ({ ...s, color: str(s.color, 'green'), value: i === 0 ? -Infinity : (optNum(s.value) ?? -Infinity) }));
  return {
    mode: raw.mode === 'percentage' ? ThresholdsMode.Percentage : ThresholdsMode.Absolute,
    steps: steps.length > 0 ? steps : [{ color: 'green', value: -Infinity }],
  };
}

/** readMappings accepts today's mappings and the numbered ones of Grafana 6 and 7. */
export function readMappings(raw: unknown): ValueMapping[] {
  return objects(raw).flatMap((m, index): ValueMapping[] => {
    if (typeof m.type === 'string') {
      return [m as unknown as ValueMapping];
    }
    const result = { text: str(m.text), index, ...(str(m.color) === '' ? {} : { color: str(m.color) }) };
    if (num(m.type, 1) === 2) {
      return [{ type: MappingType.RangeToText, options: { from: optNum(m.from) ?? null, to: optNum(m.to) ?? null, result } }];
    }
    const value = str(m.value);
    if (value === 'null') {
      return [{ type: MappingType.SpecialValue, options: { match: 'null' as never, result } }];
    }
    return value === '' && list(m.value).length === 0 ? [] : [{ type: MappingType.ValueToText, options: { [value]: result } }];
  });
}
