/** Runs the queries of Explore: the graph's and the table's at once; the former answer stays until the next one is there. */
import type { DataFrame, TimeRange } from '@grafana/data';
import { useRef } from 'react';
import type { DataSource } from '../board/datasource';
import type { Target } from '../board/model';
import type { Reason } from '../data/diagnose';
import { planPanel, QueryRunner, runPlan, type PanelResult, type Plan } from '../data/queries';
import { hasValues } from '../panels/prepare';
import { useLoad } from '../ui/hooks';
import type { ExploreQuery, Kind } from './explore_state';

/** QueryOutcome is what became of one query. */
export interface QueryOutcome {
  series: number;
  ms: number;
  error: string;
  /** The query as it was sent, with `$__interval` and its relatives filled in. */
  sent: string;
}

export interface ExploreResult {
  graph: DataFrame[];
  tables: DataFrame[];
  outcomes: ReadonlyMap<string, QueryOutcome>;
  ms: number;
  stepMs: number;
  problem: string;
  notices: string[];
  reason: Reason | null;
  range: TimeRange;
}

interface Input {
  queries: readonly ExploreQuery[];
  kind: Kind;
  source: DataSource | undefined;
  sources: DataSource[];
  range: TimeRange;
  /** Counts what asks again without changing anything. */
  tick: number;
  width: number;
}

export function useExplore({ queries, kind, source, sources, range, tick, width }: Input): { result: ExploreResult | null; running: boolean } {
  // Steps follow the width of the first look: resizing a window must not ask again.
  const measured = useRef(0);
  if (width > 0 && measured.current === 0) {
    measured.current = width;
  }
  const ready = width > 0;
  const key = JSON.stringify([queries, kind, source?.uid, range.from.valueOf(), range.to.valueOf(), tick, ready]);
  const { value, loading } = useLoad(key, async (signal) => {
    const wanted = queries.filter((q) => !q.hidden && q.expr.trim() !== '');
    return wanted.length === 0 || !source || !ready ? null : explore({ queries: wanted, kind, source, sources, range, width: measured.current }, signal);
  });
  return { result: value, running: loading };
}

function target(q: ExploreQuery, instant: boolean): Target {
  return {
    refId: q.refId, expr: q.expr, legendFormat: q.legend, format: instant ? 'table' : 'time_series', range: !instant, instant, interval: '', intervalFactor: 1, hide: false, datasource: null,
  };
}

async function explore(input: Omit<Input, 'tick'> & { source: DataSource }, signal: AbortSignal): Promise<ExploreResult> {
  const { queries, kind, source, sources, range, width } = input;
  const started = performance.now();
  const rangeMs = { from: range.from.valueOf(), to: range.to.valueOf() };
  const planOf = (instant: boolean) =>
    planPanel({ targets: queries.map((q) => target(q, instant)), datasource: { uid: source.uid }, interval: '', maxDataPoints: null }, { scope: new Map(), sources, rangeMs, builtins: {}, width });
  const runner = new QueryRunner();
  const plans = [...(kind === 'instant' ? [] : [planOf(false)]), ...(kind === 'range' ? [] : [planOf(true)])];
  const answers = await Promise.all(plans.map((plan) => runPlan(plan, runner, signal)));
  const of = (instant: boolean) => answers.flatMap((a, i) => (plans[i]?.queries.some((q) => (q.kind === 'instant') === instant) ? a.frames : []));
  const result: ExploreResult = {
    graph: of(false), tables: of(true), outcomes: outcomesOf(queries, plans, answers), ms: performance.now() - started, stepMs: kind === 'instant' ? 0 : (plans[0]?.intervalMs ?? 0),
    problem: plans[0]?.problem ?? '', notices: [...new Set(answers.flatMap((a) => a.notices))], reason: null, range,
  };
  const failed = [...result.outcomes.values()].some((o) => o.error !== '');
  if (!hasValues(answers.flatMap((a) => a.frames)) && !failed && result.problem === '') {
    const [{ diagnose }, { PrometheusApi }] = await Promise.all([import('../data/diagnose'), import('../data/prometheus')]);
    result.reason = await diagnose(plans[0]?.queries[0]?.expr ?? '', new PrometheusApi(source.uid), rangeMs, signal).catch(() => null);
  }
  return result;
}

function outcomesOf(queries: readonly ExploreQuery[], plans: readonly Plan[], answers: readonly PanelResult[]): Map<string, QueryOutcome> {
  return new Map(
    queries.map(({ refId, expr }) => {
      const timings = answers.flatMap((a) => a.timings.filter((x) => x.refId === refId));
      return [
        refId,
        {
          series: Math.max(0, ...timings.map((x) => x.series)),
          ms: Math.max(0, ...timings.map((x) => x.ms)),
          error: answers.flatMap((a) => a.errors.filter((e) => e.refId === refId))[0]?.message ?? '',
          sent: plans.flatMap((p) => p.queries.filter((q) => q.target.refId === refId))[0]?.expr ?? expr,
        },
      ];
    })
  );
}
