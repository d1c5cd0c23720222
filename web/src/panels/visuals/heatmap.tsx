/** Heatmap: buckets over time, as the query gave them or counted here. */
import { dateTimeFormat, formattedValueToString, getValueFormat } from '@grafana/data';
import {
  interpolateBlues, interpolateBrBG, interpolateBuGn, interpolateBuPu, interpolateCividis, interpolateCool, interpolateCubehelixDefault,
  interpolateGnBu, interpolateGreens, interpolateGreys, interpolateInferno, interpolateMagma, interpolateOrRd, interpolateOranges, interpolatePRGn,
  interpolatePiYG, interpolatePlasma, interpolatePuBu, interpolatePuBuGn, interpolatePuOr, interpolatePuRd, interpolatePurples, interpolateRainbow,
  interpolateRdBu, interpolateRdGy, interpolateRdPu, interpolateRdYlBu, interpolateRdYlGn, interpolateReds, interpolateSinebow, interpolateSpectral,
  interpolateTurbo, interpolateViridis, interpolateWarm, interpolateYlGn, interpolateYlGnBu, interpolateYlOrBr, interpolateYlOrRd,
} from 'd3-scale-chromatic';
import { useMemo } from 'react';
import { numberOr, oneOf } from '../options';
import { obj, optNum, str } from '../../board/json';
import { useT, useTheme2 } from '../../ui';
import { LaneChart, type LaneBox } from '../../ui/viz/lanes';
import { bucketCells, calculatedCells, type Cells } from '../lanes';
import { Sentence } from './sentence';
import type { VisualProps } from './types';

const LEGEND_HEIGHT = 34;

/** The schemes heatmaps may name. They are imported one by one: other scripts share the library and need few of them. */
const SCHEMES: Readonly<Record<string, (t: number) => string>> = {
  Blues: interpolateBlues, BrBG: interpolateBrBG, BuGn: interpolateBuGn, BuPu: interpolateBuPu, Cividis: interpolateCividis, Cool: interpolateCool,
  Cubehelix: interpolateCubehelixDefault, GnBu: interpolateGnBu, Greens: interpolateGreens, Greys: interpolateGreys, Inferno: interpolateInferno,
  Magma: interpolateMagma, OrRd: interpolateOrRd, Oranges: interpolateOranges, PRGn: interpolatePRGn, PiYG: interpolatePiYG, Plasma:
  interpolatePlasma, PuBu: interpolatePuBu, PuBuGn: interpolatePuBuGn, PuOr: interpolatePuOr, PuRd: interpolatePuRd, Purples: interpolatePurples,
  Rainbow: interpolateRainbow, RdBu: interpolateRdBu, RdGy: interpolateRdGy, RdPu: interpolateRdPu, RdYlBu: interpolateRdYlBu, RdYlGn:
  interpolateRdYlGn, Reds: interpolateReds, Sinebow: interpolateSinebow, Spectral: interpolateSpectral, Turbo: interpolateTurbo, Viridis:
  interpolateViridis, Warm: interpolateWarm, YlGn: interpolateYlGn, YlGnBu: interpolateYlGnBu, YlOrBr: interpolateYlOrBr, YlOrRd: interpolateYlOrRd,
};

export default function HeatmapVisual(p: VisualProps) {
  const t = useT();
  const o = p.panel.options;
  const from = p.range.from.valueOf();
  const to = p.range.to.valueOf();
  const y = obj(o.yAxis);
  const cells = useMemo(() => readCells(p.frames, o, { from, to }, p.width), [p.frames, o, from, to, p.width]);
  const format = useMemo(() => formatter(str(y.unit, str(p.fieldConfig.defaults.unit, 'short')), optNum(y.decimals)), [y.unit, y.decimals, p.fieldConfig.defaults.unit]);
  const color = useColor(obj(o.color));
  const { boxes, min, max, values } = useMemo(() => paint(cells, obj(o.color), obj(o.filterValues), color, y.reverse === true), [cells, o.color, o.filterValues, color, y.reverse]);
  if (cells.names.length === 0) {
    return <Sentence text={t('panel.notNumeric')} />;
  }
  const cellFormat = formatter(str(obj(o.cellValues).unit, 'short'), optNum(obj(o.cellValues).decimals));
  const labels = bucketLabels(cells, format, y.reverse === true);
  const legend = obj(o.legend).show !== false;
  const describe = (time: number, lane: number) => {
    const at = boxes.findIndex((b) => b.lane === lane && b.x0 <= time && time < b.x1);
    return (
      <div style={{ padding: 8 }}>
        <div>{dateTimeFormat(boxes[at]?.x1 ?? time, { timeZone: p.timeZone })}</div>
        <div>{t('heatmap.bucket')}: {labels.lanes[lane]}</div>
        <strong>{t('heatmap.count')}: {at < 0 ? '-' : cellFormat(values[at] ?? 0)}</strong>
      </div>
    );
  };
  return (
    <>
      <LaneChart
        lanes={labels.lanes} edges={labels.edges} boxes={boxes} width={p.width} height={p.height - (legend ? LEGEND_HEIGHT : 0)} timeRange={p.range} timeZone={p.timeZone}
        label={p.panel.title} fill={1} gap={numberOr(o.cellGap, 1)} fillOpacity={1} lineWidth={0} showText={oneOf(o.showValue, ['auto', 'always', 'never'], 'never')} align="center"
        sync={p.sync} syncScope={p.syncScope} onZoom={p.onZoom} marks={p.marks ?? []} describe={describe}
      />
      {legend && <ColorScale color={color} min={cellFormat(min)} max={cellFormat(max)} />}
    </>
  );
}

function formatter(unit: string, decimals: number | undefined): (v: number) => string {
  const f = getValueFormat(unit);
  return (v) => (v === Infinity ? '+Inf' : formattedValueToString(f(v, decimals)));
}

function readCells(frames: VisualProps['frames'], o: VisualProps['panel']['options'], range: { from: number; to: number }, width: number): Cells {
  if (o.calculate !== true) {
    return bucketCells(frames, str(obj(o.rowsFrame).layout, 'auto'));
  }
  const c = obj(o.calculation);
  const count = (axis: unknown, fallback: number) => (obj(axis).mode === 'count' ? (optNum(obj(axis).value) ?? fallback) : fallback);
  return calculatedCells(frames, range, count(c.xBuckets, Math.max(10, Math.min(60, Math.floor(width / 20)))), count(c.yBuckets, 12));
}

/** Buckets of numbers are named at their edges; named ones in their middle. */
function bucketLabels(cells: Cells, format: (v: number) => string, reverse: boolean): { lanes: string[]; edges?: string[] } {
  if (!cells.edges) {
    return { lanes: reverse ? [...cells.names].reverse() : cells.names };
  }
  const own = cells.edges.map(format);
  const lanes = cells.names.map((_, i) => (cells.edges?.length === cells.names.length ? `${i === 0 ? '' : `${own[i - 1]} – `}${own[i]}` : `${own[i]} – ${own[i + 1]}`));
  const edges = cells.edges.length === cells.names.length ? ['', ...own] : own;
  return reverse ? { lanes: lanes.reverse(), edges: edges.reverse() } : { lanes, edges };
}

function paint(cells: Cells, options: Record<string, unknown>, filter: Record<string, unknown>, color: (share: number) => string, reverse: boolean) {
  const le = optNum(filter.le) ?? -Infinity;
  const ge = optNum(filter.ge) ?? Infinity;
  const kept = cells.cells.filter((c) => Number.isFinite(c.value) && c.value > le && c.value < ge);
  const min = optNum(options.min) ?? kept.reduce((m, c) => Math.min(m, c.value), Infinity);
  const max = optNum(options.max) ?? kept.reduce((m, c) => Math.max(m, c.value), -Infinity);
  const span = max - min;
  const exponent = options.scale === 'linear' ? 1 : numberOr(options.exponent, 0.5);
  const steps = Math.max(2, numberOr(options.steps, 64));
  const boxes = kept.map((c): LaneBox => {
    const share = span > 0 ? Math.min(1, Math.max(0, (c.value - min) / span)) : 1;
    return { x0: c.x0, x1: c.x1, lane: reverse ? cells.names.length - 1 - c.lane : c.lane, color: color(Math.round(share ** exponent * (steps - 1)) / (steps - 1)), text: String(Math.round(c.value * 100) / 100) };
  });
  return { boxes, min: Number.isFinite(min) ? min : 0, max: Number.isFinite(max) ? max : 0, values: kept.map((c) => c.value) };
}

/** useColor makes the scale of a scheme; dark themes turn it so that little is dark, as Grafana does. */
function useColor(options: Record<string, unknown>): (share: number) => string {
  const theme = useTheme2();
  const fill = theme.visualization.getColorByName(str(options.fill, 'dark-orange'));
  const { mode, scheme, reverse } = options;
  return useMemo(() => {
    if (mode === 'opacity') {
      return (share) => withAlpha(fill, 0.08 + 0.92 * share);
    }
    const interpolate = SCHEMES[str(scheme)] ?? interpolateOranges;
    const diverging = /^(Spectral|RdYlGn|BrBG|PiYG|PRGn|PuOr|RdBu|RdGy|RdYlBu)$/.test(str(scheme));
    const natural = /^(Turbo|Cividis|Viridis|Magma|Inferno|Plasma|Warm|Cool|Cubehelix)/.test(str(scheme));
    const turn = (diverging || (theme.isDark && !natural)) !== (reverse === true);
    return (share) => hex(interpolate(turn ? 1 - share : share));
  }, [mode, scheme, reverse, fill, theme.isDark]);
}

function hex(color: string): string {
  const m = /rgb\((\d+), (\d+), (\d+)\)/.exec(color);
  return m ? `#${m.slice(1, 4).map((v) => Number(v).toString(16).padStart(2, '0')).join('')}` : color;
}

function withAlpha(color: string, alpha: number): string {
  return /^#[0-9a-f]{6}$/i.test(color) ? `${color}${Math.round(alpha * 255).toString(16).padStart(2, '0')}` : color;
}

function ColorScale({ color, min, max }: { color: (share: number) => string; min: string; max: string }) {
  const theme = useTheme2();
  const stops = Array.from({ length: 17 }, (_, i) => color(i / 16)).join(', ');
  return (
    <div style={{ height: LEGEND_HEIGHT, display: 'flex', alignItems: 'center', gap: 8, maxWidth: 260, fontSize: theme.typography.bodySmall.fontSize }}>
      <span>{min}</span>
      <span aria-hidden style={{ flex: 1, height: 8, background: `linear-gradient(to right, ${stops})` }} />
      <span>{max}</span>
    </div>
  );
}
