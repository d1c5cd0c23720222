/** From frames to lanes: the states of series over time, and the cells of heatmaps. Pure; the drawing is in ui/viz/lanes.tsx. */
import { FieldType, formattedValueToString, getFieldDisplayName, type DataFrame, type Field } from '@grafana/data';
import type { LaneBox } from '../ui/viz/lanes';

export interface Lanes {
  names: string[];
  boxes: LaneBox[];
  /** Where the lanes' edges are, for buckets: one more than lanes. */
  edges?: string[];
}

interface StateField {
  field: Field;
  name: string;
  times: number[];
  step: number;
}

function stateFields(frames: readonly DataFrame[]): StateField[] {
  return frames.flatMap((frame) => {
    const time = frame.fields.find((f) => f.type === FieldType.time);
    if (!time) {
      return [];
    }
    const values = frame.fields.filter((f) => f !== time && [FieldType.number, FieldType.string, FieldType.boolean, FieldType.enum].includes(f.type) && f.config.custom?.hideFrom?.viz !== true);
    return values.map((field) => ({ field, name: getFieldDisplayName(field, frame, frames as DataFrame[]), times: time.values as number[], step: stepOf(time) }));
  });
}

/** stepOf is how far apart a series' points are: what its query asked for, else the smallest distance seen. */
function stepOf(time: Field): number {
  if (typeof time.config.interval === 'number' && time.config.interval > 0) {
    return time.config.interval;
  }
  let min = Infinity;
  for (let i = 1; i < time.values.length; i++) {
    min = Math.min(min, Number(time.values[i]) - Number(time.values[i - 1]));
  }
  return Number.isFinite(min) && min > 0 ? min : 60_000;
}

/** stateLanes merges equal neighbours; a state lasts until the next point, and ends where points are missing. */
export function stateLanes(frames: readonly DataFrame[], merge: boolean, end: number): Lanes {
  const fields = stateFields(frames).reverse();
  const boxes: LaneBox[] = [];
  fields.forEach(({ field, times, step }, lane) => {
    let open: LaneBox | null = null;
    for (let i = 0; i < times.length; i++) {
      const value: unknown = field.values[i];
      const at = times[i] ?? 0;
      const next = times[i + 1];
      if (value === null || value === undefined || Number.isNaN(value)) {
        open = null;
        continue;
      }
      const until = next === undefined ? Math.min(Math.max(end, at), at + step) : next - at > 2 * step ? at + step : next;
      const { color, text } = shown(field, value);
      if (merge && open && open.x1 === at && open.text === text && open.color === color) {
        open.x1 = until;
      } else {
        open = { x0: at, x1: until, lane, color, text };
        boxes.push(open);
      }
    }
  });
  return { names: fields.map((f) => f.name), boxes };
}

/** historyLanes gives every point a box of its own, centred on its time. */
export function historyLanes(frames: readonly DataFrame[], share: number): Lanes {
  const fields = stateFields(frames).reverse();
  const boxes = fields.flatMap(({ field, times, step }, lane) =>
    times.flatMap((at, i): LaneBox[] => {
      const value: unknown = field.values[i];
      if (value === null || value === undefined || Number.isNaN(value)) {
        return [];
      }
      return [{ x0: at - (step * share) / 2, x1: at + (step * share) / 2, lane, ...shown(field, value) }];
    })
  );
  return { names: fields.map((f) => f.name), boxes };
}

function shown(field: Field, value: unknown): { color: string; text: string } {
  const d = field.display?.(value);
  return { color: d?.color ?? '#808080', text: d ? formattedValueToString(d) : String(value) };
}

/** Cells is a heatmap before colours: a value per time and bucket. */
export interface Cells {
  edges: number[] | null;
  names: string[];
  cells: { x0: number; x1: number; lane: number; value: number }[];
}

/** bucketCells takes series that are buckets already, in the order of their bounds. */
export function bucketCells(frames: readonly DataFrame[], layout: string): Cells {
  const rows = stateFields(frames).filter((f) => f.field.type === FieldType.number);
  const bounds = rows.map((r) => Number(r.field.labels?.le ?? r.name));
  const numeric = rows.length > 1 && bounds.every((b) => !Number.isNaN(b));
  const order = rows.map((_, i) => i);
  if (numeric) {
    order.sort((a, b) => (bounds[a] ?? 0) - (bounds[b] ?? 0));
  }
  const cells = order.flatMap((row, lane) => {
    const r = rows[row];
    return r ? r.times.map((at, i) => ({ x0: at - (layout === 'ge' ? 0 : r.step), x1: at + (layout === 'ge' ? r.step : 0), lane, value: Number(r.field.values[i]) })) : [];
  });
  return { edges: numeric ? order.map((i) => bounds[i] ?? 0) : null, names: order.map((i) => rows[i]?.name ?? ''), cells };
}

/** calculatedCells counts the points of ordinary series per stretch of time and of value. */
export function calculatedCells(frames: readonly DataFrame[], range: { from: number; to: number }, columns: number, rowsWanted: number): Cells {
  const series = stateFields(frames).filter((f) => f.field.type === FieldType.number);
  let [min, max] = [Infinity, -Infinity];
  for (const s of series) {
    for (const v of s.field.values as number[]) {
      if (Number.isFinite(v)) {
        min = Math.min(min, v);
        max = Math.max(max, v);
      }
    }
  }
  if (min > max) {
    return { edges: null, names: [], cells: [] };
  }
  const size = niceStep((max - min || Math.abs(max) || 1) / rowsWanted);
  const base = Math.floor(min / size) * size;
  const rows = Math.max(1, Math.floor((max - base) / size) + 1);
  const width = (range.to - range.from) / columns;
  const counts = new Map<number, number>();
  for (const s of series) {
    s.times.forEach((at, i) => {
      const v = Number(s.field.values[i]);
      const column = Math.floor((at - range.from) / width);
      if (Number.isFinite(v) && column >= 0 && column <= columns) {
        const key = Math.min(columns - 1, column) * rows + Math.min(rows - 1, Math.floor((v - base) / size));
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    });
  }
  const cells = [...counts].map(([key, value]) => {
    const column = Math.floor(key / rows);
    return { x0: range.from + column * width, x1: range.from + (column + 1) * width, lane: key % rows, value };
  });
  return { edges: Array.from({ length: rows + 1 }, (_, i) => base + i * size), names: Array.from({ length: rows }, (_, i) => String(base + i * size)), cells };
}

/** niceStep rounds up to 1, 2 or 5 times a power of ten. */
export function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const m = raw / power;
  return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}
