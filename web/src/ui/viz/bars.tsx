/** Bars over categories or bins, side by side or stacked, upright or lying. Drawn as SVG: there are never more than a few hundred. */
import { useTheme2 } from '@grafana/ui';

export interface BarSeries {
  name: string;
  color: string;
  values: readonly (number | null)[];
  /** A colour of its own for each bar, when it depends on the value. */
  colors?: readonly (string | undefined)[];
}

export interface BarsProps {
  categories: readonly string[];
  series: readonly BarSeries[];
  width: number;
  height: number;
  horizontal: boolean;
  stacking: 'none' | 'normal' | 'percent';
  groupWidth: number;
  barWidth: number;
  fillOpacity: number;
  lineWidth: number;
  min?: number;
  max?: number;
  showValue: 'auto' | 'always' | 'never';
  format: (v: number) => string;
  label: string;
  axisLabel?: string;
  /** Names stand at the bars' edges, as histograms have them. */
  edges?: boolean;
}

interface Bar {
  category: number;
  from: number;
  to: number;
  start: number;
  end: number;
  value: number;
  color: string;
  name: string;
}

export function Bars(p: BarsProps) {
  const theme = useTheme2();
  const bars = layBars(p);
  const [min, max] = limits(p, bars);
  const ticks = niceTicks(min, max, Math.max(2, Math.floor((p.horizontal ? p.width : p.height) / 60)));
  const low = Math.min(min, ticks[0] ?? min);
  const high = Math.max(max, ticks[ticks.length - 1] ?? max);
  const texts = ticks.map((v) => (p.stacking === 'percent' ? `${Math.round(v * 100)}%` : p.format(v)));
  const names = p.categories.map((c) => (c.length > 24 ? `${c.slice(0, 22)}…` : c));
  const widest = (list: readonly string[]) => Math.max(0, ...list.map((s) => s.length)) * 6.6;
  const left = Math.min(p.width / 2, widest(p.horizontal ? names : texts) + 10);
  const crowded = !p.horizontal && widest(names) * p.categories.length > p.width - left;
  const bottom = crowded ? 44 : 22;
  const plot = { x: left, y: 8, w: Math.max(1, p.width - left - 12), h: Math.max(1, p.height - bottom - 8) };
  const along = p.horizontal ? plot.h : plot.w;
  const value = (v: number) => (p.horizontal ? plot.x + ((v - low) / (high - low || 1)) * plot.w : plot.y + plot.h - ((v - low) / (high - low || 1)) * plot.h);
  const place = (share: number) => (p.horizontal ? plot.y : plot.x) + share * along;
  const grid = theme.colors.border.weak;
  const text = { fontSize: 12, fill: theme.colors.text.primary };
  return (
    <svg width={p.width} height={p.height} role="group" aria-label={p.label} style={{ display: 'block' }}>
      {ticks.map((v, i) => (
        <g key={v}>
          {p.horizontal ? <line x1={value(v)} x2={value(v)} y1={plot.y} y2={plot.y + plot.h} stroke={grid} /> : <line x1={plot.x} x2={plot.x + plot.w} y1={value(v)} y2={value(v)} stroke={grid} />}
          <text {...text} x={p.horizontal ? value(v) : plot.x - 6} y={p.horizontal ? plot.y + plot.h + 16 : value(v)} textAnchor={p.horizontal ? 'middle' : 'end'} dominantBaseline={p.horizontal ? 'auto' : 'middle'}>
            {texts[i]}
          </text>
        </g>
      ))}
      <CategoryNames p={p} names={names} plot={plot} place={place} crowded={crowded} />
      {bars.map((b, i) => (
        <OneBar key={i} b={b} p={p} a={value(b.from)} z={value(b.to)} start={place(b.start)} end={place(b.end)} />
      ))}
    </svg>
  );
}

interface NamesProps {
  p: BarsProps;
  names: readonly string[];
  plot: { x: number; y: number; w: number; h: number };
  place: (share: number) => number;
  crowded: boolean;
}

function CategoryNames({ p, names, plot, place, crowded }: NamesProps) {
  const theme = useTheme2();
  const n = p.edges ? names.length - 1 : names.length;
  const room = (p.horizontal ? plot.h : plot.w) / Math.max(1, n);
  const every = Math.max(1, Math.ceil((crowded ? 28 : p.horizontal ? 15 : 8) / room));
  return (
    <>
      {names.map((name, i) => {
        if (i % every !== 0) {
          return null;
        }
        const at = place((i + (p.edges ? 0 : 0.5)) / Math.max(1, n));
        const common = { fontSize: 12, fill: theme.colors.text.primary };
        return p.horizontal ? (
          <text key={i} {...common} x={plot.x - 6} y={at} textAnchor="end" dominantBaseline="middle">{name}</text>
        ) : (
          <text key={i} {...common} textAnchor={crowded ? 'end' : 'middle'} transform={`translate(${at} ${plot.y + plot.h + 16})${crowded ? ' rotate(-30)' : ''}`}>{name}</text>
        );
      })}
    </>
  );
}

function OneBar({ b, p, a, z, start, end }: { b: Bar; p: BarsProps; a: number; z: number; start: number; end: number }) {
  const theme = useTheme2();
  const box = p.horizontal ? { x: Math.min(a, z), y: start, width: Math.abs(z - a), height: end - start } : { x: start, y: Math.min(a, z), width: end - start, height: Math.abs(z - a) };
  const said = p.format(b.value);
  const fits = p.horizontal ? box.height > 12 : box.width > said.length * 7;
  const show = p.showValue === 'always' || (p.showValue === 'auto' && fits);
  return (
    <g>
      <rect {...box} width={Math.max(0, box.width)} fill={b.color} fillOpacity={p.fillOpacity} stroke={b.color} strokeWidth={p.lineWidth} role="img" aria-label={`${p.categories[b.category] ?? ''} ${b.name}: ${said}`}>
        <title>{`${p.categories[b.category] ?? ''} ${b.name}: ${said}`}</title>
      </rect>
      {show && (
        <text
          {...valuePlace(box, p)} fontSize={12} fill={p.stacking === 'none' ? theme.colors.text.primary : theme.colors.getContrastText(/^(#|rgb)/.test(b.color) ? b.color : '#808080')}
        >
          {said}
        </text>
      )}
    </g>
  );
}

/** A value stands beyond the end of its bar, or in the middle of it where bars are stacked. */
function valuePlace(box: { x: number; y: number; width: number; height: number }, p: BarsProps) {
  if (p.stacking !== 'none') {
    return { x: box.x + box.width / 2, y: box.y + box.height / 2, textAnchor: 'middle', dominantBaseline: 'middle' } as const;
  }
  return p.horizontal
    ? ({ x: box.x + box.width + 4, y: box.y + box.height / 2, textAnchor: 'start', dominantBaseline: 'middle' } as const)
    : ({ x: box.x + box.width / 2, y: box.y - 4, textAnchor: 'middle' } as const);
}

/** drawable: a quantile beyond the last bucket is infinite, and no bar is that long. */
function drawable(value: number | null | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** layBars works out each bar's stretch of values and its place along the categories, as a share of them all. */
export function layBars(p: Pick<BarsProps, 'categories' | 'series' | 'stacking' | 'groupWidth' | 'barWidth' | 'edges'>): Bar[] {
  const n = Math.max(1, p.edges ? p.categories.length - 1 : p.categories.length);
  const bars: Bar[] = [];
  for (let c = 0; c < n; c++) {
    const sum = p.series.reduce((t, s) => t + (drawable(s.values[c]) ? Math.abs(s.values[c] ?? 0) : 0), 0) || 1;
    let [up, down] = [0, 0];
    p.series.forEach((s, i) => {
      const value = s.values[c];
      if (!drawable(value)) {
        return;
      }
      const shown = p.stacking === 'percent' ? value / sum : value;
      const slots = p.stacking === 'none' ? p.series.length : 1;
      const slot = p.groupWidth / slots;
      const start = c + (1 - p.groupWidth) / 2 + (p.stacking === 'none' ? i : 0) * slot + (slot * (1 - p.barWidth)) / 2;
      const from = p.stacking === 'none' ? 0 : shown >= 0 ? up : down;
      const to = from + shown;
      if (p.stacking !== 'none') {
        [up, down] = shown >= 0 ? [to, down] : [up, to];
      }
      bars.push({ category: c, from, to, start: start / n, end: (start + slot * p.barWidth) / n, value, color: s.colors?.[c] ?? s.color, name: s.name });
    });
  }
  return bars;
}

function limits(p: BarsProps, bars: readonly Bar[]): [number, number] {
  const ends = bars.flatMap((b) => [b.from, b.to]);
  return [p.min ?? Math.min(0, ...ends), p.max ?? Math.max(0, ...ends, ends.length === 0 ? 1 : -Infinity)];
}

/** niceTicks spreads about `count` round values over a range, its ends included. */
export function niceTicks(min: number, max: number, count: number): number[] {
  const span = max - min || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const m = span / count / power;
  const step = power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
  const first = Math.floor(min / step);
  const last = Math.ceil(max / step);
  return Array.from({ length: Math.min(200, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
