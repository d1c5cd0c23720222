import { describe, expect, it } from 'vitest';
import { defaultSource, resolveDataSource } from './datasource';
import { constantValue } from './interpolate';
import { placeSections } from './layout';
import { migrateBoard, UnsupportedBoard } from './migrate';
import { allPanels, type Panel } from './model';

function panel(json: object): Panel {
  const [p] = allPanels(migrateBoard({ title: 't', panels: [json] }));
  if (!p) {
    throw new Error('no panel');
  }
  return p;
}

describe('boards', () => {
  it('refuses the v2 schema with a sentence that says what to do', () => {
    const v2 = { apiVersion: 'dashboard.grafana.app/v2beta1', kind: 'Dashboard', spec: { elements: {}, layout: {} } };
    expect(() => migrateBoard(v2)).toThrow(UnsupportedBoard);
    expect(() => migrateBoard(v2)).toThrow(/Classic/);
    expect(() => migrateBoard('x')).toThrow(/not a dashboard/);
  });

  it('reads a v1 resource, a wrapped board and nonsense', () => {
    expect(migrateBoard({ apiVersion: 'dashboard.grafana.app/v1beta1', spec: { title: 'v1' } }).title).toBe('v1');
    expect(migrateBoard({ dashboard: { title: 'wrapped' } }).title).toBe('wrapped');
    expect(allPanels(migrateBoard({ panels: [null, 3, { type: 'stat' }], templating: 7, time: 'x', tags: 'one' }))).toHaveLength(1);
  });

  it('makes sections of rows and gives panels without an id, or with a taken one, a new id', () => {
    const board = migrateBoard({
      panels: [
        { id: 1, type: 'stat', gridPos: { x: 0, y: 0, w: 6, h: 4 } },
        { id: 1, type: 'row', title: 'closed', collapsed: true, gridPos: { y: 4 }, panels: [{ id: 1, type: 'stat' }, { type: 'stat' }] },
        { id: 9, type: 'row', title: 'open', gridPos: { y: 5 } },
        { id: 5, type: 'stat', gridPos: { x: 0, y: 6, w: 30, h: 4 } },
      ],
    });
    expect(board.sections.map((s) => [s.row?.title, s.row?.collapsed, s.panels.length])).toEqual([[undefined, undefined, 1], ['closed', true, 2], ['open', false, 1]]);
    const ids = allPanels(board).map((p) => p.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(board.sections[2]?.panels[0]?.gridPos.w).toBe(24);
  });

  it('lays out rows from before Grafana 5', () => {
    const board = migrateBoard({
      rows: [
        { title: 'a', height: '250px', panels: [{ span: 6, type: 'graph' }, { span: 6, type: 'graph' }, { span: 4, type: 'singlestat' }] },
        { title: 'b', collapse: true, showTitle: true, height: 100, panels: [{ span: 12, type: 'text' }] },
      ],
    });
    expect(board.sections.map((s) => s.row?.collapsed)).toEqual([false, true]);
    expect(board.sections[0]?.panels.map((p) => p.gridPos)).toEqual([{ x: 0, y: 1, w: 12, h: 7 }, { x: 12, y: 1, w: 12, h: 7 }, { x: 0, y: 8, w: 8, h: 7 }]);
  });
});

describe('panels', () => {
  it('turns a graph into a time series', () => {
    const p = panel({
      type: 'graph', fill: 2, linewidth: 3, stack: true, nullPointMode: 'connected', yaxes: [{ format: 'bytes', min: '0', label: 'mem' }, { format: 'percent', max: 100 }],
      legend: { show: true, values: true, current: true, avg: true, alignAsTable: true, rightSide: true }, tooltip: { shared: true, sort: 2 },
      seriesOverrides: [{ alias: '/out/', transform: 'negative-Y' }, { alias: 'pct', yaxis: 2 }], aliasColors: { cpu: '#E24D42' }, targets: [{ expr: 'up', refId: 'A' }],
    });
    expect(p.type).toBe('timeseries');
    
    expect(p.fieldConfig.defaults).toMatchObject({ unit: 'bytes', min: 0, custom: { fillOpacity: 20, lineWidth: 3, stacking: { mode: 'normal' }, spanNulls: true, axisLabel: 'mem' } });
    expect(p.options).toMatchObject({ legend: { displayMode: 'table', placement: 'right', calcs: ['mean', 'lastNotNull'] }, tooltip: { mode: 'multi', sort: 'desc' } });
    expect(p.fieldConfig.overrides).toEqual([
      { matcher: { id: 'byName', options: 'cpu' }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: '#E24D42' } }] },
      { matcher: { id: 'byRegexp', options: '/out/' }, properties: [{ id: 'custom.transform', value: 'negative-Y' }] },
      { matcher: { id: 'byName', options: 'pct' }, properties: [{ id: 'custom.axisPlacement', value: 'right' }, { id: 'unit', value: 'percent' }, { id: 'max', value: 100 }] },
    ]);
  });

  it('turns a single stat into a stat, or into a gauge when it drew one', () => {
    const stat = panel({ type: 'singlestat', format: 'percent', thresholds: '80,90', colorValue: true, valueName: 'current', sparkline: { show: true }, valueMaps: [{ value: 'null', text: 'N/A' }] });
    expect(stat.type).toBe('stat');
    expect(stat.options).toMatchObject({ reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value', graphMode: 'area' });
    expect(stat.fieldConfig.defaults.thresholds?.steps.map((s) => s.value)).toEqual([-Infinity, 80, 90]);
    expect(stat.fieldConfig.defaults.mappings).toMatchObject([{ type: 'special', options: { match: 'null', result: { text: 'N/A' } } }]);
    const gauge = panel({ type: 'singlestat', format: 'percentunit', gauge: { show: true, minValue: 0, maxValue: 1, thresholdMarkers: true }, thresholds: '' });
    expect([gauge.type, gauge.fieldConfig.defaults.min, gauge.fieldConfig.defaults.max]).toEqual(['gauge', 0, 1]);
  });

  it('turns an old table into a table', () => {
    const p = panel({ type: 'table', transform: 'timeseries_to_rows', styles: [{ pattern: 'Time', type: 'hidden' }, { pattern: '/.*/', type: 'number', unit: 'bytes', decimals: 1, colorMode: 'row', thresholds: ['1', '2'], colors: ['red', 'orange', 'green'] }] });
    expect(p.transformations).toEqual([{ id: 'seriesToRows', options: {} }]);
    // The catch-all comes first, so that the rule for Time wins.
    expect(p.fieldConfig.overrides.map((o) => o.matcher.id)).toEqual(['byRegexp', 'byName']);
    expect(p.fieldConfig.overrides[0]?.properties.find((x) => x.id === 'custom.cellOptions')?.value).toMatchObject({ type: 'color-background', applyToRow: true });
  });

  it('repairs what boards store oddly', () => {
    const p = panel({
      type: 'gauge', options: { fieldOptions: { calcs: ['mean'], defaults: { max: '100' } } },
      fieldConfig: {
        defaults: { min: '0', color: 'red', thresholds: { steps: [{ color: 'green', value: null }, { color: 'red', value: '80' }] }, mappings: [{ type: 1, value: '1', text: 'Up' }, { type: 2, from: '2', to: '3', text: 'Busy' }] },
        overrides: [{ matcher: { id: 'byName', options: 'a' }, properties: [{ id: 'custom.displayMode', value: 'lcd-gauge' }] }, { properties: [] }],
      },
    });
    expect(p.options.reduceOptions).toEqual({ calcs: ['mean'], values: false });
    expect(p.fieldConfig.defaults).toMatchObject({ min: 0, max: 100, color: { mode: 'fixed', fixedColor: 'red' } });
    expect(p.fieldConfig.defaults.thresholds?.steps.map((s) => s.value)).toEqual([-Infinity, 80]);
    expect(p.fieldConfig.defaults.mappings).toMatchObject([{ type: 'value', options: { 1: { text: 'Up' } } }, { type: 'range', options: { from: 2, to: 3, result: { text: 'Busy' } } }]);
    expect(p.fieldConfig.overrides).toHaveLength(1);
    expect(p.fieldConfig.overrides[0]?.properties[0]).toEqual({ id: 'custom.cellOptions', value: { type: 'gauge', mode: 'lcd' } });
  });
});

describe('data sources', () => {
  const sources = [
    { uid: 'a', name: 'Other', type: 'prometheus', isDefault: false },
    { uid: 'b', name: 'Main', type: 'prometheus', isDefault: true },
  ];
  const replace = (s: string) => (s === '$ds' || s === '${ds}' ? 'a' : s);
  it.each([
    [null, 'b', false], [{ uid: 'a' }, 'a', false], [{ uid: 'Other' }, 'a', false], [{ uid: '$ds' }, 'a', false], [{ type: 'prometheus', uid: '${ds}' }, 'a', false],
    [{ uid: '${DS_PROMETHEUS}' }, 'b', true], [{ type: 'prometheus', uid: 'P1809F7CD0C75ACF3' }, 'b', true], [{ type: 'prometheus' }, 'b', false], [{ uid: 'default' }, 'b', false],
  ])('%j', (ref, uid, substituted) => {
    expect(resolveDataSource(ref, sources, replace)).toMatchObject({ kind: 'found', source: { uid }, substituted });
  });
  it('tells what it cannot resolve', () => {
    expect(resolveDataSource({ uid: '-- Mixed --' }, sources, replace).kind).toBe('mixed');
    expect(resolveDataSource({ type: 'loki', uid: 'x' }, sources, replace)).toEqual({ kind: 'unsupported', type: 'loki' });
    expect(resolveDataSource(null, [], replace).kind).toBe('missing');
    expect(defaultSource([])).toBeUndefined();
  });
});

describe('layout', () => {
  const value = { ...constantValue(''), value: ['x', 'y', 'z'], text: ['x', 'y', 'z'], list: true, options: [] };
  it('repeats panels across, downwards, and rows', () => {
    const board = migrateBoard({
      panels: [
        { id: 1, type: 'stat', repeat: 'v', maxPerRow: 2, gridPos: { x: 0, y: 0, w: 6, h: 4 } },
        { id: 2, type: 'stat', gridPos: { x: 0, y: 4, w: 24, h: 2 } },
        { id: 3, type: 'row', repeat: 'v', title: '$v', gridPos: { y: 6 } },
        { id: 4, type: 'stat', repeat: 'v', repeatDirection: 'v', gridPos: { x: 0, y: 7, w: 6, h: 4 } },
      ],
    });
    const placed = placeSections(board.sections, new Map([['v', value]]));
    expect(placed[0]?.panels.map((p) => [p.panel.id, p.pos.x, p.pos.y, p.pos.w])).toEqual([[1, 0, 0, 12], [1, 12, 0, 12], [1, 0, 4, 12], [2, 0, 8, 24]]);
    expect(placed.slice(1).map((s) => s.scoped.get('v')?.value)).toEqual(['x', 'y', 'z']);
    // Inside a repeated row the variable stands at the row's value, so the panel's own repeat makes one.
    expect(placed[1]?.panels.map((p) => p.scoped.get('v')?.value)).toEqual(['x']);
    expect(new Set(placed.flatMap((s) => s.panels.map((p) => p.key))).size).toBe(4 + 3);
  });

  it('closes gaps and pulls overlapping panels apart', () => {
    const board = migrateBoard({ panels: [{ id: 1, gridPos: { x: 0, y: 50, w: 12, h: 4 } }, { id: 2, gridPos: { x: 6, y: 51, w: 12, h: 4 } }] });
    expect(placeSections(board.sections, new Map())[0]?.panels.map((p) => p.pos.y)).toEqual([0, 4]);
  });
});
