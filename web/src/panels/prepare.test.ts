import { createTheme, FieldType, getFieldDisplayName, type DataFrame } from '@grafana/data';
import { describe, expect, it } from 'vitest';
import { migrateBoard } from '../board/migrate';
import { allPanels, type Panel } from '../board/model';
import { replacer } from './macros';
import { applyOptions, toCsv, transform } from './prepare';

const theme = createTheme();
const replace = replacer(new Map(), { format: 'text' });

function panel(json: object): Panel {
  return allPanels(migrateBoard({ panels: [{ type: 'timeseries', ...json }] }))[0] as Panel;
}

function frame(name: string, labels: Record<string, string>, values: number[]): DataFrame {
  return {
    refId: 'A', name, length: values.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: values.map((_, i) => i * 1000) },
      { name: 'Value', type: FieldType.number, config: { displayNameFromDS: name }, labels, values },
    ],
  };
}

it('applies units, overrides and custom options', () => {
  const p = panel({
    fieldConfig: {
      defaults: { unit: 'bytes', displayName: '${__field.labels.pod}' },
      overrides: [
        { matcher: { id: 'byRegexp', options: '/^a/' }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: 'red' } }, { id: 'custom.hideFrom.viz', value: true }] },
        { matcher: { id: 'byName', options: 'b' }, properties: [{ id: 'unit', value: 'percent' }, { id: 'custom.axisPlacement', value: 'right' }] },
        { matcher: { id: 'noSuchMatcher' }, properties: [{ id: 'unit', value: 's' }] },
      ],
    },
  });
  const { frames } = applyOptions(p, [frame('x', { pod: 'a' }, [2048]), frame('y', { pod: 'b' }, [50])], theme, 'utc', replace);
  const [a, b] = frames.map((f) => f.fields[1]);
  expect(frames.map((f) => getFieldDisplayName(f.fields[1]!, f, frames))).toEqual(['a', 'b']);
  expect(a?.display?.(2048)).toMatchObject({ text: '2', suffix: ' KiB' });
  expect(b?.display?.(50)).toMatchObject({ text: '50', suffix: '%' });
  expect(a?.config.custom).toMatchObject({ hideFrom: { viz: true }, lineWidth: 1, drawStyle: 'line' });
  expect(b?.config.custom.axisPlacement).toBe('right');
});

it('labels the axis of values, not that of time', () => {
  const p = panel({ fieldConfig: { defaults: { custom: { axisLabel: 'cores' } }, overrides: [] } });
  const { frames } = applyOptions(p, [frame('x', {}, [1])], theme, 'utc', replace);
  expect(frames[0]?.fields.map((f) => f.config.custom?.axisLabel)).toEqual([undefined, 'cores']);
});

it('joins, merges and organises, and names what it does not know', async () => {
  const table = (refId: string, value: number): DataFrame => ({
    refId, length: 1,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: [0] },
      { name: 'pod', type: FieldType.string, config: {}, values: ['p'] },
      { name: `Value #${refId}`, type: FieldType.number, config: {}, values: [value] },
    ],
  });
  const p = panel({
    type: 'table',
    transformations: [
      { id: 'seriesToColumns', options: { byField: 'pod' } }, { id: 'organize', options: { renameByName: { 'Value #A': 'CPU' } } }, { id: 'configFromDataX', options: {} },
      { id: 'merge', disabled: true, options: {} },
    ],
  });
  const { frames, unknown } = await transform(p, [table('A', 1), table('B', 2)], replace);
  expect(unknown).toEqual(['configFromDataX']);
  expect(frames).toHaveLength(1);
  const names = frames[0]!.fields.map((f) => f.config.displayName ?? f.name);
  expect(names).toContain('pod');
  expect(names).toContain('CPU');
  const applied = applyOptions(p, frames, theme, 'utc', replace).frames[0]!;
  expect(applied.fields.map((f) => f.state?.displayName)).toContain('CPU');
  expect(frames[0]!.fields.find((f) => f.name.startsWith('Value #B'))?.values).toEqual([2]);
});

describe('toCsv', () => {
  it('quotes, and lets no cell run as a formula', () => {
    const f: DataFrame = {
      length: 3,
      fields: [
        { name: 'Time', type: FieldType.time, config: {}, values: [0, 0, 0] },
        { name: 'a,b', type: FieldType.string, config: {}, values: ['=1+1', 'say "x"', null] },
        { name: 'v', type: FieldType.number, config: {}, values: [-1, 2.5, NaN] },
      ],
    };
    expect(toCsv(f).split('\r\n')).toEqual(['Time,"a,b",v', "1970-01-01T00:00:00.000Z,'=1+1,-1", '1970-01-01T00:00:00.000Z,"say ""x""",2.5', '1970-01-01T00:00:00.000Z,,NaN']);
  });
});
