/** Lanes over time: coloured boxes on a time axis, one lane per series or bucket. State timelines, status histories and heatmaps are made of it. */
import { type DashboardCursorSync, type TimeRange } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { TooltipPlugin2, UPlotChart, UPlotConfigBuilder, useTheme2 } from '@grafana/ui';
import { useMemo, useRef, type ReactNode } from 'react';
import type uPlot from 'uplot';
import { drawMarks, type Mark } from './marks';

/** LaneBox is one box; x0 and x1 are epoch milliseconds, lanes count from the bottom. */
export interface LaneBox {
  x0: number;
  x1: number;
  lane: number;
  color: string;
  text: string;
}

export interface LaneChartProps {
  /** What each lane is called, from the bottom up. */
  lanes: readonly string[];
  /** Names stand at the lanes' lower edges (buckets) instead of their middle (series); the last one closes the top. */
  edges?: readonly string[];
  boxes: readonly LaneBox[];
  width: number;
  height: number;
  timeRange: TimeRange;
  timeZone: string;
  /** Share of a lane's height that its boxes fill. */
  fill: number;
  /** Pixels left free between boxes of one lane. */
  gap: number;
  fillOpacity: number;
  lineWidth: number;
  showText: 'auto' | 'always' | 'never';
  align: 'left' | 'center' | 'right';
  sync: DashboardCursorSync;
  syncScope: string;
  onZoom: (range: { from: number; to: number }) => void;
  marks: readonly Mark[];
  label: string;
  /** What the tooltip says of a time and the lane under the cursor. */
  describe: (time: number, lane: number) => ReactNode;
}

const HOVER_ALL = 1;

export function LaneChart(props: LaneChartProps) {
  const theme = useTheme2();
  const now = useRef(props);
  now.current = props;
  const names = props.lanes.join('\n') + (props.edges?.join('\n') ?? '');
  const config = useMemo(() => {
    const c = new UPlotConfigBuilder(props.timeZone);
    const { edges, lanes } = now.current;
    c.addScale({
      scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right,
      range: () => [now.current.timeRange.from.valueOf(), now.current.timeRange.to.valueOf()],
    });
    c.addScale({ scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [0, Math.max(1, now.current.lanes.length)] });
    c.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, timeZone: props.timeZone, theme, grid: { show: false } });
    c.addAxis({
      scaleKey: 'y', placement: AxisPlacement.Left, theme, grid: { show: false }, ticks: { show: edges !== undefined },
      splits: (u) => laneSplits(u, edges ? edges.length : lanes.length, edges ? 0 : 0.5),
      values: (_u, splits) => splits.map((v) => shorten((edges ?? lanes)[Math.floor(v)] ?? '')),
    });
    c.addSeries({ scaleKey: 'y', theme, pathBuilder: () => null, pointsBuilder: () => false });
    c.setCursor({ points: { show: false } });
    c.addHook('draw', (u) => drawBoxes(u, now.current, theme.typography.fontFamily));
    drawMarks(c, () => now.current.marks);
    return c;
    // eslint-disable-next-line react-hooks/exhaustive-deps -- names stands for lanes and edges
  }, [theme, props.timeZone, names]);
  const data = useMemo(() => {
    const xs = [...new Set(props.boxes.map((b) => b.x0))].sort((a, b) => a - b);
    return [xs, xs.map(() => 0.5)] as uPlot.AlignedData;
  }, [props.boxes]);
  return (
    <div role="img" aria-label={`${props.label}: ${props.lanes.join(', ')}`.slice(0, 300)}>
      <UPlotChart config={config} data={data} width={props.width} height={props.height}>
        <TooltipPlugin2
          config={config}
          hoverMode={HOVER_ALL as never}
          queryZoom={(r) => now.current.onZoom(r)}
          syncMode={props.sync}
          syncScope={props.syncScope}
          render={(u) => {
            const lane = Math.floor(u.posToVal(u.cursor.top ?? 0, 'y'));
            return now.current.describe(u.posToVal(u.cursor.left ?? 0, 'x'), Math.max(0, Math.min(now.current.lanes.length - 1, lane)));
          }}
        />
      </UPlotChart>
    </div>
  );
}

/** Names that would overlap are left out evenly. */
function laneSplits(u: uPlot, count: number, offset: number): number[] {
  const room = Math.max(1, Math.floor(u.bbox.height / (window.devicePixelRatio || 1) / 14));
  const every = Math.max(1, Math.ceil(count / room));
  const out: number[] = [];
  for (let i = 0; i < count; i += every) {
    out.push(i + offset);
  }
  return out;
}

function shorten(name: string): string {
  return name.length > 40 ? `${name.slice(0, 38)}…` : name;
}

function drawBoxes(u: uPlot, p: LaneChartProps, font: string): void {
  const { ctx } = u;
  const ratio = window.devicePixelRatio || 1;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  ctx.font = `${12 * ratio}px ${font}`;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  const texts = p.showText !== 'never' && p.boxes.length < 5000;
  for (const b of p.boxes) {
    const left = Math.round(u.valToPos(b.x0, 'x', true));
    const right = Math.round(u.valToPos(b.x1, 'x', true));
    const middle = b.lane + 0.5;
    const top = Math.round(u.valToPos(middle + p.fill / 2, 'y', true));
    const bottom = Math.round(u.valToPos(middle - p.fill / 2, 'y', true));
    const w = Math.max(ratio, right - left - p.gap * ratio);
    const h = Math.max(ratio, bottom - top - (p.fill === 1 ? p.gap * ratio : 0));
    ctx.fillStyle = b.color;
    ctx.globalAlpha = p.fillOpacity;
    ctx.fillRect(left, top, w, h);
    ctx.globalAlpha = 1;
    if (p.lineWidth > 0) {
      ctx.strokeStyle = b.color;
      ctx.lineWidth = p.lineWidth * ratio;
      ctx.strokeRect(left + ctx.lineWidth / 2, top + ctx.lineWidth / 2, Math.max(0, w - ctx.lineWidth), Math.max(0, h - ctx.lineWidth));
    }
    if (texts && h > 12 * ratio && b.text !== '') {
      drawText(ctx, b, p, { left, top, w, h, ratio });
    }
  }
  ctx.restore();
}

function drawText(ctx: CanvasRenderingContext2D, b: LaneBox, p: LaneChartProps, box: { left: number; top: number; w: number; h: number; ratio: number }): void {
  const pad = 6 * box.ratio;
  const wide = ctx.measureText(b.text).width;
  if (p.showText === 'auto' && wide + 2 * pad > box.w) {
    return;
  }
  const x = p.align === 'center' ? box.left + (box.w - wide) / 2 : p.align === 'right' ? box.left + box.w - wide - pad : box.left + pad;
  ctx.fillStyle = readable(b.color, p.fillOpacity);
  ctx.fillText(b.text, x, box.top + box.h / 2);
}

/** readable picks black or white, whichever stands out against a colour. */
export function readable(color: string, opacity: number): string {
  const m = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(color) ?? /rgba?\((\d+),\s*(\d+),\s*(\d+)/.exec(color);
  if (!m || opacity < 0.4) {
    return opacity < 0.4 ? 'gray' : '#fff';
  }
  const [r, g, b] = m.slice(1, 4).map((v) => parseInt(v, color.startsWith('#') ? 16 : 10)) as [number, number, number];
  return r * 0.299 + g * 0.587 + b * 0.114 > 150 ? '#000' : '#fff';
}
