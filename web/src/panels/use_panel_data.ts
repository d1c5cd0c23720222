/** Runs a panel's queries while it is on screen, keeps the last answer while the next one comes, and says why nothing came. */
import { FieldType, type DataFrame, type TimeRange } from '@grafana/data';
import { useEffect, useMemo, useRef, useState } from 'react';
import type { Scope } from '../board/interpolate';
import type { Panel } from '../board/model';
import { panelRange } from '../board/timerange';
import type { Reason } from '../data/diagnose';
import { filtersOf, planPanel, runPlan, type PanelResult, type Plan, type PlanContext } from '../data/queries';
import { useBoardData } from './board_data';
import { useBoardContext } from './context';
import { hasValues, transform } from './prepare';
import { replacer } from './macros';

export interface PanelData {
  /** idle: not asked yet; done with no frames: see empty. */
  state: 'idle' | 'loading' | 'done';
  frames: DataFrame[];
  range: TimeRange;
  errors: PanelResult['errors'];
  notices: string[];
  timings: PanelResult['timings'];
  /** Epoch milliseconds of the newest sample, when it is older than the range's end by more than missing one or two scrapes explains. */
  staleSince: number | null;
  /** Set when the answer is empty and the reason was found. */
  reason: Reason | null;
  plan: Plan;
  unknownTransformations: string[];
}

export interface UsePanelData {
  data: PanelData;
  timeInfo: string;
  retry: () => void;
}

/** usePanelData plans, sends and cancels. Nothing is sent before the panel has a size and is visible. */
export function usePanelData(own: Panel, scope: Scope, width: number, visible: boolean): UsePanelData {
  const ctx = useBoardContext();
  const { panelById } = useBoardData();
  const panel = useMemo(() => sharedPanel(own, panelById), [own, panelById]);
  const inject = useInject(scope);
  const latched = useLatchedWidth(width);
  const [attempt, setAttempt] = useState(0);
  const { range, info } = useMemo(
    () => panelRange(ctx.range, panel.timeFrom, panel.timeShift, ctx.timeZone),
    [ctx.range, ctx.timeZone, panel.timeFrom, panel.timeShift]
  );
  const plan = useMemo(
    () =>
      planPanel(panel, {
        scope, sources: ctx.sources, builtins: ctx.builtins, width: latched, inject, rangeMs: { from: range.from.valueOf(), to: range.to.valueOf() },
      }),
    [panel, scope, ctx.sources, ctx.builtins, latched, range, inject]
  );
  const key = plan.problem + plan.queries.map((q) => `${q.key}${q.target.legendFormat}`).join('\n');
  const [data, setData] = useState<PanelData>(() => ({
    state: 'idle', frames: [], range, errors: [], notices: [], reason: null, plan, unknownTransformations: [], timings: [], staleSince: null,
  }));
  const asked = useRef('');
  // With filters chosen, nothing is asked before they can be put into the queries.
  const active = visible && latched > 0 && (inject !== undefined || filtersOf(scope, ctx.sources).length === 0);
  useEffect(() => {
    const id = `${ctx.tick}/${attempt}/${key}`;
    if (!active || asked.current === id) {
      return;
    }
    asked.current = id;
    const controller = new AbortController();
    ctx.runner.begin(`${ctx.tick} ${ctx.range.from.valueOf()} ${ctx.range.to.valueOf()}`);
    setData((d) => ({ ...d, state: 'loading' }));
    const replace = replacer(scope, { format: 'text', builtins: ctx.builtins });
    runPlan(plan, ctx.runner, controller.signal)
      .then(async (result) => {
        const { frames, unknown } = await transform(panel, result.frames, replace);
        controller.signal.throwIfAborted();
        setData({ state: 'done', frames, range, errors: result.errors, notices: result.notices, timings: result.timings, reason: null, plan, unknownTransformations: unknown, staleSince: staleSince(result.frames, range, plan.intervalMs) });
        if (!hasValues(result.frames) && result.errors.length === 0) {
          const reason = await why(plan, range, controller.signal);
          setData((d) => (d.plan === plan ? { ...d, reason } : d));
        }
      })
      .catch((err: unknown) => {
        if (!controller.signal.aborted) {
          const message = err instanceof Error ? err.message : String(err);
          setData((d) => ({ ...d, state: 'done', frames: [], errors: [{ refId: '', message, expr: '' }], plan }));
        }
      });
    return () => {
      controller.abort();
      asked.current = '';
    };
    // The key stands for the plan; a plan that asks the same again must not cancel and resend.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [active, ctx.tick, attempt, key, ctx.runner]);
  return { data, timeInfo: panel.hideTimeOverride ? '' : info, retry: () => setAttempt((n) => n + 1) };
}

/** sharedPanel gives a panel of the source `-- Dashboard --` the queries of the panel it shows again; the runner asks them once. */
export function sharedPanel(panel: Panel, panelById: (id: number) => Panel | undefined): Panel {
  if (panel.datasource?.uid !== '-- Dashboard --') {
    return panel;
  }
  const target = panel.targets.find((t) => t.panelId !== undefined);
  const source = target?.panelId ? panelById(target.panelId) : undefined;
  if (!target || !source || source.datasource?.uid === '-- Dashboard --') {
    return panel;
  }
  const transformations = target.withTransforms ? [...source.transformations, ...panel.transformations] : panel.transformations;
  return { ...panel, datasource: source.datasource, targets: source.targets, interval: source.interval, maxDataPoints: source.maxDataPoints, timeFrom: source.timeFrom, timeShift: source.timeShift, transformations };
}

/** staleSince finds the newest sample of a range that ends now; null while it is as new as it can be. */
export function staleSince(frames: readonly DataFrame[], range: TimeRange, stepMs: number): number | null {
  if (typeof range.raw.to !== 'string' || !range.raw.to.startsWith('now') || range.raw.to.includes('/')) {
    return null;
  }
  let newest = -Infinity;
  for (const f of frames) {
    const time = f.fields.find((x) => x.type === FieldType.time);
    // An instant answer carries the time it was asked for, whatever the age of its samples.
    if (time && typeof time.config.interval === 'number' && f.length > 0) {
      newest = Math.max(newest, Number(time.values[f.length - 1]));
    }
  }
  return Number.isFinite(newest) && range.to.valueOf() - newest > Math.max(STALE_MS, 3 * stepMs) ? newest : null;
}

const STALE_MS = 60_000;

/** useInject loads the grammar that ad hoc filters need, when there are any. */
function useInject(scope: Scope): PlanContext['inject'] {
  const ctx = useBoardContext();
  const [inject, setInject] = useState<{ run: NonNullable<PlanContext['inject']> } | null>(null);
  const needed = useMemo(() => filtersOf(scope, ctx.sources).length > 0, [scope, ctx.sources]);
  useEffect(() => {
    if (needed) {
      void import('../data/adhoc').then((m) => setInject({ run: m.injectFilters }));
    }
  }, [needed]);
  return inject?.run;
}

async function why(plan: Plan, range: TimeRange, signal: AbortSignal): Promise<Reason | null> {
  const first = plan.queries[0];
  if (!first) {
    return null;
  }
  const [{ diagnose }, { PrometheusApi }] = await Promise.all([import('../data/diagnose'), import('../data/prometheus')]);
  try {
    return await diagnose(first.expr, new PrometheusApi(first.sourceUid), { from: range.from.valueOf(), to: range.to.valueOf() }, signal);
  } catch {
    // The explanation is a courtesy: when it cannot be had, the panel says plainly that there is no data.
    return null;
  }
}

/** useLatchedWidth follows a width only when it changes by a sixth, so that dragging a window edge does not send queries all the way. */
function useLatchedWidth(width: number): number {
  const [latched, setLatched] = useState(0);
  useEffect(() => {
    if (width > 0 && (latched === 0 || Math.abs(width - latched) > latched / 6)) {
      setLatched(width);
    }
  }, [width, latched]);
  return latched;
}
