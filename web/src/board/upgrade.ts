/**
 * Old dashboard JSON made modern: `upgradeBoard` takes any classic dashboard and answers one of the newest schema version, as Grafana's own
 * migrator would leave it. It is a function of JSON to JSON: what it does not know stays as it is, and a board that went through it once
 * is not changed by a second time. The model (migrate.ts), the editor and exports all start from its answer.
 */
import { isObject, list, num, obj, objects, optNum, str, strings, without, type Json } from './json';
import { upgradePanel } from './upgrade_panel';

/** UnsupportedBoard is thrown for JSON that is not a classic dashboard; its message says what it is. */
export class UnsupportedBoard extends Error {}

/** The newest schema version of classic dashboards. */
export const SCHEMA_VERSION = 42;

/** unwrapBoard finds the dashboard in what people import: the bare board, `{dashboard}` of the HTTP API, or a v0/v1 resource. */
export function unwrapBoard(input: unknown): Json {
  if (!isObject(input)) {
    throw new UnsupportedBoard('This is not a dashboard: expected a JSON object.');
  }
  if (isObject(input.spec) && typeof input.apiVersion === 'string') {
    if (isObject(input.spec.elements)) {
      throw new UnsupportedBoard(`This board uses Grafana's v2 resource schema (${input.apiVersion}). Export it as "Classic" JSON.`);
    }
    const name = str(obj(input.metadata).name);
    return { ...input.spec, ...(str(input.spec.uid) === '' && name !== '' ? { uid: name } : {}) };
  }
  if (isObject(input.elements) && isObject(input.layout)) {
    throw new UnsupportedBoard(`This board uses Grafana's v2 resource schema. Export it as "Classic" JSON.`);
  }
  return isObject(input.dashboard) ? input.dashboard : input;
}

/** upgradeBoard answers a modern copy; the input is left alone. It throws UnsupportedBoard when the JSON is no classic dashboard. */
export function upgradeBoard(input: unknown): Json {
  let board = structuredClone(unwrapBoard(input));
  const from = num(board.schemaVersion, 0);
  board = constantInputs(board);
  readPulldowns(board);
  if (typeof board.sharedCrosshair === 'boolean' && board.graphTooltip === undefined) {
    board.graphTooltip = board.sharedCrosshair ? 1 : 0;
  }
  delete board.sharedCrosshair;
  if (board.refresh !== undefined && typeof board.refresh !== 'string') {
    board.refresh = '';
  }
  if (list(board.rows).length > 0) {
    board.panels = [...list(board.panels), ...rowsToPanels(objects(board.rows))];
  }
  delete board.rows;
  board.panels = withIds(objects(board.panels).map((p) => upgradeAny(p, from)));
  if (isObject(board.templating)) {
    board.templating = { ...board.templating, list: objects(board.templating.list).map((v) => upgradeVariable(v, from)) };
  }
  board.schemaVersion = Math.max(from, SCHEMA_VERSION);
  return board;
}

function upgradeAny(panel: Json, from: number): Json {
  if (panel.type !== 'row') {
    return upgradePanel(panel, from);
  }
  return Array.isArray(panel.panels) ? { ...panel, panels: objects(panel.panels).map((p) => upgradePanel(p, from)) } : panel;
}

/** constantInputs writes the values of an export's constants into the board; data sources stay named, they are resolved when used. */
function constantInputs(board: Json): Json {
  const constants = new Map(
    objects(board.__inputs)
      .filter((i) => i.type === 'constant' && str(i.name) !== '')
      .map((i) => [`\${${str(i.name)}}`, str(i.value)])
  );
  if (constants.size === 0) {
    return board;
  }
  const fill = (v: unknown): unknown => {
    if (typeof v === 'string') {
      let out = v;
      constants.forEach((value, name) => (out = out.replaceAll(name, value)));
      return out;
    }
    if (Array.isArray(v)) {
      return v.map(fill);
    }
    return isObject(v) ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, k === '__inputs' ? x : fill(x)])) : v;
  };
  return fill(board) as Json;
}

/** readPulldowns moves what the first dashboards kept in `pulldowns`, `nav` and `services` to where it is kept since. */
function readPulldowns(board: Json): void {
  for (const p of objects(board.pulldowns)) {
    if (p.type === 'annotations' && !isObject(board.annotations)) {
      board.annotations = { list: list(p.annotations) };
    }
  }
  delete board.pulldowns;
  if (Array.isArray(board.nav) && !isObject(board.timepicker)) {
    board.timepicker = objects(board.nav)[0] ?? {};
  }
  delete board.nav;
  const filter = obj(obj(board.services).filter);
  if (isObject(filter.time) && !isObject(board.time)) {
    board.time = filter.time;
  }
  if (Array.isArray(filter.list) && !isObject(board.templating)) {
    board.templating = { list: filter.list };
  }
  delete board.services;
}

/** rowsToPanels lays out boards from before Grafana 5: rows with a height, panels with a span of twelfths. */
function rowsToPanels(rows: Json[]): Json[] {
  const showRows = rows.some((r) => r.collapse === true || r.showTitle === true || str(r.repeat) !== '');
  const out: Json[] = [];
  let y = 0;
  for (const row of rows) {
    const { panels, height } = layRow(row, showRows ? y + 1 : y);
    const collapsed = row.collapse === true;
    if (showRows) {
      const title = str(row.title, 'Row');
      out.push({
        type: 'row', title, collapsed, gridPos: { x: 0, y, w: 24, h: 1 }, panels: collapsed ? panels : [],
        ...(str(row.repeat) === '' ? {} : { repeat: str(row.repeat) }),
      });
      y += 1;
    }
    if (!collapsed) {
      out.push(...panels);
      y += height;
    }
  }
  return out;
}

function layRow(row: Json, top: number): { panels: Json[]; height: number } {
  const rowHeight = heightUnits(row.height, 7);
  let [x, y, tallest] = [0, top, 0];
  const panels: Json[] = [];
  for (const p of objects(row.panels)) {
    const w = Math.min(24, Math.max(1, Math.round(num(p.span, 12) * 2)));
    const h = p.height === undefined ? rowHeight : heightUnits(p.height, rowHeight);
    if (x + w > 24) {
      [x, y, tallest] = [0, y + tallest, 0];
    }
    panels.push({ ...without(p, 'span', 'height'), gridPos: { x, y, w, h } });
    x += w;
    tallest = Math.max(tallest, h);
  }
  return { panels, height: y + tallest - top };
}

function heightUnits(height: unknown, fallback: number): number {
  const px = num(str(height).replace(/px$/, ''), 0);
  return px <= 0 ? fallback : Math.max(3, Math.ceil((px + 8) / 38));
}

/** withIds gives an id to every panel that has none of its own, or one that is taken; others keep theirs. */
function withIds(panels: Json[]): Json[] {
  const all = panels.flatMap((p) => [p, ...objects(p.panels)]);
  let next = Math.max(0, ...all.map((p) => num(p.id, 0))) + 1;
  const taken = new Set<number>();
  const named = (p: Json): Json => {
    const id = num(p.id, 0);
    const free = Number.isInteger(id) && id > 0 && !taken.has(id);
    const own = free ? id : next++;
    taken.add(own);
    return p.id === own ? p : { ...p, id: own };
  };
  return panels.map((p) => {
    const outer = named(p);
    return Array.isArray(outer.panels) ? { ...outer, panels: objects(outer.panels).map(named) } : outer;
  });
}

/** upgradeVariable brings one template variable to today's form. */
function upgradeVariable(raw: Json, from: number): Json {
  const v: Json = { ...raw };
  const type = str(v.type, 'query');
  // "filter" is the name query variables had in the first version.
  v.type = type === 'filter' ? 'query' : type;
  v.hide = hideNumber(v);
  delete v.hideLabel;
  delete v.hideVariable;
  if (v.refresh !== undefined || v.type === 'query') {
    const refresh = v.refresh === true ? 1 : num(v.refresh, 0);
    v.refresh = v.type === 'query' && refresh !== 1 && refresh !== 2 ? 1 : refresh;
  }
  if (v.type === 'constant' && from < 27 && v.hide !== 2) {
    v.type = 'textbox';
  }
  if (v.type === 'query' && isObject(v.query) && v.query.refId === undefined) {
    v.query = { refId: 'StandardVariableQuery', ...v.query };
  }
  const current = upgradeCurrent(v);
  if (current) {
    v.current = current;
  }
  return v;
}

function hideNumber(v: Json): number {
  if (typeof v.hide === 'string') {
    return v.hide === 'hideVariable' ? 2 : v.hide === 'hideLabel' ? 1 : (optNum(v.hide) ?? 0);
  }
  if (typeof v.hide === 'boolean') {
    return v.hide ? 2 : 0;
  }
  return num(v.hide, v.hideVariable === true ? 2 : v.hideLabel === true ? 1 : 0);
}

/** upgradeCurrent gives multi-value variables lists and the others single values; "All" is written `$__all` since Grafana 3. */
function upgradeCurrent(v: Json): Json | null {
  if (!isObject(v.current) || Object.keys(v.current).length === 0) {
    return null;
  }
  const values = strings(v.current.value);
  const texts = strings(v.current.text);
  if (v.includeAll === true && texts.length === 1 && texts[0] === 'All' && values.every((x) => x === 'All')) {
    return { ...v.current, text: v.multi === true ? ['All'] : 'All', value: v.multi === true ? ['$__all'] : '$__all' };
  }
  if (v.multi === true) {
    return { ...v.current, text: texts, value: values };
  }
  return { ...v.current, text: texts.length > 1 ? texts.join(' + ') : (texts[0] ?? ''), value: values[0] ?? '' };
}
