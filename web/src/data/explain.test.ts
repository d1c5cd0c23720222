import { describe, expect, it } from 'vitest';
import { explainQuery, flatten, measureOf } from './explain';

const parts = (expr: string) => flatten(explainQuery(expr)!).map(({ part, depth }) => `${'  '.repeat(depth)}${part.kind} ${part.name || part.duration} | ${measureOf(part)}`);

describe('explainQuery', () => {
  it('takes a query of a node board apart', () => {
    expect(parts('100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m] offset 1h)))')).toEqual([
      'binary * | count(100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m] offset 1h))))',
      '  binary - | count(1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m] offset 1h)))',
      '    aggregate avg | count(avg by (instance) (rate(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m] offset 1h)))',
      '      call rate | count(rate(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m] offset 1h))',
      '        shift 1h | count(count_over_time(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m] offset 1h))',
      '          matrix 5m | count(count_over_time(node_cpu_seconds_total{mode="idle",job=~"n.*"}[5m]))',
      '            selector node_cpu_seconds_total | count(node_cpu_seconds_total{mode="idle",job=~"n.*"})',
    ]);
  });

  it('reads matchers, grouping after the argument, and how sides match', () => {
    const p = explainQuery('sum(x{a="1", b!~"2"}) by (c, d) > bool on(c) group_left(e) y')!;
    expect(p).toMatchObject({ kind: 'binary', name: '>', bool: true, matching: { kind: 'on', labels: ['c'], group: { side: 'left', labels: ['e'] } } });
    expect(p.children[0]).toMatchObject({ kind: 'aggregate', name: 'sum', grouping: { kind: 'by', labels: ['c', 'd'] } });
    expect(p.children[0]?.children[0]?.matchers).toEqual(['a="1"', 'b!~"2"']);
  });

  it('tells numbers, ranges of expressions and moments', () => {
    expect(parts('scalar(up) + 1')).toEqual(['binary + | scalar(up) + 1', '  call scalar | scalar(up)', '    selector up | count(up)']);
    expect(explainQuery('max_over_time((a or b)[1h:5m])')?.children[0]).toMatchObject({ kind: 'subquery', duration: '1h', step: '5m', children: [{ kind: 'binary', name: 'or' }] });
    expect(explainQuery('up @ 1600000000')).toMatchObject({ kind: 'at', duration: '1600000000' });
    expect(explainQuery('-up')).toMatchObject({ kind: 'unary', name: '-' });
    expect(explainQuery('topk(5, up)')?.children[0]).toMatchObject({ kind: 'number', text: '5' });
  });

  it('does not fail on what is no query', () => {
    const long = 'histogram_quantile(0.9, sum by (le) (rate({__name__="a_bucket", x!=""}[5m] offset -1h))) >= bool on(a) group_right(b) (c or d)[1h:1m] @ start()';
    for (const bad of [...Array.from(long, (_, i) => long.slice(0, i + 1)), ...Array.from(long, (_, i) => long.slice(i)), 'sum(', '}', 'rate(x[', '"', 'a b', '1 +', 'sum by']) {
      expect(() => flatten(explainQuery(bad)!)).not.toThrow();
    }
    expect(explainQuery('')).toBeNull();
  });
});
