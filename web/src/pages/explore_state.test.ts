import { describe, expect, it } from 'vitest';
import { exploreUrl, readExplore, writeQueries } from './explore_state';

const read = (s: string) => readExplore(new URLSearchParams(s));

describe('the address of Explore', () => {
  it('holds several queries in their order, with legends and what is hidden', () => {
    const p = writeQueries(new URLSearchParams('ds=x'), [{ expr: 'up', legend: '', hidden: false }, { expr: 'a + b', legend: '{{job}}', hidden: true }]);
    expect(p.toString()).toBe('ds=x&expr=up&expr=a+%2B+b&legend=&legend=%7B%7Bjob%7D%7D&hide=B');
    expect(readExplore(p).queries).toEqual([{ refId: 'A', expr: 'up', legend: '', hidden: false }, { refId: 'B', expr: 'a + b', legend: '{{job}}', hidden: true }]);
  });

  it('begins with an empty query', () => {
    expect(read('').queries).toEqual([{ refId: 'A', expr: '', legend: '', hidden: false }]);
  });

  it('goes back to boards of this UI only', () => {
    expect(read('back=%2Fd%2Fnodes%3Fvar-a%3Db').back).toBe('/d/nodes?var-a=b');
    for (const bad of ['https://evil.example/d/x', '//evil.example/d/x', '/d//evil.example', 'javascript:alert(1)', '/d/..\\x', '/login', '/d/']) {
      expect(read(`back=${encodeURIComponent(bad)}`).back, bad).toBe('');
    }
  });

  it('opens from a panel', () => {
    expect(exploreUrl([{ expr: 'up', legend: '{{job}}' }], { source: 'ws', from: 'now-1h', to: 'now' })).toBe('/explore?expr=up&legend=%7B%7Bjob%7D%7D&ds=ws&from=now-1h&to=now');
  });
});
