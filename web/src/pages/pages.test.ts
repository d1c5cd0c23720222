import { describe, expect, it } from 'vitest';
import { translate } from '../ui/i18n';
import { english } from '../ui/messages_en';
import { korean } from '../ui/messages_ko';
import { nextVisible } from '../ui/viz/visibility';
import { filterBoards } from '../data/api';
import { wantedPage } from './session';

describe('wantedPage', () => {
  it.each([
    ['?redirectTo=%2Fd%2Fx%3Fvar-a%3D1', '/d/x?var-a=1'], ['', '/'], ['?redirectTo=https://evil.example', '/'], ['?redirectTo=//evil.example', '/'], ['?redirectTo=/\\evil.example', '/'],
    ['?redirectTo=/login', '/'],
  ])('%s', (search, want) => expect(wantedPage(search)).toBe(want));
});

it('filters boards by words and tags', () => {
  const board = (title: string, ...tags: string[]) => ({ uid: title, title, url: '', type: 'dash-db', tags });
  const boards = [board('Node Groups', 'k8s'), board('EKS Cluster', 'k8s', 'aws'), board('This machine')];
  expect(filterBoards(boards, 'GROUPS node', []).map((b) => b.title)).toEqual(['Node Groups']);
  expect(filterBoards(boards, '', ['k8s', 'aws']).map((b) => b.title)).toEqual(['EKS Cluster']);
});

it('shows series alone, all again, and adds with Ctrl', () => {
  const names = ['a', 'b', 'c'];
  const alone = nextVisible(names, null, ['a'], false);
  expect([...(alone ?? [])]).toEqual(['a']);
  expect(nextVisible(names, alone, ['a'], false)).toBeNull();
  expect([...(nextVisible(names, alone, ['b'], true) ?? [])]).toEqual(['a', 'b']);
  expect([...(nextVisible(names, null, ['b'], true) ?? [])]).toEqual(['a', 'c']);
});

it('has the same placeholders in both languages', () => {
  for (const key of Object.keys(english) as (keyof typeof english)[]) {
    const holes = (s: string) => [...s.matchAll(/\{\w+\}/g)].map((m) => m[0]).sort();
    expect([key, holes(korean[key])]).toEqual([key, holes(english[key])]);
  }
  expect(translate('en', 'boards.count', { n: 3 })).toBe('3 dashboards');
});
