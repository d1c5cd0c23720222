/**
 * The one entry point from imported Grafana JSON to the board model. Every form boards have had since schema version 1 is turned into
 * the modern one here; nothing past this file knows the old ones. It never throws on odd JSON: what cannot be carried over is
 * written into the board's notes.
 */
import { isObject, list, num, obj, objects, str, strings, type Json } from './json';
import { DEFAULT_RANGE, readTimeZone } from './timerange';
import { readDataSource, readPanel } from './migrate_panel';
import type { Board, BoardLink, Panel, Section, Variable, VariableOption, VariableType } from './model';

/** UnsupportedBoard is thrown for JSON that is not a classic dashboard; its message says what it is. */
export class UnsupportedBoard extends Error {}

/** migrateBoard reads any classic dashboard JSON. It throws UnsupportedBoard only when the JSON is no dashboard at all. */
export function migrateBoard(input: unknown): Board {
  const raw = unwrap(input);
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
    refresh: raw.refresh === false ? '' : str(raw.refresh),
    refreshIntervals: strings(picker.refresh_intervals),
    graphTooltip: raw.sharedCrosshair === true ? 1 : num(raw.graphTooltip, 0),
    variables: templating,
    sections: list(raw.rows).length > 0 ? readLegacyRows(raw, notes) : readPanels(raw, notes),
    links: objects(raw.links).map(readBoardLink),
    inputs: objects(raw.__inputs).map((i) => str(i.name)),
    notes,
  };
}

function unwrap(input: unknown): Json {
  if (!isObject(input)) {
    throw new UnsupportedBoard('This is not a dashboard: expected a JSON object.');
  }
  if (isObject(input.spec) && typeof input.apiVersion === 'string') {
    if (isObject(input.spec.elements)) {
      throw new UnsupportedBoard(`This board uses Grafana's v2 resource schema (${input.apiVersion}). Export it as "Classic" JSON.`);
    }
    return input.spec;
  }
  if (isObject(input.elements) && isObject(input.layout)) {
    throw new UnsupportedBoard(`This board uses Grafana's v2 resource schema. Export it as "Classic" JSON.`);
  }
  return isObject(input.dashboard) ? input.dashboard : input;
}

function readPanels(raw: Json, notes: string[]): Section[] {
  const items = objects(raw.panels);
  const placed = items.map((p, i) => ({ p, i, y: num(obj(p.gridPos).y, i * 100), x: num(obj(p.gridPos).x, 0) }));
  placed.sort((a, b) => a.y - b.y || a.x - b.x || a.i - b.i);
  const ids = new IdSource(items);
  const sections: Section[] = [{ row: null, panels: [] }];
  for (const { p } of placed) {
    if (p.type === 'row') {
      sections.push({
        row: { id: ids.of(p), title: str(p.title), collapsed: p.collapsed === true, repeat: str(p.repeat) },
        panels: objects(p.panels).map((inner) => readPanel(inner, ids.of(inner), notes)),
      });
    } else {
      sections[sections.length - 1]?.panels.push(readPanel(p, ids.of(p), notes));
    }
  }
  return sections.filter((s) => s.row !== null || s.panels.length > 0);
}

/** IdSource keeps panel ids and gives new ones to panels without an own id, or with one that is taken. */
class IdSource {
  private next: number;
  private readonly taken = new Set<number>();

  constructor(panels: readonly Json[]) {
    const all = panels.flatMap((p) => [p, ...objects(p.panels)]);
    this.next = Math.max(0, ...all.map((p) => num(p.id, 0))) + 1;
  }

  of(panel: Json): number {
    const id = num(panel.id, 0);
    if (id > 0 && !this.taken.has(id)) {
      this.taken.add(id);
      return id;
    }
    return this.next++;
  }
}

/** readLegacyRows lays out boards from before Grafana 5: rows with a height, panels with a span of twelfths. */
function readLegacyRows(raw: Json, notes: string[]): Section[] {
  const rows = objects(raw.rows);
  const ids = new IdSource(rows.flatMap((r) => objects(r.panels)));
  const showTitles = rows.some((r) => r.showTitle === true || r.collapse === true || str(r.repeat) !== '');
  const sections: Section[] = [];
  let y = 0;
  for (const row of rows) {
    const section: Section = { row: null, panels: [] };
    if (showTitles) {
      const title = row.showTitle === true || row.collapse === true ? str(row.title, 'Row') : '';
      section.row = { id: ids.of({}), title, collapsed: row.collapse === true, repeat: str(row.repeat) };
    }
    const rowHeight = heightUnits(row.height, 7);
    let x = 0;
    let tallest = 0;
    for (const p of objects(row.panels)) {
      const w = Math.min(24, Math.max(1, Math.round(num(p.span, 12) * 2)));
      const h = p.height === undefined ? rowHeight : heightUnits(p.height, rowHeight);
      if (x + w > 24) {
        x = 0;
        y += tallest;
        tallest = 0;
      }
      section.panels.push(readPanel({ ...p, gridPos: { x, y, w, h } }, ids.of(p), notes));
      x += w;
      tallest = Math.max(tallest, h);
    }
    y += tallest;
    sections.push(section);
  }
  return sections;
}

function heightUnits(height: unknown, fallback: number): number {
  const px = num(str(height).replace(/px$/, ''), 0);
  return px <= 0 ? fallback : Math.max(3, Math.ceil((px + 8) / 38));
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
    hide: typeof v.hide === 'boolean' ? (v.hide ? 2 : 0) : hideNumber(v.hide),
    query: readVariableQuery(v),
    datasource: readDataSource(v.datasource),
    regex: str(v.regex),
    sort: num(v.sort, 0),
    refresh: v.refresh === true ? 1 : num(v.refresh, 0),
    multi: v.multi === true,
    includeAll: v.includeAll === true,
    allValue: str(v.allValue),
    current: { text: strings(current.text), value: strings(current.value) },
    options: objects(v.options).map(readOption).filter((o) => o.value !== '$__all'),
    auto: v.auto === true,
    autoCount: num(v.auto_count, 30),
    autoMin: str(v.auto_min, '10s'),
  };
}

function hideNumber(hide: unknown): number {
  return hide === 'hideVariable' ? 2 : hide === 'hideLabel' ? 1 : num(hide, 0);
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
