/** Reads a panel's modern JSON (upgrade_panel.ts) into the model. */
import { ThresholdsMode, type FieldConfigSource } from '@grafana/data';
import { isObject, num, obj, objects, optNum, str, type Json } from './json';
import type { DataSourceRef, GridPos, Panel, PanelLink, Target } from './model';

/** readPanel reads one panel; `raw` has been upgraded. */
export function readPanel(raw: Json, id: number, notes: string[]): Panel {
  const config = obj(raw.fieldConfig);
  if (isObject(raw.libraryPanel) && objects(raw.targets).length === 0) {
    notes.push(`Panel "${str(raw.title)}" is a library panel; its content is not part of the board's JSON.`);
  }
  return {
    id,
    type: str(raw.type),
    title: str(raw.title),
    description: str(raw.description),
    gridPos: readGridPos(raw),
    datasource: readDataSource(raw.datasource),
    targets: readTargets(raw),
    interval: str(raw.interval),
    maxDataPoints: optNum(raw.maxDataPoints) ?? null,
    timeFrom: str(raw.timeFrom),
    timeShift: str(raw.timeShift),
    hideTimeOverride: raw.hideTimeOverride === true,
    transparent: raw.transparent === true,
    options: obj(raw.options),
    fieldConfig: readFieldConfig(obj(config.defaults), objects(config.overrides)),
    transformations: readTransformations(raw),
    links: objects(raw.links).map(readLink),
    repeat: str(raw.repeat),
    repeatDirection: raw.repeatDirection === 'v' ? 'v' : 'h',
    maxPerRow: Math.max(1, num(raw.maxPerRow, 4)),
  };
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

function readTargets(raw: Json): Target[] {
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
      instant,
      range: instant ? t.range === true : true,
      interval: str(t.interval),
      intervalFactor: Math.max(1, num(t.intervalFactor, 1)),
      hide: t.hide === true,
      datasource: readDataSource(t.datasource),
      ...(optNum(t.panelId) === undefined ? {} : { panelId: optNum(t.panelId), withTransforms: t.withTransforms === true }),
    };
  });
}

function readTransformations(raw: Json): Panel['transformations'] {
  return objects(raw.transformations).map((t) => ({
    id: str(t.id),
    options: obj(t.options),
    ...(t.disabled === true ? { disabled: true } : {}),
    ...(isObject(t.filter) ? { filter: { id: str(t.filter.id), options: t.filter.options } } : {}),
  }));
}

function readLink(l: Json): PanelLink {
  return { title: str(l.title), url: str(l.url), targetBlank: l.targetBlank === true };
}

/** readFieldConfig turns the base step of thresholds, which JSON writes as null, into the -Infinity that @grafana/data computes with. */
function readFieldConfig(defaults: Json, overrides: Json[]): FieldConfigSource {
  const d: Json = { ...defaults };
  if (d.thresholds !== undefined) {
    d.thresholds = readThresholds(d.thresholds);
  }
  return {
    defaults: d as FieldConfigSource['defaults'],
    overrides: overrides.map((o) => ({
      ...o,
      matcher: { id: str(obj(o.matcher).id), options: obj(o.matcher).options },
      properties: objects(o.properties).map((p) => ({ id: str(p.id), value: p.id === 'thresholds' ? readThresholds(p.value) : p.value })),
    })),
  };
}

function readThresholds(t: unknown): Json {
  const raw = obj(t);
  const steps = objects(raw.steps).map((s, i) => ({ ...s, value: i === 0 ? -Infinity : (optNum(s.value) ?? -Infinity) }));
  return { mode: raw.mode === 'percentage' ? ThresholdsMode.Percentage : ThresholdsMode.Absolute, steps };
}
