import { describe, expect, it } from 'vitest';
import { episodesOf, matcherText, parseMatcher } from './alerts_api';

describe('episodesOf', () => {
  const series = [{ metric: { __name__: 'ALERTS', alertname: 'Down', alertstate: 'firing', job: 'a' }, values: [[60, '1'], [120, '1'], [600, '1'], [660, '1']] as [number, string][] }];
  it('joins neighbouring points and knows what goes on', () => {
    expect(episodesOf(series, 60_000, 700_000)).toEqual([
      { labels: { alertname: 'Down', job: 'a' }, state: 'firing', from: 600_000, to: 660_000, open: true },
      { labels: { alertname: 'Down', job: 'a' }, state: 'firing', from: 60_000, to: 120_000, open: false },
    ]);
    expect(episodesOf(series, 60_000, 900_000)[0]?.open).toBe(false);
  });
});

describe('parseMatcher', () => {
  it.each([
    ['job="a b"', { name: 'job', value: 'a b', isRegex: false, isEqual: true }],
    ['job=a', { name: 'job', value: 'a', isRegex: false, isEqual: true }],
    ['job!~"a|b"', { name: 'job', value: 'a|b', isRegex: true, isEqual: false }],
    ['job != ""', { name: 'job', value: '', isRegex: false, isEqual: false }],
    ['1job="a"', null],
    ['job', null],
    ['job="a', null],
  ])('%s', (text, want) => expect(parseMatcher(text)).toEqual(want));
  it('is written back', () => expect(matcherText({ name: 'a', value: 'b', isRegex: true, isEqual: false })).toBe('a!~"b"'));
});
