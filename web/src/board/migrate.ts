/**
 * The one entry point from imported Grafana JSON to the board model: upgrade.ts makes the JSON modern, this file reads it. It never throws
 * on odd JSON: what cannot be carried over is written into the board's notes.
 */
import { isObject, num, obj, objects, str, strings, type Json } from './json';
import { DEFAULT_RANGE, readTimeZone } from './timerange';
import { readDataSource, readPanel } from './migrate_panel';
import type { Annotation, Board, BoardLink, Panel, Section, Variable, VariableOption, VariableType } from './model';
import { upgradeBoard } from './upgrade';

export { UnsupportedBoard } from './upgrade';

/** migrateBoard reads any classic dashboard JSON. It throws UnsupportedBoard only when the JSON is no dashboard at all. */
export function migrateBoard(input: unknown): Board {
  const raw = upgradeBoard(input);
  const notes: string[] = [];
  const templating = objects(obj(raw.templating).list).map(readVariable);
  const time = obj(raw.time);
  const picker = obj(raw.timepicker);
  return {
    uid: str(raw.uid),
    title: str(raw.title, 'Untitled board'),
    description: str(raw.description),
    tags: strings(raw.tags),
    schemaVersion: num(raw.schemaVersion, 0),
    time: { from: str(time.from, DEFAULT_RANGE.from), to: str(time.to, DEFAULT_RANGE.to) },
    timezone: readTimeZone(str(raw.timezone)),
    weekStart: str(raw.weekStart),
    fiscalYearStartMonth: num(raw.fiscalYearStartMonth, 0),
    refresh: str(raw.refresh),
    refreshIntervals: strings(picker.refresh_intervals),
    nowDelay: str(picker.nowDelay),
    graphTooltip: num(raw.graphTooltip, 0),
    variables: templating,
    annotations: objects(obj(raw.annotations).list).map(readAnnotation),
    sections: readPanels(raw, notes),
    links: objects(raw.links).map(readBoardLink),
    inputs: objects(raw.__inputs).map((i) => str(i.name)),
    notes,
    json: raw,
    original: input,
  };
}

function readPanels(raw: Json, notes: string[]): Section[] {
  const items = objects(raw.panels);
  const placed = items.map((p, i) => ({ p, i, y: num(obj(p.gridPos).y, i * 100), x: num(obj(p.gridPos).x, 0) }));
  placed.sort((a, b) => a.y - b.y || a.x - b.x || a.i - b.i);
  const sections: Section[] = [{ row: null, panels: [] }];
  for (const { p } of placed) {
    if (p.type === 'row') {
      sections.push({
        row: { id: num(p.id, 0), title: str(p.title), collapsed: p.collapsed === true, repeat: str(p.repeat) },
        panels: objects(p.panels).map((inner) => readPanel(inner, num(inner.id, 0), notes)),
      });
    } else {
      sections[sections.length - 1]?.panels.push(readPanel(p, num(p.id, 0), notes));
    }
  }
  return sections.filter((s) => s.row !== null || s.panels.length > 0);
}

/** readAnnotation reads one annotation query; the built-in one of Grafana's own annotations is told by `builtIn`. */
function readAnnotation(raw: Json): Annotation {
  const target = obj(raw.target);
  return {
    name: str(raw.name),
    enable: raw.enable !== false,
    hide: raw.hide === true,
    builtIn: num(raw.builtIn, 0) === 1 || str(raw.type) === 'dashboard',
    color: str(raw.iconColor, 'rgba(0, 211, 255, 1)'),
    datasource: readDataSource(raw.datasource),
    expr: str(raw.expr, str(target.expr)),
    step: str(raw.step, str(target.interval)),
    titleFormat: str(raw.titleFormat),
    textFormat: str(raw.textFormat),
    tagKeys: str(raw.tagKeys).split(',').map((s) => s.trim()).filter((s) => s !== ''),
    useValueForTime: raw.useValueForTime === true || raw.useValueForTime === 'on',
    tags: strings(raw.tags ?? target.tags),
    exclude: obj(raw.filter).exclude === true,
    panelIds: (Array.isArray(obj(raw.filter).ids) ? (obj(raw.filter).ids as unknown[]) : []).map((n) => num(n, -1)),
  };
}

const VARIABLE_TYPES = new Set(['query', 'custom', 'constant', 'textbox', 'datasource', 'interval', 'adhoc']);

function readVariable(v: Json): Variable {
  const originalType = str(v.type, 'query');
  const current = obj(v.current);
  return {
    name: str(v.name),
    type: VARIABLE_TYPES.has(originalType) ? (originalType as VariableType) : 'unsupported',
    originalType,
    label: str(v.label),
    description: str(v.description),
    hide: num(v.hide, 0),
    query: readVariableQuery(v),
    datasource: readDataSource(v.datasource),
    regex: str(v.regex),
    sort: num(v.sort, 0),
    refresh: num(v.refresh, 0),
    multi: v.multi === true,
    includeAll: v.includeAll === true,
    allValue: str(v.allValue),
    current: { text: strings(current.text), value: strings(current.value) },
    options: objects(v.options).map(readOption).filter((o) => o.value !== '$__all'),
    auto: v.auto === true,
    autoCount: num(v.auto_count, 30),
    autoMin: str(v.auto_min, '10s'),
    regexApplyTo: v.regexApplyTo === 'text' ? 'text' : 'value',
    allowCustomValue: v.allowCustomValue !== false,
    filters: [...objects(v.baseFilters), ...objects(v.filters)].map((f) => ({ key: str(f.key), operator: str(f.operator, '='), value: str(f.value) })).filter((f) => f.key !== ''),
  };
}

function readOption(o: Json): VariableOption {
  const value = str(o.value, strings(o.value)[0] ?? '');
  return { text: str(o.text, value), value };
}

/** readVariableQuery takes the text of a query in each of its shapes: a string, {query}, or {qryType, ...}. */
function readVariableQuery(v: Json): string {
  const definition = str(v.definition);
  if (!isObject(v.query)) {
    return str(v.query, definition);
  }
  const q = v.query;
  if (str(q.query) !== '') {
    return str(q.query);
  }
  const filters = objects(q.labelFilters).map((f) => `${str(f.label)}${str(f.op, '=')}"${str(f.value)}"`).join(', ');
  const selector = `${str(q.metric)}${filters === '' ? '' : `{${filters}}`}`;
  switch (num(q.qryType, -1)) {
    case 0:
      return `label_names(${str(q.match)})`;
    case 1:
      return selector === '' ? `label_values(${str(q.label)})` : `label_values(${selector}, ${str(q.label)})`;
    case 2:
      return `metrics(${str(q.metric)})`;
    case 3:
      return `query_result(${str(q.varQuery)})`;
    case 4:
      return str(q.seriesQuery);
    default:
      return str(q.expr, definition);
  }
}

function readBoardLink(l: Json): BoardLink {
  return {
    title: str(l.title),
    type: str(l.type) === 'link' ? 'link' : 'dashboards',
    url: str(l.url),
    tags: strings(l.tags),
    includeVars: l.includeVars === true,
    keepTime: l.keepTime === true,
    targetBlank: l.targetBlank === true,
  };
}

/** panelById finds a panel anywhere in a board. */
export function panelById(board: Board, id: number): Panel | undefined {
  return board.sections.flatMap((s) => s.panels).find((p) => p.id === id);
}
