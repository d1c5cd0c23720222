import { describe, expect, it } from 'vitest';
import { interpolate } from './interpolate';
import { migrateBoard } from './migrate';
import { ALL, type Variable } from './model';
import { chooseValue, customOptions, optionsFromTexts, parseVariableQuery, resolutionOrder, resolveVariables, scopeOf, urlValues, type Fetcher } from './variables';

const sources = [{ uid: 'ws', name: 'default', type: 'prometheus', isDefault: true }];

function variables(list: object[]): Variable[] {
  return migrateBoard({ title: 'b', templating: { list }, panels: [] }).variables;
}

async function resolve(list: object[], fetch: Fetcher, wanted: Record<string, string[]> = {}, keepUnknown = true) {
  return resolveVariables(variables(list), {
    sources, wanted: new Map(Object.entries(wanted)), keepUnknown, rangeMs: 3_600_000, builtins: {}, fetch, signal: new AbortController().signal,
  });
}

describe('parseVariableQuery', () => {
  it.each([
    ['label_values(node)', { kind: 'label_values', label: 'node', match: '' }],
    ['label_values(up, node)', { kind: 'label_values', label: 'node', match: 'up' }],
    ['label_values(up{a=~"x,y", b="$z"}, node)', { kind: 'label_values', label: 'node', match: 'up{a=~"x,y", b="$z"}' }],
    ['label_values({__name__=~"a(b,c)"},`@resource.x`)', { kind: 'label_values', label: '@resource.x', match: '{__name__=~"a(b,c)"}' }],
    ['query_result(topk(5, sum(rate(x[5m])) by (y)))', { kind: 'query_result', expr: 'topk(5, sum(rate(x[5m])) by (y))' }],
    ['metrics(node_.*)', { kind: 'metrics', pattern: 'node_.*' }],
    ['label_names()', { kind: 'label_names', match: '' }],
    ['kube_pod_info{pod="$Pod"}', { kind: 'series', match: 'kube_pod_info{pod="$Pod"}' }],
    ['  ', null],
  ])('%s', (text, want) => expect(parseVariableQuery(text)).toEqual(want));
});

describe('order', () => {
  it('follows dependencies, not the list: the data source stands last in board 13548', () => {
    const vars = variables([
      { name: 'instance', type: 'query', query: 'label_values(x{node="$node"}, ip)', datasource: '$datasource' },
      { name: 'node', type: 'query', query: 'label_values(x{group="$group"}, node)', datasource: '$datasource' },
      { name: 'group', type: 'query', query: 'label_values(x, group)', datasource: { uid: '${datasource}' } },
      { name: 'datasource', type: 'datasource', query: 'prometheus' },
    ]);
    expect(resolutionOrder(vars).map((r) => r.map((v) => v.name))).toEqual([['datasource'], ['group'], ['node'], ['instance']]);
  });

  it('ends for variables that refer to each other', () => {
    const vars = variables([{ name: 'a', type: 'query', query: '$b' }, { name: 'b', type: 'query', query: '$a' }, { name: 'c', type: 'query', query: '$c' }]);
    expect(resolutionOrder(vars).flat().map((v) => v.name).sort()).toEqual(['a', 'b', 'c']);
  });
});

describe('options', () => {
  it('takes what the regex captures, sorted, each once', () => {
    const texts = ['up{pod="b-2"} 1 5', 'up{pod="a-10"} 1 5', 'up{pod="a-9"} 1 5', 'up{pod="b-2"} 2 5', 'none'];
    expect(optionsFromTexts(texts, '/pod="([^"]+)"/', 1).map((o) => o.value)).toEqual(['a-10', 'a-9', 'b-2']);
    expect(optionsFromTexts(texts, '/pod="([^"]+)"/', 7).map((o) => o.value)).toEqual(['a-9', 'a-10', 'b-2']);
    expect(optionsFromTexts(texts, '/pod="([^"]+)"/', 2).map((o) => o.value)).toEqual(['b-2', 'a-9', 'a-10']);
  });

  it('knows named groups and whole matches', () => {
    expect(optionsFromTexts(['x=1 y=one'], '/x=(?<value>\\d) y=(?<text>\\w+)/', 0)).toEqual([{ text: 'one', value: '1' }]);
    expect(optionsFromTexts(['alpha', 'beta'], '/^a/', 0)).toEqual([{ text: 'alpha', value: 'alpha' }]);
  });

  it('reads custom lists', () => {
    expect(customOptions('a, b : 2,c\\,d')).toEqual([{ text: 'a', value: 'a' }, { text: 'b', value: '2' }, { text: 'c,d', value: 'c,d' }]);
    expect(customOptions('Basic :  , Detailed : \\,transport')).toEqual([{ text: 'Basic', value: '' }, { text: 'Detailed', value: ',transport' }]);
  });
});

it('resolves a choice whose value is empty', async () => {
  const [level] = await resolve([{ name: 'level', type: 'custom', query: 'Basic :  , Detailed : \\,transport', current: { text: 'Basic', value: '' } }], () => Promise.resolve([]));
  expect(level).toMatchObject({ value: { value: '', text: 'Basic' } });
});

describe('chooseValue', () => {
  const [multi] = variables([{ name: 'v', type: 'query', multi: true, includeAll: true, current: { text: ['gone'], value: ['gone'] } }]);
  const [one] = variables([{ name: 'v', type: 'query', current: { text: 'gone', value: 'gone' } }]);
  const options = ['a', 'b'].map((v) => ({ text: v.toUpperCase(), value: v }));

  it('takes the URL first, then what is stored, then All or the first option', () => {
    expect(chooseValue(multi!, options, ['b']).value).toEqual(['b']);
    expect(chooseValue(multi!, options, undefined).value).toEqual([ALL]);
    expect(chooseValue(one!, options, undefined).value).toBe('a');
    expect(chooseValue(one!, options, ['B']).value).toBe('b');
    expect(chooseValue(one!, [], undefined).value).toBe('');
  });

  it('keeps what a link asked for, but not what an earlier choice left behind', () => {
    expect(chooseValue(one!, options, ['yesterday'], true).value).toBe('yesterday');
    expect(chooseValue(one!, options, ['yesterday'], false).value).toBe('a');
    expect(chooseValue(multi!, options, ['yesterday', 'b'], true).value).toEqual(['b']);
  });
});

it('resolves the chain of board 13548', async () => {
  const asked: string[] = [];
  const fetch: Fetcher = (v, q) => {
    asked.push(q.kind === 'label_values' ? `${v.name}: ${q.match} ${q.label}` : q.kind);
    return Promise.resolve(v.name === 'group' ? ['spot', 'on-demand'] : v.name === 'node' ? ['ip-1.x', 'ip-2.x'] : ['10.0.0.1', '10.0.0.2']);
  };
  const query = (name: string, q: string) => ({ name, type: 'query', query: { query: q, refId: 'A' }, datasource: { uid: '$datasource' }, multi: true, includeAll: true });
  const resolved = await resolve(
    [
      query('group', 'label_values(kube_node_labels, group)'),
      query('node', 'label_values(kube_node_labels{group =~ "$group"}, node)'),
      query('instance', 'label_values(kube_node_info{node =~ "$node"}, host_ip)'),
      { name: 'datasource', type: 'datasource', query: 'prometheus', current: { value: 'somebody-elses' } },
    ],
    fetch,
    { node: ['ip-2.x'] }
  );
  expect(asked).toEqual([
    'group: kube_node_labels group', 'node: kube_node_labels{group =~ "(spot|on-demand)"} node', 'instance: kube_node_info{node =~ "ip-2\\\\.x"} host_ip',
  ]);
  expect(interpolate('node_load1{instance=~"$instance:9100"} $datasource', scopeOf(resolved), { format: 'promql' })).toBe(
    'node_load1{instance=~"(10\\\\.0\\\\.0\\\\.1|10\\\\.0\\\\.0\\\\.2):9100"} ws'
  );
  expect(urlValues(resolved).get('node')).toEqual(['ip-2.x']);
});

it('keeps the others when one variable fails', async () => {
  const fetch: Fetcher = (v) => (v.name === 'bad' ? Promise.reject(new Error('parse error')) : Promise.resolve(['x']));
  const resolved = await resolve([{ name: 'bad', type: 'query', query: 'up{' }, { name: 'good', type: 'query', query: 'label_values(a)' }], fetch);
  expect(resolved.map((r) => [r.definition.name, r.error, r.value.value])).toEqual([['bad', 'parse error', ''], ['good', '', 'x']]);
});

it('computes interval variables with auto', async () => {
  const [auto] = await resolve([{ name: 'i', type: 'interval', query: '1m,5m', auto: true, auto_count: 30, auto_min: '10s', current: { value: '$__auto_interval_i' } }], () => Promise.resolve([]));
  expect(auto?.value.value).toBe('2m');
  expect(urlValues([auto!]).get('i')).toEqual(['$__auto']);
  const [picked] = await resolve([{ name: 'i', type: 'interval', query: '1m,5m', auto: true }], () => Promise.resolve([]), { i: ['5m'] });
  expect(picked?.value.value).toBe('5m');
});

it('takes text boxes and constants as they are', async () => {
  const resolved = await resolve([{ name: 't', type: 'textbox', query: '.*' }, { name: 'c', type: 'constant', hide: 2, query: 'k' }], () => Promise.resolve([]), { t: ['shop-.*'], c: ['other'] });
  expect(interpolate('up{a=~"$t",b="$c"}', scopeOf(resolved), { format: 'promql' })).toBe('up{a=~"shop-.*",b="k"}');
});
