/** Annotations from queries: moments and stretches where a query has a value, as Grafana's Prometheus data source makes them. */
import type { Annotation } from '../board/model';
import type { DataSource } from '../board/datasource';
import { resolveDataSource } from '../board/datasource';
import { interpolate, type Scope } from '../board/interpolate';
import { parseDuration } from '../board/intervals';
import type { Labels, MatrixSeries } from './prometheus';
import { PrometheusApi, type Range } from './prometheus';

export interface Event {
  time: number;
  timeEnd: number;
  title: string;
  text: string;
  tags: string[];
  color: string;
}

/** eventsOf joins neighbouring points of a series into one stretch; a zero is no event. */
export function eventsOf(series: readonly MatrixSeries[], a: Annotation, stepMs: number): Event[] {
  const out: Event[] = [];
  for (const s of series) {
    const words = { title: fill(a.titleFormat, s.metric), text: fill(a.textFormat, s.metric), tags: a.tagKeys.map((k) => s.metric[k] ?? '').filter((t) => t !== ''), color: a.color };
    let open = null as Event | null;
    for (const [seconds, raw] of s.values ?? []) {
      const value = Number(raw);
      if (!(value > 0 || value < 0)) {
        open = null;
        continue;
      }
      const time = a.useValueForTime ? Math.floor(value) : seconds * 1000;
      if (open && !a.useValueForTime && time - open.timeEnd <= stepMs) {
        open.timeEnd = time;
        continue;
      }
      if (a.useValueForTime && open?.time === time) {
        continue;
      }
      open = { time, timeEnd: time, ...words };
      out.push(open);
    }
  }
  return out;
}

function fill(format: string, labels: Labels): string {
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name: string) => labels[name] ?? '');
}

export interface AnnotationContext {
  scope: Scope;
  sources: readonly DataSource[];
  range: Range;
  signal: AbortSignal;
}

/** fetchEvents asks one annotation's data source. Grafana's own annotations are not asked here. */
export async function fetchEvents(a: Annotation, ctx: AnnotationContext): Promise<Event[]> {
  const found = resolveDataSource(a.datasource, ctx.sources, (s) => interpolate(s, ctx.scope, { format: 'raw' }));
  if (a.expr === '' || found.kind !== 'found') {
    return [];
  }
  const span = ctx.range.to - ctx.range.from;
  const step = Math.max(parseDuration(interpolate(a.step, ctx.scope, { format: 'raw' })) ?? 60_000, span / 11_000);
  const expr = interpolate(a.expr, ctx.scope, { format: 'promql', builtins: { __interval: `${Math.round(step / 1000)}s`, __range: `${Math.round(span / 1000)}s` }, range: ctx.range });
  const answer = await new PrometheusApi(found.source.uid).range(expr, Math.floor(ctx.range.from / step) * step, Math.ceil(ctx.range.to / step) * step, step, ctx.signal);
  return answer.data.resultType === 'matrix' ? eventsOf(answer.data.result, a, step) : [];
}
