/** From frames to what the charts of lanes and bars draw. */
import { createTheme, FieldType, type DataFrame } from '@grafana/data';
import { describe, expect, it } from 'vitest';
import { migrateBoard } from '../board/migrate';
import { allPanels, type Panel } from '../board/model';
import { layBars, niceTicks } from '../ui/viz/bars';
import { readable } from '../ui/viz/lanes';
import { marksAt } from '../ui/viz/marks';
import { categoriesOf, histogramOf } from './categories';
import { bucketCells, calculatedCells, historyLanes, niceStep, stateLanes } from './lanes';
import { replacer } from './macros';
import { applyOptions } from './prepare';
import { sharedPanel, staleSince } from './use_panel_data';
import { slicePath } from './visuals/pie';
import { choose } from './visuals/alert_list';

const replace = replacer(new Map(), { format: 'text' });

function panel(json: object): Panel {
  return allPanels(migrateBoard({ panels: [{ type: 'state-timeline', ...json }] }))[0] as Panel;
}

function series(name: string, points: [number, number | null][], labels: Record<string, string> = {}, interval = 10): DataFrame {
  return {
    refId: 'A', name, length: points.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: { interval }, values: points.map((p) => p[0]) },
      { name: 'Value', type: FieldType.number, config: { displayNameFromDS: name }, labels, values: points.map((p) => p[1]) },
    ],
  };
}

const applied = (p: Panel, frames: DataFrame[]) => applyOptions(p, frames, createTheme(), 'utc', replace).frames;

describe('state timeline', () => {
  const p = panel({ fieldConfig: { defaults: { color: { mode: 'thresholds' }, mappings: [{ type: 'value', options: { 1: { text: 'up', color: 'green' }, 0: { text: 'down', color: 'red' } } }] } } });
  it('merges neighbours, ends where points are missing and at the range end', () => {
    const { names, boxes } = stateLanes(applied(p, [series('a', [[0, 1], [10, 1], [20, 0], [30, 1], [70, 1], [80, null], [90, 1]]), series('b', [[0, 0]])]), true, 95);
    expect(names).toEqual(['b', 'a']);
    expect(boxes.filter((b) => b.lane === 1).map((b) => [b.x0, b.x1, b.text])).toEqual([[0, 20, 'up'], [20, 30, 'down'], [30, 40, 'up'], [70, 80, 'up'], [90, 95, 'up']]);
    expect(boxes.find((b) => b.lane === 0)).toMatchObject({ x0: 0, x1: 10, text: 'down' });
    expect(new Set(boxes.map((b) => b.color)).size).toBe(2);
  });
  it('keeps every point apart in a status history', () => {
    const { boxes } = historyLanes(applied(p, [series('a', [[0, 1], [10, 1], [20, null]])]), 0.8);
    expect(boxes.map((b) => [b.x0, b.x1])).toEqual([[-4, 4], [6, 14]]);
  });
  it('hides series that are hidden', () => {
    const hidden = panel({ fieldConfig: { defaults: {}, overrides: [{ matcher: { id: 'byName', options: 'a' }, properties: [{ id: 'custom.hideFrom', value: { viz: true } }] }] } });
    expect(stateLanes(applied(hidden, [series('a', [[0, 1]]), series('b', [[0, 1]])]), true, 10).names).toEqual(['b']);
  });
});

describe('heatmap', () => {
  it('orders buckets by their bound', () => {
    const cells = bucketCells([series('+Inf', [[10, 3]], { le: 'Infinity' }), series('0.5', [[10, 1]], { le: '0.5' }), series('1', [[10, 2]], { le: '1' })], 'auto');
    expect([cells.names, cells.edges]).toEqual([['0.5', '1', '+Inf'], [0.5, 1, Infinity]]);
    expect(cells.cells).toEqual([{ x0: 0, x1: 10, lane: 0, value: 1 }, { x0: 0, x1: 10, lane: 1, value: 2 }, { x0: 0, x1: 10, lane: 2, value: 3 }]);
  });
  it('counts ordinary series', () => {
    const { edges, cells } = calculatedCells([series('a', [[0, 1], [10, 9], [90, 5]]), series('b', [[0, 2]])], { from: 0, to: 100 }, 10, 4);
    expect(edges).toEqual([0, 2, 4, 6, 8, 10]);
    expect(cells.reduce((n, c) => n + c.value, 0)).toBe(4);
    expect(cells.map((c) => [c.x0, c.lane])).toEqual([[0, 0], [10, 4], [90, 2], [0, 1]]);
    expect(calculatedCells([series('n', [[0, NaN]])], { from: 0, to: 1 }, 1, 1).cells).toEqual([]);
  });
});

describe('bars', () => {
  it('takes categories and colours of a table', () => {
    const p = panel({ type: 'barchart', fieldConfig: { defaults: { unit: 'percent', color: { mode: 'thresholds' }, thresholds: { steps: [{ color: 'green', value: null }, { color: 'red', value: 50 }] } } } });
    const table: DataFrame = { length: 2, fields: [{ name: 'pod', type: FieldType.string, config: {}, values: ['a', 'b'] }, { name: 'CPU', type: FieldType.number, config: {}, values: [10, 60] }] };
    const c = categoriesOf(applied(p, [table]), '', '');
    expect([c?.names, c?.series[0]?.values, c?.format(10)]).toEqual([['a', 'b'], [10, 60], '10%']);
    expect(new Set(c?.series[0]?.colors).size).toBe(2);
    expect(categoriesOf([], '', '')).toBeNull();
  });
  it('counts a histogram', () => {
    const h = histogramOf([series('a', [[0, 1], [1, 2], [2, 9]]), series('b', [[0, 9]])], { size: 5, offset: 0, count: 30, combine: true });
    expect(h?.series.map((s) => s.values)).toEqual([[2, 2]]);
    expect(h?.names).toHaveLength(3);
    expect(histogramOf([series('n', [[0, NaN]])], { offset: 0, count: 1, combine: false })).toBeNull();
  });
  it('stacks and groups', () => {
    const input = { categories: ['x'], series: [{ name: 'a', color: '', values: [3] }, { name: 'b', color: '', values: [1] }, { name: 'c', color: '', values: [-2] }], groupWidth: 0.9, barWidth: 1 };
    expect(layBars({ ...input, stacking: 'normal' }).map((b) => [b.from, b.to])).toEqual([[0, 3], [3, 4], [0, -2]]);
    expect(layBars({ ...input, stacking: 'percent' }).map((b) => b.to - b.from)).toEqual([0.5, 1 / 6, -1 / 3].map((v) => expect.closeTo(v)));
    expect(layBars({ ...input, stacking: 'none' }).map((b) => b.start)).toEqual([0.05, 0.35, 0.65].map((v) => expect.closeTo(v)));
  });
  it('draws no bar for a value without end', () => {
    const series = [{ name: 'a', color: 'red', values: [Infinity, 2, null, NaN] }];
    const bars = layBars({ categories: ['p', 'q', 'r', 's'], series, groupWidth: 1, barWidth: 1, stacking: 'percent' });
    expect(bars.map((b) => [b.category, b.from, b.to])).toEqual([[1, 0, 1]]);
  });
  it('ticks in round numbers', () => {
    expect(niceTicks(0, 0.97, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(niceTicks(-3, 12, 4)).toEqual([-5, 0, 5, 10, 15]);
    expect([niceStep(0.03), niceStep(7)]).toEqual([0.05, 10]);
  });
  it('draws whole pies and slices', () => {
    expect(slicePath(10, 0, 0, 0.25)).toBe('M 0.00 -10.00 A 10 10 0 0 1 10.00 -0.00 L 0 0 Z');
    expect(slicePath(10, 5, 0, 1)).toContain('A 10 10 0 1 1');
  });
  it('writes on colours in a colour that can be read', () => {
    expect([readable('#73BF69', 1), readable('#1F60C4', 1), readable('rgb(255, 255, 255)', 1)]).toEqual(['#000', '#fff', '#000']);
  });
});

describe('panels', () => {
  it('finds marks near the cursor', () => {
    const m = { time: 100, timeEnd: 200, title: '', text: '', tags: [], color: 'red' };
    expect([marksAt([m], 150, 0).length, marksAt([m], 95, 10).length, marksAt([m], 80, 10).length]).toEqual([1, 1, 0]);
  });
  it('shows another panel\'s answer again', () => {
    const source = panel({ id: 3, type: 'timeseries', datasource: { uid: 'ws' }, targets: [{ refId: 'A', expr: 'up' }], transformations: [{ id: 'reduce', options: {} }] });
    const reader = (target: object) => panel({ datasource: { uid: '-- Dashboard --' }, targets: [{ refId: 'A', ...target }] });
    const byId = (id: number) => (id === 3 ? source : undefined);
    expect(sharedPanel(reader({ panelId: 3 }), byId)).toMatchObject({ targets: [{ expr: 'up' }], datasource: { uid: 'ws' }, transformations: [] });
    expect(sharedPanel(reader({ panelId: 3, withTransforms: true }), byId).transformations).toHaveLength(1);
    expect(sharedPanel(reader({ panelId: 4 }), byId).datasource?.uid).toBe('-- Dashboard --');
  });
  it('notices samples that stopped coming, only where the range ends now', () => {
    const range = (to: string) => ({ from: { valueOf: () => 0 }, to: { valueOf: () => 1_000_000 }, raw: { from: 'now-1h', to } }) as never;
    const old = [series('a', [[500_000, 1]], {}, 15_000)];
    expect(staleSince(old, range('now'), 15_000)).toBe(500_000);
    expect(staleSince(old, range('now/d'), 15_000)).toBeNull();
    expect(staleSince([series('a', [[980_000, 1]], {}, 15_000)], range('now'), 15_000)).toBeNull();
    expect(staleSince(old, range('now'), 200_000)).toBeNull();
  });
  it('chooses alerts as the panel asks', () => {
    const alert = (name: string, state: string, labels = {}) => ({ labels: { alertname: name, ...labels }, state });
    const all = [alert('B', 'pending'), alert('A', 'firing', { team: 'x' }), alert('C', 'firing')];
    const names = (o: object) => choose(all, o as never, (s) => s).map((a) => a.labels.alertname);
    expect(names({})).toEqual(['A', 'C', 'B']);
    expect(names({ stateFilter: { pending: false } })).toEqual(['A', 'C']);
    expect(names({ alertInstanceLabelFilter: '{team=~"x|y"}' })).toEqual(['A']);
    expect(names({ sortOrder: 2, maxItems: 2 })).toEqual(['C', 'B']);
  });
});
