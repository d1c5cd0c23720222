import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { constantValue } from '../board/interpolate';
import type { Panel, Target } from '../board/model';
import { setCsrfToken } from './http';
import { planPanel, QueryRunner, runPlan, type PlanContext } from './queries';

const sources = [{ uid: 'ws', name: 'default', type: 'prometheus', isDefault: true, jsonData: { timeInterval: '15s' } }];
const ctx: PlanContext = { scope: new Map([['job', constantValue('node')]]), sources, rangeMs: { from: 1_000_007_000, to: 1_003_607_000 }, builtins: {}, width: 1000 };

function target(over: Partial<Target> = {}): Target {
  return { refId: 'A', expr: 'up', legendFormat: '', format: 'time_series', range: true, instant: false, interval: '', intervalFactor: 1, hide: false, datasource: null, ...over };
}

function panel(targets: Target[], over: Partial<Panel> = {}) {
  return { targets, datasource: null, interval: '', maxDataPoints: null, ...over };
}

interface Call {
  url: string;
  body: URLSearchParams;
  headers: Record<string, string>;
  answer: (result: object) => void;
  fail: (status: number, body: object) => void;
  aborted: () => boolean;
}

let calls: Call[];

beforeEach(() => {
  calls = [];
  setCsrfToken('token');
  vi.stubGlobal('fetch', (url: string, init: RequestInit) =>
    new Promise((resolve, reject) => {
      init.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
      calls.push({
        url, body: new URLSearchParams(String(init.body)), headers: init.headers as Record<string, string>, aborted: () => init.signal?.aborted ?? false,
        answer: (result) => resolve(new Response(JSON.stringify({ status: 'success', data: result }))),
        fail: (status, body) => resolve(new Response(JSON.stringify(body), { status })),
      });
    })
  );
});

afterEach(() => vi.unstubAllGlobals());

const matrix = (...names: string[]) => ({ resultType: 'matrix', result: names.map((instance) => ({ metric: { __name__: 'up', instance }, values: [[1000.5, '1'], [1015.5, '+Inf'], [1030.5, 'NaN']] })) });

describe('planPanel', () => {
  it('interpolates and aligns', () => {
    const [q] = planPanel(panel([target({ expr: 'rate(up{job="$job"}[$__rate_interval])' })]), ctx).queries;
    expect(q).toMatchObject({ expr: 'rate(up{job="node"}[1m])', sourceUid: 'ws', startMs: 1_000_005_000, endMs: 1_003_605_000, stepMs: 15_000 });
  });

  it('leaves out hidden and empty targets and asks twice for "both"', () => {
    const plan = planPanel(panel([target({ hide: true }), target({ expr: ' ' }), target({ instant: true })]), ctx);
    expect(plan.queries.map((q) => q.kind)).toEqual(['range', 'instant']);
  });

  it('says why it cannot ask', () => {
    expect(planPanel(panel([target({ datasource: { type: 'loki', uid: 'l' } })], { datasource: { uid: '-- Mixed --' } }), ctx)).toMatchObject({ queries: [], problem: expect.stringContaining('loki') });
    expect(planPanel(panel([target()]), { ...ctx, sources: [] }).problem).toContain('no data source');
  });

  it('takes the source of the target in a mixed panel, and of the panel when the target names none', () => {
    const two = [...sources, { uid: 'b', name: 'b', type: 'prometheus', isDefault: false }];
    const mixed = panel([target({ datasource: { uid: 'b' } }), target({ refId: 'B' })], { datasource: { uid: '-- Mixed --' } });
    expect(planPanel(mixed, { ...ctx, sources: two }).queries.map((q) => q.sourceUid)).toEqual(['b', 'ws']);
  });
});

describe('QueryRunner', () => {
  it('sends identical queries once, with the anti-forgery header and as a form', async () => {
    const runner = new QueryRunner();
    const plan = planPanel(panel([target(), target({ refId: 'B', legendFormat: '{{instance}}' })]), ctx);
    const run = runPlan(plan, runner, new AbortController().signal);
    expect(calls).toHaveLength(1);
    expect(calls[0]?.headers['X-CSRF-Token']).toBe('token');
    expect(Object.fromEntries(calls[0]?.body ?? [])).toEqual({ query: 'up', start: '1000005', end: '1003605', step: '15' });
    calls[0]?.answer(matrix('a'));
    const { frames } = await run;
    expect(frames.map((f) => [f.refId, f.name])).toEqual([['A', 'up{instance="a"}'], ['B', 'a']]);
    expect(frames[0]?.fields[0]).toMatchObject({ values: [1_000_500, 1_015_500, 1_030_500], config: { interval: 15_000 } });
    expect(frames[0]?.fields[1]?.values).toEqual([1, Infinity, NaN]);
  });

  it('cancels a query only when nobody waits for it any more', async () => {
    const runner = new QueryRunner();
    const plan = planPanel(panel([target()]), ctx);
    const [first, second] = [new AbortController(), new AbortController()];
    const a = runPlan(plan, runner, first.signal);
    const b = runPlan(plan, runner, second.signal);
    first.abort();
    await expect(a).rejects.toThrow();
    expect(calls[0]?.aborted()).toBe(false);
    second.abort();
    await expect(b).rejects.toThrow();
    expect(calls[0]?.aborted()).toBe(true);
  });

  it('asks again after a failure and in the next refresh, not within one', async () => {
    const runner = new QueryRunner();
    const plan = planPanel(panel([target()]), ctx);
    const signal = new AbortController().signal;
    const go = async (reply: (c: Call) => void) => {
      const before = calls.length;
      const run = runPlan(plan, runner, signal);
      if (calls.length > before) {
        reply(calls[before] as Call);
      }
      return run;
    };
    runner.begin('1');
    const failed = await go((c) => c.fail(422, { status: 'error', errorType: 'execution', error: 'too many samples' }));
    expect(failed.errors).toEqual([{ refId: 'A', message: 'too many samples', expr: 'up' }]);
    await go((c) => c.answer(matrix('a')));
    await go((c) => c.answer(matrix('never')));
    expect(runner.sent).toBe(2);
    runner.begin('2');
    const again = await go((c) => c.answer(matrix('b')));
    expect(runner.sent).toBe(3);
    expect(again.frames[0]?.fields[1]?.labels?.instance).toBe('b');
  });

  it('keeps good answers beside a failed one', async () => {
    const plan = planPanel(panel([target(), target({ refId: 'B', expr: 'sum(' })]), ctx);
    const run = runPlan(plan, new QueryRunner(), new AbortController().signal);
    calls[0]?.answer(matrix('a', 'b'));
    calls[1]?.fail(400, { status: 'error', error: 'parse error' });
    const result = await run;
    expect([result.frames.length, result.errors.map((e) => e.refId)]).toEqual([2, ['B']]);
  });

  it('makes tables with a value column per query', async () => {
    const table = { format: 'table' as const, instant: true, range: false };
    const plan = planPanel(panel([target(table), target({ ...table, refId: 'B', expr: 'down' })]), ctx);
    const run = runPlan(plan, new QueryRunner(), new AbortController().signal);
    calls.forEach((c) => c.answer({ resultType: 'vector', result: [{ metric: { b: '1', a: '2' }, value: [5, '7'] }, { metric: { a: '3' }, value: [5, '8'] }] }));
    const { frames } = await run;
    expect(frames.map((f) => f.fields.map((x) => x.name))).toEqual([['Time', 'a', 'b', 'Value #A'], ['Time', 'a', 'b', 'Value #B']]);
    expect(frames[0]?.fields.map((f) => f.values)).toEqual([[5000, 5000], ['2', '3'], ['1', ''], [7, 8]]);
  });
});
