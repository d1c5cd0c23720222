/** Edits of a board's modern JSON. Every function answers a new board and leaves the old one alone; what it does not know it keeps. */
export type Json = Record<string, unknown>;

function isObject(v: unknown): v is Json {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}

function panelsOf(holder: Json): Json[] {
  return Array.isArray(holder.panels) ? holder.panels.filter(isObject) : [];
}

/** listPanels lists all panels but rows, those of collapsed rows too. */
export function listPanels(board: Json): Json[] {
  return panelsOf(board).flatMap((p) => (p.type === 'row' ? panelsOf(p) : [p]));
}

/** gridOf is where a panel stands. */
export function gridOf(panel: Json): { x: number; y: number; w: number; h: number } {
  const g = isObject(panel.gridPos) ? panel.gridPos : {};
  const n = (v: unknown, otherwise: number) => (typeof v === 'number' && Number.isFinite(v) ? v : otherwise);
  return { x: n(g.x, 0), y: n(g.y, 0), w: n(g.w, 12), h: n(g.h, 8) };
}

function mapPanels(board: Json, change: (p: Json) => Json[]): Json {
  const panels = panelsOf(board).flatMap((p) => (p.type === 'row' ? [{ ...p, panels: panelsOf(p).flatMap(change) }] : change(p)));
  return { ...board, panels };
}

/** changePanel replaces one panel by what change answers for it. */
export function changePanel(board: Json, id: number, change: (p: Json) => Json): Json {
  return mapPanels(board, (p) => [p.id === id ? change(p) : p]);
}

/** removePanel takes a panel away. */
export function removePanel(board: Json, id: number): Json {
  return mapPanels(board, (p) => (p.id === id ? [] : [p]));
}

function nextId(board: Json): number {
  const ids = panelsOf(board).flatMap((p) => [p, ...panelsOf(p)]).map((p) => (typeof p.id === 'number' ? p.id : 0));
  return Math.max(0, ...ids) + 1;
}

/** duplicatePanel puts a copy below a panel. */
export function duplicatePanel(board: Json, id: number): { board: Json; id: number } {
  const copyId = nextId(board);
  const copy = (p: Json): Json => {
    const at = gridOf(p);
    return { ...structuredClone(p), id: copyId, gridPos: { ...at, y: at.y + at.h } };
  };
  return { board: mapPanels(board, (p) => (p.id === id ? [p, copy(p)] : [p])), id: copyId };
}

/** addPanel puts a new panel, a time series if nothing else is said, at the top; everything else moves down. */
export function addPanel(board: Json, title: string, what: Json = {}): { board: Json; id: number } {
  const id = nextId(board);
  const height = 8;
  const panel: Json = {
    id, type: 'timeseries', title, gridPos: { x: 0, y: 0, w: 12, h: height }, datasource: null, targets: [{ refId: 'A', expr: '', range: true }],
    fieldConfig: { defaults: {}, overrides: [] }, options: {}, ...what,
  };
  const down = (p: Json): Json => {
    const at = gridOf(p);
    return { ...p, gridPos: { ...at, y: at.y + height } };
  };
  const moved = panelsOf(board).map((p) => (p.type === 'row' ? { ...down(p), panels: panelsOf(p).map(down) } : down(p)));
  return { board: { ...board, panels: [panel, ...moved] }, id };
}

/** emptyBoard is what a new board begins as. */
export function emptyBoard(title: string): Json {
  return { title, tags: [], panels: [], schemaVersion: 42, time: { from: 'now-6h', to: 'now' }, templating: { list: [] }, annotations: { list: [] } };
}

/** sameBoard compares what people edit; what the server stamps does not count. */
export function sameBoard(a: Json, b: Json): boolean {
  const text = (j: Json) => JSON.stringify({ ...j, version: 0, id: 0 });
  return text(a) === text(b);
}

/** writeLayout writes where panels stand into a board: rows one below the other, panels in the order of reading. What the layout does not name stays last. */
export function writeLayout(board: Json, layout: readonly { rowId: number | null; panels: readonly { id: number; pos: { x: number; y: number; w: number; h: number } }[] }[]): Json {
  const rows = new Map(panelsOf(board).filter((p) => p.type === 'row').map((p) => [p.id, p]));
  const panels = new Map(listPanels(board).map((p) => [p.id, p]));
  const out: Json[] = [];
  let top = 0;
  for (const section of layout) {
    const row = rows.get(section.rowId ?? undefined);
    rows.delete(section.rowId ?? undefined);
    const start = top + (row ? 1 : 0);
    const sorted = [...section.panels].sort((a, b) => a.pos.y - b.pos.y || a.pos.x - b.pos.x);
    const placed = sorted.flatMap(({ id, pos }): Json[] => {
      const panel = panels.get(id);
      panels.delete(id);
      return panel ? [{ ...panel, gridPos: { ...(isObject(panel.gridPos) ? panel.gridPos : {}), ...pos, y: start + pos.y } }] : [];
    });
    if (row) {
      out.push({ ...row, gridPos: { x: 0, y: top, w: 24, h: 1 }, panels: row.collapsed === true ? placed : [] });
    }
    if (row?.collapsed !== true) {
      out.push(...placed);
    }
    top = row?.collapsed === true ? start : Math.max(start, ...placed.map((p) => gridOf(p).y + gridOf(p).h));
  }
  const left = [...panels.values()].map((p): Json => {
    const at = { ...gridOf(p), y: top };
    top += at.h;
    return { ...p, gridPos: at };
  });
  return { ...board, panels: [...out, ...left] };
}

/** addRow puts a row below everything. */
export function addRow(board: Json, title: string): Json {
  const y = Math.max(0, ...panelsOf(board).map((p) => gridOf(p).y + gridOf(p).h));
  return { ...board, panels: [...panelsOf(board), { id: nextId(board), type: 'row', title, collapsed: false, gridPos: { x: 0, y, w: 24, h: 1 }, panels: [] }] };
}

/** changeRow names a row anew, or with null takes it away and leaves its panels where they are. */
export function changeRow(board: Json, id: number, title: string | null): Json {
  const panels = panelsOf(board).flatMap((p): Json[] => {
    if (p.type !== 'row' || p.id !== id) {
      return [p];
    }
    return title === null ? panelsOf(p) : [{ ...p, title }];
  });
  return { ...board, panels };
}

/** Difference is one value that differs between two boards. */
export interface Difference {
  path: string;
  old?: unknown;
  new?: unknown;
}

/** differences lists what differs between two boards, but for what the server stamps; a list that grew or shrank is compared element by element. */
export function differences(before: unknown, after: unknown, path = ''): Difference[] {
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((k) => path !== '' || (k !== 'version' && k !== 'id'));
    return keys.flatMap((k) => differences(before[k], after[k], path === '' ? k : `${path}.${k}`));
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    return Array.from({ length: Math.max(before.length, after.length) }, (_, i) => differences(before[i], after[i], `${path}[${i}]`)).flat();
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ path, ...(before === undefined ? {} : { old: before }), ...(after === undefined ? {} : { new: after }) }];
}

/** withVariables makes chosen values the ones a board opens with. */
export function withVariables(board: Json, values: ReadonlyMap<string, readonly string[]>): Json {
  const templating = isObject(board.templating) ? board.templating : {};
  const list = (Array.isArray(templating.list) ? templating.list.filter(isObject) : []).map((v): Json => {
    const chosen = values.get(String(v.name));
    if (!chosen || v.type === 'adhoc') {
      return v;
    }
    const text = chosen.map((c) => (c === '$__all' ? 'All' : c));
    const many = v.multi === true;
    return { ...v, current: { ...(isObject(v.current) ? v.current : {}), text: many ? text : (text[0] ?? ''), value: many ? [...chosen] : (chosen[0] ?? '') } };
  });
  return { ...board, templating: { ...templating, list } };
}

/** asObject reads an object; anything else is an empty one. */
export function asObject(v: unknown): Json {
  return isObject(v) ? v : {};
}

/** asObjects reads the objects of a list; anything else is an empty one. */
export function asObjects(v: unknown): Json[] {
  return Array.isArray(v) ? v.filter(isObject) : [];
}
