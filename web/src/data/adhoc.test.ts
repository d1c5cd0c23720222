import { describe, expect, it } from 'vitest';
import { decodeFilter, encodeFilter } from '../board/adhoc';
import { migrateBoard } from '../board/migrate';
import type { Annotation } from '../board/model';
import { resolveVariables, scopeOf, urlValues } from '../board/variables';
import { injectFilters } from './adhoc';
import { eventsOf } from './annotations';
import { doubledMetrics, origins } from './provenance';
import type { PrometheusApi } from './prometheus';
import { filtersOf, planPanel } from './queries';

const eq = (key: string, value: string, operator = '=') => ({ key, operator, value });

describe('ad hoc filters', () => {
  it.each([
    ['up', 'up{a="b"}'],
    ['up{}', 'up{a="b"}'],
    ['up{x="y"}', 'up{x="y",a="b"}'],
    ['up{x="y",}', 'up{x="y",a="b"}'],
    ['up{a="b"}', 'up{a="b"}'],
    ['{__name__="up"}', '{__name__="up",a="b"}'],
    ['sum by (a) (rate(http_total{code=~"5.."}[5m] offset 1h)) / on (a) group_left sum(rate(http_total[5m]))', 'sum by (a) (rate(http_total{code=~"5..",a="b"}[5m] offset 1h)) / on (a) group_left sum(rate(http_total{a="b"}[5m]))'],
    ['max_over_time(x[1h:5m]) + 1 > bool 2', 'max_over_time(x{a="b"}[1h:5m]) + 1 > bool 2'],
    ['label_replace(up, "sum", "$1", "job", "(.*)")', 'label_replace(up{a="b"}, "sum", "$1", "job", "(.*)")'],
    ['sum(up', 'sum(up'],
    ['vector(1)', 'vector(1)'],
    ['rate{x="}"}', 'rate{x="}",a="b"}'],
    ['{"utf8.name", x="y"}', '{"utf8.name", x="y",a="b"}'],
  ])('%s', (query, want) => {
    expect(injectFilters(query, [eq('a', 'b')])).toBe(want);
  });
  it('writes each operator, escapes values and quotes names', () => {
    expect(injectFilters('up', [eq('a', 'x"\\', '!='), eq('b', 'x.*', '=~'), eq('c', 'p.q|r', '=|'), eq('d.e', '1'), eq('n', '5', '<')])).toBe('up{a!="x\\"\\\\",b=~"x.*",c=~"p\\\\.q|r","d.e"="1"}');
  });
  it('stands in the URL in Grafana\'s form and comes back', () => {
    for (const f of [eq('a', 'b'), eq('a', 'x|y,#z', '=|'), eq('pod', '', '!=')]) {
      expect(decodeFilter(encodeFilter(f))).toEqual(f);
    }
    expect(encodeFilter(eq('a', 'b|c'))).toBe('a|=|b__gfp__c');
    expect([decodeFilter(''), decodeFilter('a|≈|b')]).toEqual([null, null]);
  });
  it('reaches the queries of its data source only', async () => {
    const sources = [{ uid: 'ws', name: 'ws', type: 'prometheus', isDefault: true }, { uid: 'other', name: 'other', type: 'prometheus', isDefault: false }];
    const board = migrateBoard({ templating: { list: [{ name: 'Filters', type: 'adhoc', datasource: { uid: 'ws' }, filters: [eq('job', 'stored')] }] } });
    const ctx = { sources, keepUnknown: true, rangeMs: 1, builtins: {}, fetch: () => Promise.resolve([]), signal: new AbortController().signal };
    const stored = await resolveVariables(board.variables, { ...ctx, wanted: new Map() });
    expect(urlValues(stored).get('Filters')).toEqual(['job|=|stored']);
    const chosen = scopeOf(await resolveVariables(board.variables, { ...ctx, wanted: new Map([['Filters', ['job|=|node']]]) }));
    expect(filtersOf(chosen, sources)).toEqual([eq('job', 'node')]);
    const target = (uid: string) => ({ refId: 'A', expr: 'up', legendFormat: '', format: 'time_series' as const, range: true, instant: false, interval: '', intervalFactor: 1, hide: false, datasource: { uid } });
    const plan = (uid: string) => planPanel({ targets: [target(uid)], datasource: null, interval: '', maxDataPoints: null }, { scope: chosen, sources, rangeMs: { from: 0, to: 1000 }, builtins: {}, width: 100, inject: injectFilters }).queries[0]?.expr;
    expect([plan('ws'), plan('other')]).toEqual(['up{job="node"}', 'up']);
  });
});

describe('annotations', () => {
  const a = { titleFormat: '{{job}} restarted', textFormat: 'pod {{pod}}', tagKeys: ['job', 'none'], color: 'red', useValueForTime: false } as unknown as Annotation;
  const values = (...v: [number, string][]) => [{ metric: { job: 'shop', pod: 'a' }, values: v }];
  it('joins neighbours, leaves zeros out', () => {
    const got = eventsOf(values([0, '1'], [60, '1'], [120, '0'], [180, '2'], [600, '1']), a, 60_000);
    expect(got.map((e) => [e.time, e.timeEnd])).toEqual([[0, 60_000], [180_000, 180_000], [600_000, 600_000]]);
    expect(got[0]).toMatchObject({ title: 'shop restarted', text: 'pod a', tags: ['shop'], color: 'red' });
  });
  it('takes the value for the time', () => {
    const got = eventsOf(values([0, '5000'], [60, '5000'], [120, '9000']), { ...a, useValueForTime: true }, 60_000);
    expect(got.map((e) => e.time)).toEqual([5000, 9000]);
  });
});

describe('provenance', () => {
  const fake = (answers: Record<string, [Record<string, string>, number][]>) =>
    ({ instant: (q: string) => Promise.resolve({ data: { resultType: 'vector', result: (answers[q] ?? []).map(([metric, v]) => ({ metric, value: [0, String(v)] })) }, warnings: [], infos: [] }) }) as unknown as PrometheusApi;
  const signal = new AbortController().signal;
  it('names the targets behind a query', async () => {
    const node = { job: 'node', instance: 'a:9100' };
    const api = fake({ up: [[node, 0]], 'timestamp(up)': [[node, 100]], 'count by (job, instance) (node_load1)': [[node, 3], [{ job: 'gone', instance: 'b' }, 1]] });
    expect(await origins('sum(node_load1)', api, 0, signal)).toEqual([
      { selector: 'node_load1', job: 'node', instance: 'a:9100', series: 3, up: false, lastScrape: 100_000 },
      { selector: 'node_load1', job: 'gone', instance: 'b', series: 1, up: null, lastScrape: null },
    ]);
  });
  it('finds what two jobs scrape, unless the query chose its job', async () => {
    const api = fake({
      'topk(1, count by (__name__, instance) (count by (__name__, instance, job) ({__name__=~"node_load1",instance!=""})) > 1)': [[{ __name__: 'node_load1', instance: 'a' }, 2]],
      'count by (job) ({__name__="node_load1",instance="a"})': [[{ job: 'pods' }, 1], [{ job: 'nodes' }, 1]],
    });
    expect(await doubledMetrics(['sum(node_load1)'], api, 0, signal)).toEqual({ metric: 'node_load1', instance: 'a', jobs: ['nodes', 'pods'] });
    expect(await doubledMetrics(['node_load1{job="nodes"}', 'sum(up)', 'node:cpu:rate'], api, 0, signal)).toBeNull();
  });
});
