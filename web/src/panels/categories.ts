/** From frames to bars: categories of a table, and bins counted from values. */
import { FieldType, formattedValueToString, getFieldDisplayName, type DataFrame, type Field } from '@grafana/data';
import type { BarSeries } from '../ui/viz/bars';
import { niceStep } from './lanes';

export interface Categories {
  names: string[];
  series: BarSeries[];
  format: (v: number) => string;
}

/** categoriesOf takes the first text (or time) column as categories and every number column as a series. */
export function categoriesOf(frames: readonly DataFrame[], xField: string, colorField: string): Categories | null {
  const frame = frames.find((f) => f.fields.some((x) => x.type === FieldType.number)) ?? null;
  if (!frame) {
    return null;
  }
  const named = frame.fields.find((f) => xField !== '' && (f.name === xField || getFieldDisplayName(f, frame) === xField));
  const x = named ?? frame.fields.find((f) => f.type === FieldType.string) ?? frame.fields.find((f) => f.type === FieldType.time);
  const numbers = frame.fields.filter((f) => f.type === FieldType.number && f !== x && f.config.custom?.hideFrom?.viz !== true);
  const by = frame.fields.find((f) => colorField !== '' && getFieldDisplayName(f, frame) === colorField);
  const series = numbers.map((f): BarSeries => {
    const values = f.values as (number | null)[];
    const own = by ?? (f.config.color?.mode && !f.config.color.mode.startsWith('palette') && f.config.color.mode !== 'fixed' ? f : null);
    return {
      name: getFieldDisplayName(f, frame), values, color: f.display?.(values[0]).color ?? '#808080',
      ...(own ? { colors: own.values.map((v: unknown) => own.display?.(v).color) } : {}),
    };
  });
  return { names: x ? x.values.map((v: unknown) => textOf(x, v)) : Array.from({ length: frame.length }, (_, i) => String(i + 1)), series, format: formatOf(numbers[0]) };
}

function textOf(f: Field, v: unknown): string {
  return f.display ? formattedValueToString(f.display(v)) : String(v ?? '');
}

function formatOf(f: Field | undefined): (v: number) => string {
  return (v) => (f?.display ? formattedValueToString(f.display(v)) : String(v));
}

/** histogramOf counts values into bins of equal size; `combine` puts all series into one. */
export function histogramOf(frames: readonly DataFrame[], options: { size?: number; offset: number; count: number; combine: boolean }): Categories | null {
  const fields = frames.flatMap((frame) => frame.fields.filter((f) => f.type === FieldType.number && f.config.custom?.hideFrom?.viz !== true).map((f) => ({ f, name: getFieldDisplayName(f, frame, frames as DataFrame[]) })));
  const finite = (f: Field) => (f.values as number[]).filter((v) => Number.isFinite(v));
  let [min, max] = [Infinity, -Infinity];
  fields.forEach(({ f }) => finite(f).forEach((v) => ([min, max] = [Math.min(min, v), Math.max(max, v)])));
  if (min > max) {
    return null;
  }
  const size = options.size && options.size > 0 ? options.size : niceStep((max - min || Math.abs(max) || 1) / Math.max(1, options.count));
  const base = Math.floor((min - options.offset) / size) * size + options.offset;
  const bins = Math.min(1000, Math.floor((max - base) / size) + 1);
  const count = (all: readonly Field[]) => {
    const out = new Array<number>(bins).fill(0);
    all.forEach((f) => finite(f).forEach((v) => (out[Math.min(bins - 1, Math.floor((v - base) / size))]! += 1)));
    return out;
  };
  const colorOf = (f: Field) => f.display?.(f.values[0]).color ?? '#808080';
  const first = fields[0];
  const series = options.combine && first ? [{ name: '', color: colorOf(first.f), values: count(fields.map((x) => x.f)) }] : fields.map(({ f, name }) => ({ name, color: colorOf(f), values: count([f]) }));
  const format = formatOf(first?.f);
  return { names: Array.from({ length: bins + 1 }, (_, i) => format(Number((base + i * size).toPrecision(12)))), series, format: (v) => String(v) };
}
