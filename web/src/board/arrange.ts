/** Moves and sizes panels as Grafana's grid does: what is in the way gives way, then everything closes up. */
import { COLUMNS, compact, type PlacedPanel } from './layout';
import type { GridPos } from './model';

/** SectionLayout is where the panels of one row stand, measured from the row's top; rowId is null above the first row. */
export interface SectionLayout {
  rowId: number | null;
  panels: { id: number; pos: GridPos }[];
}

/** MAX_HEIGHT bounds a panel's height in grid units: ten screens. */
const MAX_HEIGHT = 300;

/** clampPos keeps a place within the columns. */
export function clampPos(p: GridPos): GridPos {
  const w = Math.min(COLUMNS, Math.max(1, Math.round(p.w)));
  return { w, h: Math.min(MAX_HEIGHT, Math.max(1, Math.round(p.h))), x: Math.min(COLUMNS - w, Math.max(0, Math.round(p.x))), y: Math.max(0, Math.round(p.y)) };
}

function overlap(a: GridPos, b: GridPos): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

/** movePanel puts one panel of a section at a place. A panel it is moved down onto goes up into the room it leaves, if it fits there. */
export function movePanel(panels: readonly PlacedPanel[], key: string, to: GridPos): PlacedPanel[] {
  const moved = panels.find((p) => p.key === key);
  if (!moved) {
    return [...panels];
  }
  const at = { ...moved, pos: clampPos(to) };
  const down = at.pos.y > moved.pos.y;
  const others = panels.filter((p) => p.key !== key).sort((a, b) => a.pos.y - b.pos.y || a.pos.x - b.pos.x);
  const placed: PlacedPanel[] = [at];
  for (const other of others) {
    placed.push({ ...other, pos: room(other.pos, at.pos, down, placed, others.filter((o) => o !== other)) });
  }
  return compact(placed);
}

/** room finds where a panel goes that may be in the way of others. */
function room(pos: GridPos, moved: GridPos, down: boolean, placed: readonly PlacedPanel[], others: readonly PlacedPanel[]): GridPos {
  if (down && overlap(pos, moved)) {
    const above = { ...pos, y: Math.max(0, moved.y - pos.h) };
    if (!overlap(above, moved) && !others.some((o) => overlap(above, o.pos)) && !placed.some((p) => overlap(above, p.pos))) {
      return above;
    }
  }
  let free = pos;
  for (let hit = placed.find((p) => overlap(free, p.pos)); hit; hit = placed.find((p) => overlap(free, p.pos))) {
    free = { ...free, y: hit.pos.y + hit.pos.h };
  }
  return free;
}

/** nudge moves a panel one step with the keyboard: sideways by a column, up and down past the next panel. It answers null where there is no further. */
export function nudge(panels: readonly PlacedPanel[], key: string, dx: number, dy: number): PlacedPanel[] | null {
  const pos = panels.find((p) => p.key === key)?.pos;
  if (!pos) {
    return null;
  }
  const reach = dy === 0 ? 1 : Math.max(1, ...panels.map((p) => p.pos.y + p.pos.h));
  for (let n = 1; n <= reach; n++) {
    const to = { ...pos, x: pos.x + dx, y: pos.y + dy * n };
    if (to.x < 0 || to.x + to.w > COLUMNS || to.y < 0) {
      return null;
    }
    const next = movePanel(panels, key, to);
    const now = next.find((p) => p.key === key)?.pos;
    if (now && (now.x !== pos.x || now.y !== pos.y)) {
      return next;
    }
  }
  return null;
}
