/** Runs a panel's queries while it is on screen, keeps the last answer while the next one comes, and says why nothing came. */
import type { DataFrame, TimeRange } from '@grafana/data';
import { useEffect, useMemo, useRef, useState } from 'react';
import type { Scope } from '../board/interpolate';
import type { Panel } from '../board/model';
import { panelRange } from '../board/timerange';
import type { Reason } from '../data/diagnose';
import { planPanel, runPlan, type PanelResult, type Plan } from '../data/queries';
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
export function usePanelData(panel: Panel, scope: Scope, width: number, visible: boolean): UsePanelData {
  const ctx = useBoardContext();
  const latched = useLatchedWidth(width);
  const [attempt, setAttempt] = useState(0);
  const { range, info } = useMemo(
    () => panelRange(ctx.range, panel.timeFrom, panel.timeShift, ctx.timeZone),
    [ctx.range, ctx.timeZone, panel.timeFrom, panel.timeShift]
  );
  const plan = useMemo(
    () =>
      planPanel(panel, {
        scope, sources: ctx.sources, builtins: ctx.builtins, width: latched, rangeMs: { from: range.from.valueOf(), to: range.to.valueOf() },
      }),
    [panel, scope, ctx.sources, ctx.builtins, latched, range]
  );
  const key = plan.problem + plan.queries.map((q) => `${q.key}${q.target.legendFormat}`).join('\n');
  const [data, setData] = useState<PanelData>(() => ({
    state: 'idle', frames: [], range, errors: [], notices: [], reason: null, plan, unknownTransformations: [],
  }));
  const asked = useRef('');
  const active = visible && latched > 0;
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
        setData({ state: 'done', frames, range, errors: result.errors, notices: result.notices, reason: null, plan, unknownTransformations: unknown });
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
