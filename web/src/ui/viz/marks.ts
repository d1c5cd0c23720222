/** Annotations as charts draw them. */
import type { UPlotConfigBuilder } from '@grafana/ui';

/** Mark is a moment, or a stretch of time, that charts show with a dashed line and a flag one can read. */
export interface Mark {
  time: number;
  /** Equal to time for a moment. */
  timeEnd: number;
  title: string;
  text: string;
  tags: string[];
  color: string;
}

/** drawMarks draws what `get` gives at each redraw, below the axes and above the series. */
export function drawMarks(config: UPlotConfigBuilder, get: () => readonly Mark[]): void {
  config.addHook('draw', (u) => {
    const { ctx } = u;
    const { left, top, width, height } = u.bbox;
    const ratio = window.devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height + 6 * ratio);
    ctx.clip();
    for (const m of get()) {
      const x0 = u.valToPos(m.time, 'x', true);
      const x1 = u.valToPos(m.timeEnd, 'x', true);
      if (x1 < left || x0 > left + width) {
        continue;
      }
      ctx.strokeStyle = m.color;
      ctx.fillStyle = m.color;
      ctx.lineWidth = ratio;
      if (x1 > x0) {
        ctx.globalAlpha = 0.12;
        ctx.fillRect(x0, top, x1 - x0, height);
        ctx.globalAlpha = 1;
      }
      ctx.setLineDash([5 * ratio, 5 * ratio]);
      for (const x of x1 > x0 ? [x0, x1] : [x0]) {
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, top + height);
        ctx.stroke();
      }
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(x0 - 4 * ratio, top + height + 5 * ratio);
      ctx.lineTo(x0 + 4 * ratio, top + height + 5 * ratio);
      ctx.lineTo(x0, top + height);
      ctx.fill();
    }
    ctx.restore();
  });
}

/** marksAt lists the marks within `slack` of a time, for a tooltip. */
export function marksAt(marks: readonly Mark[], time: number, slack: number): Mark[] {
  return marks.filter((m) => m.time - slack <= time && m.timeEnd + slack >= time).slice(0, 5);
}
