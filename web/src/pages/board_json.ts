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

/** placePanel moves and sizes a panel within the grid's 24 columns. */
export function placePanel(board: Json, id: number, to: Partial<{ x: number; y: number; w: number; h: number }>): Json {
  return changePanel(board, id, (p) => {
    const at = { ...gridOf(p), ...to };
    const w = Math.min(24, Math.max(1, Math.round(at.w)));
    return { ...p, gridPos: { x: Math.min(24 - w, Math.max(0, Math.round(at.x))), y: Math.max(0, Math.round(at.y)), w, h: Math.max(1, Math.round(at.h)) } };
  });
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
