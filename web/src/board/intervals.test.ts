import { rangeUtil } from '@grafana/data';
import { describe, expect, it } from 'vitest';
import { alignRange, computeSteps, formatDuration, formatInterval, intervalMacros, parseDuration, roundInterval, type StepInput } from './intervals';

const HOUR = 3_600_000;

const input = (over: Partial<StepInput> = {}): StepInput => ({
  rangeMs: HOUR, maxDataPoints: 1000, panelMin: '', targetMin: '', intervalFactor: 1, scrapeInterval: '15s', ...over,
});

describe('computeSteps', () => {
  it.each<[string, Partial<StepInput>, number, string]>([
    ['an hour is limited by the scrape interval', {}, 15_000, '1m'],
    ['six hours in 600 points', { rangeMs: 6 * HOUR, maxDataPoints: 600 }, 30_000, '1m'],
    ['a week', { rangeMs: 7 * 24 * HOUR }, 600_000, '10m15s'],
    ['a panel minimum', { panelMin: '1m' }, 60_000, '1m15s'],
    ['a target minimum counts as scrape interval', { targetMin: '1m' }, 60_000, '4m'],
    ['a target minimum of $__rate_interval is the step', { targetMin: '$__rate_interval' }, 60_000, '1m'],
    ['a target minimum of $__interval', { targetMin: '$__interval' }, 15_000, '1m'],
    ['a resolution of one half', { intervalFactor: 2 }, 30_000, '1m'],
    ['a slow scrape', { scrapeInterval: '60s' }, 60_000, '4m'],
    ['never more than 11,000 points', { rangeMs: 48 * HOUR, maxDataPoints: 100_000, scrapeInterval: '1s' }, 15_000, '4s'],
    ['a broken minimum is ignored', { targetMin: 'soon' }, 15_000, '1m'],
  ])('%s', (_, over, step, rate) => {
    const steps = computeSteps(input(over));
    expect(steps.stepMs).toBe(step);
    expect(formatDuration(steps.rateIntervalMs)).toBe(rate);
  });
});

it('rounds exactly as @grafana/data does', () => {
  for (let ms = 1; ms < 4e10; ms = Math.ceil(ms * 1.07)) {
    expect([ms, roundInterval(ms)]).toEqual([ms, rangeUtil.roundInterval(ms)]);
  }
});

it('reads and writes durations', () => {
  expect([parseDuration('15s'), parseDuration('>1m'), parseDuration('1h30m'), parseDuration('5'), parseDuration('100ms')]).toEqual([15_000, 60_000, 5_400_000, 5000, 100]);
  expect([parseDuration(''), parseDuration('x'), parseDuration('1 m'), parseDuration('$x')]).toEqual([null, null, null, null]);
  expect([formatInterval(90_000), formatInterval(7_200_000), formatInterval(500), formatInterval(0)]).toEqual(['1m', '2h', '500ms', '1ms']);
  expect([formatDuration(90_000), formatDuration(61_500), formatDuration(7_200_000)]).toEqual(['1m30s', '1m1s500ms', '2h']);
});

it('gives the built-in variables', () => {
  expect(intervalMacros(computeSteps(input()), HOUR)).toEqual({
    __interval: '15s', __interval_ms: '15000', __rate_interval: '1m', __rate_interval_ms: '60000', __range: '3600s', __range_s: '3600', __range_ms: '3600000',
  });
});

it('aligns a range to its step', () => {
  expect(alignRange(1007, 5009, 15)).toEqual({ start: 1005, end: 4995 + 0 });
  expect(alignRange(15_000, 30_000, 15_000)).toEqual({ start: 15_000, end: 30_000 });
});
