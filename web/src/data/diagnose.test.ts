import { describe, expect, it } from 'vitest';
import { series } from '../../test/fake/prometheus';
import { diagnose, selectorsOf } from './diagnose';
import { metricText, seriesName } from './frames';
import { escapeLabelName, type PrometheusApi } from './prometheus';
import { seriesText } from './variable_source';

describe('selectorsOf', () => {
  it('finds selectors in any expression', () => {
    expect(selectorsOf('sum(rate(a_total{x="1",y!~"2"}[5m])) / on(z) group_left b and {__name__="c"}')).toEqual([
      { metric: 'a_total', text: 'a_total{x="1",y!~"2"}', matchers: ['x="1"', 'y!~"2"'] },
      { metric: 'b', text: 'b', matchers: [] },
      { metric: '', text: '{__name__="c"}', matchers: ['__name__="c"'] },
    ]);
  });
});

describe('diagnose', () => {
  const api = { series: (match: string) => Promise.resolve(series(match)) } as unknown as PrometheusApi;
  const why = (expr: string) => diagnose(expr, api, { from: 0, to: 1 }, new AbortController().signal);
  it.each([
    ['rate(nothing_total[5m])', { kind: 'no-metric', metric: 'nothing_total' }],
    ['node_load1{node="nowhere",job="node-exporter"}', { kind: 'no-match', metric: 'node_load1', matcher: 'node="nowhere"' }],
    ['kube_pod_info{namespace="shop",container="coredns"}', { kind: 'no-combination', metric: 'kube_pod_info' }],
    ['node_load1{node=~"()"}', { kind: 'no-options', label: 'node' }],
    ['nothing{node=~"()"}', { kind: 'no-metric', metric: 'nothing' }],
    ['node_load1 > 1000', { kind: 'no-value' }],
    ['node_load1 / nothing_there', { kind: 'no-metric', metric: 'nothing_there' }],
  ])('%s', async (expr, want) => expect(await why(expr)).toEqual(want));
});

describe('names', () => {
  it.each([
    [{ __name__: 'up', a: '1' }, '', 'up', 'up{a="1"}'],
    [{ a: '1' }, '', 'sum(up)', '{a="1"}'],
    [{}, '', 'sum(up)', 'sum(up)'],
    [{ a: '1' }, '__auto', 'sum(up)', ''],
    [{}, '__auto', 'sum(up)', 'sum(up)'],
    [{ a: '1', '@resource.x': 'n' }, '{{a}} on {{ @resource.x }} {{missing}}', 'up', '1 on n '],
  ])('%j %s', (labels, legend, expr, want) => expect(seriesName(labels as unknown as Record<string, string>, legend, expr)).toBe(want));

  it('writes series the way published regexes expect', () => {
    expect(seriesText({ __name__: 'up', a: '1', b: '2' })).toBe('up{a="1",b="2"}');
    expect(metricText({ __name__: 'up' })).toBe('up');
  });

  it('escapes label names for paths', () => {
    expect([escapeLabelName('job'), escapeLabelName('@resource.k8s_x')]).toEqual(['job', 'U___40_resource_2e_k8s__x']);
  });
});
