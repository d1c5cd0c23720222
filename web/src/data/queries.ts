/**
 * Runs the queries of panels. Identical queries that are under way, or were answered for the same refresh, are sent once; a query is
 * cancelled when nobody waits for it any more.
 */
import type { DataFrame } from '@grafana/data';
import { resolveDataSource, type DataSource } from '../board/datasource';
import { interpolate, type Scope } from '../board/interpolate';
import { alignRange, computeSteps, intervalMacros } from '../board/intervals';
import type { AdHocFilter, DataSourceRef, Panel, Target } from '../board/model';
import { ApiError } from './http';
import { countSeries, toFrames } from './frames';
import { PrometheusApi, type QueryAnswer } from './prometheus';

/** PlannedQuery is one request, ready to send; equal plans have equal keys. */
export interface PlannedQuery {
  key: string;
  target: Target;
  sourceUid: string;
  expr: string;
  kind: 'range' | 'instant';
  startMs: number;
  endMs: number;
  stepMs: number;
}

/** Plan is everything a panel asks for, or the sentence why it cannot ask. */
export interface Plan {
  queries: PlannedQuery[];
  problem: string;
  intervalMs: number;
}

export interface PlanContext {
  scope: Scope;
  sources: readonly DataSource[];
  rangeMs: { from: number; to: number };
  builtins: Readonly<Record<string, string>>;
  width: number;
  /** Puts ad hoc filters into a query; needed only when filtersOf finds any. */
  inject?: (expr: string, filters: readonly AdHocFilter[]) => string;
}

/** filtersOf lists the ad hoc filters that a scope holds for one data source, or for any. */
export function filtersOf(scope: Scope, sources: readonly DataSource[], uid?: string): AdHocFilter[] {
  return [...scope.values()].flatMap((v) => {
    if (!v.filters || v.filters.list.length === 0) {
      return [];
    }
    const of = resolveDataSource(v.filters.source, sources, (s) => interpolate(s, scope, { format: 'raw' }));
    return uid === undefined || (of.kind === 'found' && of.source.uid === uid) ? v.filters.list : [];
  });
}

/** planPanel works out the requests of a panel: data source, step, interpolated query. */
export function planPanel(panel: Pick<Panel, 'targets' | 'datasource' | 'interval' | 'maxDataPoints'>, ctx: PlanContext): Plan {
  const plan: Plan = { queries: [], problem: '', intervalMs: 0 };
  for (const target of panel.targets) {
    if (target.hide || target.expr.trim() === '') {
      continue;
    }
    const source = targetSource(panel.datasource, target, ctx);
    if (typeof source === 'string') {
      plan.problem ||= source;
      continue;
    }
    const queries = planTarget(panel, target, source, ctx);
    plan.queries.push(...queries);
    plan.intervalMs = Math.max(plan.intervalMs, queries[0]?.stepMs ?? 0);
  }
  return plan;
}

function targetSource(panelRef: DataSourceRef | null, target: Target, ctx: PlanContext): DataSource | string {
  const replace = (s: string) => interpolate(s, ctx.scope, { format: 'raw' });
  let found = resolveDataSource(panelRef, ctx.sources, replace);
  // A mixed panel leaves the choice to its targets; a target's own source wins only when it names a real one.
  if (target.datasource && (found.kind === 'mixed' || target.datasource.uid !== undefined)) {
    const own = resolveDataSource(target.datasource, ctx.sources, replace);
    found = own.kind === 'mixed' ? found : own;
  }
  if (found.kind === 'mixed') {
    found = resolveDataSource(null, ctx.sources, replace);
  }
  switch (found.kind) {
    case 'found':
      return found.source;
    case 'unsupported':
      return `The data source "${found.type}" of query ${target.refId} is not supported here.`;
    default:
      return 'There is no data source to ask.';
  }
}

function planTarget(panel: Pick<Panel, 'interval' | 'maxDataPoints'>, target: Target, source: DataSource, ctx: PlanContext): PlannedQuery[] {
  const { from, to } = ctx.rangeMs;
  const raw = (s: string) => interpolate(s, ctx.scope, { format: 'raw' });
  const steps = computeSteps({
    rangeMs: to - from,
    maxDataPoints: panel.maxDataPoints ?? Math.max(100, Math.floor(ctx.width)),
    panelMin: raw(panel.interval),
    targetMin: raw(target.interval),
    intervalFactor: target.intervalFactor,
    scrapeInterval: source.jsonData?.timeInterval || '15s',
  });
  const builtins = { ...ctx.builtins, ...intervalMacros(steps, to - from) };
  const plain = interpolate(target.expr, ctx.scope, { format: 'promql', builtins, range: ctx.rangeMs });
  const filters = filtersOf(ctx.scope, ctx.sources, source.uid);
  const expr = filters.length > 0 && ctx.inject ? ctx.inject(plain, filters) : plain;
  const legendFormat = interpolate(target.legendFormat, ctx.scope, { format: 'text', builtins });
  const shared = { target: { ...target, legendFormat }, sourceUid: source.uid, expr };
  const queries: PlannedQuery[] = [];
  if (target.range) {
    const { start, end } = alignRange(from, to, steps.stepMs);
    queries.push({ ...shared, key: JSON.stringify(['r', source.uid, expr, start, end, steps.stepMs]), kind: 'range', startMs: start, endMs: end, stepMs: steps.stepMs });
  }
  if (target.instant) {
    queries.push({ ...shared, key: JSON.stringify(['i', source.uid, expr, to]), kind: 'instant', startMs: to, endMs: to, stepMs: steps.stepMs });
  }
  return queries;
}

interface Shared {
  answer: Promise<QueryAnswer>;
  controller: AbortController;
  waiting: number;
  settled: boolean;
}

/** QueryRunner shares answers among the panels of a page, for as long as the refresh they were asked for lasts. */
export class QueryRunner {
  private shared = new Map<string, Shared>();
  private refresh = '';
  /** How many requests were really sent; tests and the inspector read it. */
  sent = 0;

  /** begin names the refresh whose queries follow. With a new name, what was answered before is asked again. */
  begin(refresh: string): void {
    if (refresh === this.refresh) {
      return;
    }
    this.refresh = refresh;
    for (const [key, s] of this.shared) {
      if (s.settled) {
        this.shared.delete(key);
      }
    }
  }

  async run(q: PlannedQuery, signal: AbortSignal): Promise<QueryAnswer> {
    signal.throwIfAborted();
    const s = this.shared.get(q.key) ?? this.send(q);
    s.waiting++;
    return new Promise<QueryAnswer>((resolve, reject) => {
      const onAbort = () => {
        s.waiting--;
        if (s.waiting === 0 && !s.settled) {
          s.controller.abort();
          this.shared.delete(q.key);
        }
        reject(signal.reason instanceof Error ? signal.reason : new DOMException('cancelled', 'AbortError'));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      s.answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }

  private send(q: PlannedQuery): Shared {
    const controller = new AbortController();
    const api = new PrometheusApi(q.sourceUid);
    this.sent++;
    const ask = () => (q.kind === 'range' ? api.range(q.expr, q.startMs, q.endMs, q.stepMs, controller.signal) : api.instant(q.expr, q.endMs, controller.signal));
    const answer = withRetries(ask, controller.signal);
    const s: Shared = { answer, controller, waiting: 0, settled: false };
    answer.then(
      () => (s.settled = true),
      () => {
        s.settled = true;
        // A failed query is asked again at once when somebody retries.
        if (this.shared.get(q.key) === s) {
          this.shared.delete(q.key);
        }
      }
    );
    this.shared.set(q.key, s);
    return s;
  }
}

/** How long to wait before asking again when the server could not be reached or was too busy to answer. */
const RETRY_MS = [400, 1600];

/** withRetries asks again after what passes by itself; what the query is to blame for fails at once. */
async function withRetries<V>(ask: () => Promise<V>, signal: AbortSignal): Promise<V> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (err) {
      const wait = RETRY_MS[attempt];
      if (!(err instanceof ApiError) || ![0, 429, 502, 503, 504].includes(err.status) || wait === undefined) {
        throw err;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
      signal.throwIfAborted();
    }
  }
}

/** Timing is what one query of a panel cost and gave. */
export interface Timing {
  refId: string;
  kind: 'range' | 'instant';
  /** From asking to the answer; nothing when another panel had asked the same. */
  ms: number;
  series: number;
  points: number;
}

/** PanelResult is what one run of a panel's queries gave. */
export interface PanelResult {
  frames: DataFrame[];
  errors: { refId: string; message: string; expr: string }[];
  notices: string[];
  timings: Timing[];
}

/** runPlan sends all requests of a plan; one failing query does not take the others with it. */
export async function runPlan(plan: Plan, runner: QueryRunner, signal: AbortSignal): Promise<PanelResult> {
  const tables = new Set(plan.queries.filter((q) => q.target.format === 'table').map((q) => q.target.refId));
  const started = performance.now();
  const took: number[] = [];
  const settled = await Promise.allSettled(plan.queries.map((q, i) => runner.run(q, signal).finally(() => (took[i] = performance.now() - started))));
  signal.throwIfAborted();
  const result: PanelResult = { frames: [], errors: [], notices: [], timings: [] };
  settled.forEach((s, i) => {
    const q = plan.queries[i];
    if (!q) {
      return;
    }
    if (s.status === 'rejected') {
      const message = s.reason instanceof Error ? s.reason.message : String(s.reason);
      result.errors.push({ refId: q.target.refId, message, expr: q.expr });
      return;
    }
    result.notices.push(...s.value.warnings);
    const frames = toFrames(s.value.data, { target: q.target, expr: q.expr, stepMs: q.kind === 'range' ? q.stepMs : 0, manyTables: tables.size > 1 });
    result.frames.push(...frames);
    result.timings.push({ refId: q.target.refId, kind: q.kind, ms: took[i] ?? 0, series: countSeries(s.value.data), points: frames.reduce((n, f) => n + f.length, 0) });
  });
  return result;
}
