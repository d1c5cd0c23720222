/** What makes a panel of a board one of the library, and back. */
type Json = Record<string, unknown>;

const isObject = (v: unknown): v is Json => typeof v === 'object' && v !== null && !Array.isArray(v);
const inside = (holder: Json): Json[] => (Array.isArray(holder.panels) ? holder.panels.filter(isObject) : []);

/** What belongs to the board and not to the library. */
const OWN = ['id', 'gridPos', 'libraryPanel', 'scopedVars', 'repeat', 'repeatDirection', 'maxPerRow'];

/** panelsOf lists the panels of a board but rows, those inside rows too. */
export function panelsOf(board: Json): Json[] {
  return inside(board).flatMap((p) => (p.type === 'row' ? inside(p) : [p]));
}

/** libraryUid is the uid of the library panel that a panel is; empty for none. */
export function libraryUid(panel: Json): string {
  return isObject(panel.libraryPanel) && typeof panel.libraryPanel.uid === 'string' ? panel.libraryPanel.uid : '';
}

/** modelOf is what a library keeps of a panel. */
export function modelOf(panel: Json): Json {
  return Object.fromEntries(Object.entries(panel).filter(([k]) => !OWN.includes(k)));
}

function mapPanels(holder: Json, change: (p: Json) => Json): Json {
  return Array.isArray(holder.panels) ? { ...holder, panels: (holder.panels as unknown[]).map((p) => (isObject(p) ? (p.type === 'row' ? mapPanels(p, change) : change(p)) : p)) } : holder;
}

/** link makes a panel of a board one of the library. */
export function link(board: Json, id: number, uid: string, name: string): Json {
  return mapPanels(board, (p) => (p.id === id ? { ...p, libraryPanel: { uid, name } } : p));
}

/** unlink makes the panels of a board that are a library panel their own again; what they show stays. */
export function unlink(board: Json, uid: string): Json {
  return mapPanels(board, (p) => (libraryUid(p) === uid ? Object.fromEntries(Object.entries(p).filter(([k]) => k !== 'libraryPanel')) : p));
}
