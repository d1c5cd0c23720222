import { expect, it } from 'vitest';
import { selectorText, suggestion } from './selector_text';

it('writes selectors', () => {
  expect(selectorText('up', new Map())).toBe('up');
  expect(selectorText('up', new Map([['job', ['a"b']], ['pod', ['x.1', 'y']], ['none', []]]))).toBe('up{job="a\\"b",pod=~"x\\\\.1|y"}');
  expect(selectorText('http.requests', new Map([['k8s.pod', ['a']]]))).toBe('{"http.requests","k8s.pod"="a"}');
});

it('suggests rates of counters and quantiles of histograms', () => {
  expect(suggestion('x_total', 'x_total', 'counter')).toBe('rate(x_total[$__rate_interval])');
  expect(suggestion('x_bucket{a="b"}', 'x_bucket', 'histogram')).toBe('histogram_quantile(0.95, sum by (le) (rate(x_bucket{a="b"}[$__rate_interval])))');
  expect(suggestion('up', 'up', 'gauge')).toBe('up');
});
