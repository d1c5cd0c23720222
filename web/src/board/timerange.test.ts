import { dateTime } from '@grafana/data';
import { describe, expect, it } from 'vitest';
import { edgeToUrl, isRelative, panelRange, parseEdge, parseRange, readTimeZone, shiftRange, zoomOut } from './timerange';
import { readBoardUrl, writeVariables } from './urlstate';

describe('parseEdge', () => {
  it.each([
    ['1700000000000', 1_700_000_000_000], ['1700000000', 1_700_000_000_000], ['20231114T221320', 1_700_000_000_000], ['2023-11-14T22:13:20.000Z', 1_700_000_000_000], ['2023-11-14 22:13:20', 1_700_000_000_000],
  ])('%s', (text, ms) => expect(parseEdge(text, false, 'utc')?.valueOf()).toBe(ms));
  it.each(['', 'nowish', 'yesterday', 'now-'])('refuses %j', (text) => expect(parseEdge(text, false, 'utc')).toBeNull());
});

describe('parseRange', () => {
  it('keeps relative ends relative', () => {
    const r = parseRange('now-6h', 'now', 'utc');
    expect(r.raw).toEqual({ from: 'now-6h', to: 'now' });
    expect(Math.round((r.to.valueOf() - r.from.valueOf()) / 1000)).toBe(21_600);
    expect(isRelative(r.raw)).toBe(true);
  });
  it('opens with the default when a link is broken or reversed', () => {
    expect(parseRange('soon', 'now', 'utc').raw).toEqual({ from: 'now-1h', to: 'now' });
    expect(parseRange('1700000001000', '1700000000000', 'utc').raw).toEqual({ from: 'now-1h', to: 'now' });
  });
  it('rounds now/d to whole days', () => {
    const r = parseRange('now/d', 'now/d', 'utc');
    expect(r.to.valueOf() - r.from.valueOf()).toBe(86_400_000 - 1);
  });
  it('writes ends back', () => {
    expect([edgeToUrl('now-1h'), edgeToUrl(dateTime(5))]).toEqual(['now-1h', '5']);
  });
});

it('applies a panel its own range and shift', () => {
  const board = parseRange('now-6h', 'now', 'utc');
  const own = panelRange(board, '2h', '', 'utc');
  expect(Math.round((own.range.to.valueOf() - own.range.from.valueOf()) / 1000)).toBe(7200);
  expect(own.info).toBe('Last 2 hours');
  const shifted = panelRange(board, '', '1d', 'utc');
  expect(board.to.valueOf() - shifted.range.to.valueOf()).toBe(86_400_000);
  expect(panelRange(board, '', '', 'utc').range).toBe(board);
});

it('takes zones it knows, and the browser\'s for others', () => {
  expect(['UTC', 'utc', 'Asia/Seoul', '', 'browser', 'default', 'Nowhere/Land'].map(readTimeZone)).toEqual(['utc', 'utc', 'Asia/Seoul', 'browser', 'browser', 'browser', 'browser']);
});

it('zooms and moves', () => {
  const r = parseRange('1700000000000', '1700003600000', 'utc');
  expect(zoomOut(r)).toEqual({ from: 1_699_998_200_000, to: 1_700_005_400_000 });
  expect(shiftRange(r, -1, Date.now())).toEqual({ from: 1_699_998_200_000, to: 1_700_001_800_000 });
  expect(shiftRange(r, 1, 1_700_003_600_000)).toEqual({ from: 1_700_000_000_000, to: 1_700_003_600_000 });
});

it('reads and writes Grafana URLs', () => {
  const board = { time: { from: 'now-3h', to: 'now' }, refresh: '1m', timezone: 'utc' };
  const state = readBoardUrl(new URLSearchParams('from=now-5m&var-a=1&var-a=2&var-b=All&refresh=10s&viewPanel=panel-7'), board);
  expect(state).toMatchObject({ from: 'now-5m', to: 'now', refresh: '10s', timezone: 'utc', viewPanel: 7 });
  expect([...state.vars]).toEqual([['a', ['1', '2']], ['b', ['$__all']]]);
  expect(readBoardUrl(new URLSearchParams(''), board)).toMatchObject({ from: 'now-3h', refresh: '1m', viewPanel: null });
  expect(writeVariables(new URLSearchParams('from=1&var-old=x'), new Map([['a', ['1', '2']], ['e', []]])).toString()).toBe('from=1&var-a=1&var-a=2&var-e=');
});
