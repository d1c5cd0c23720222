import { describe, expect, it } from 'vitest';
import { OPTIONS, optionsFor, readOption, unitChoices, writeOption } from './panel_options';

describe('panel options', () => {
  it('have one path each, for a type', () => {
    const seen = OPTIONS.map((o) => o.path);
    expect(seen.filter((p, i) => seen.indexOf(p) !== i)).toEqual([]);
    for (const o of OPTIONS) {
      expect((o.kind === 'select') === (o.choices !== undefined), o.path).toBe(true);
    }
  });

  it('are found by words of either language', () => {
    expect(optionsFor('timeseries', 'line width').map((o) => o.path)).toEqual(['field.custom.lineWidth']);
    expect(optionsFor('timeseries', '선 두께').map((o) => o.path)).toEqual(['field.custom.lineWidth']);
    expect(optionsFor('stat', 'line width')).toEqual([]);
    expect(optionsFor('text', 'unit')).toEqual([]);
  });

  it('are read and written without touching anything else', () => {
    const panel = { id: 1, options: { legend: { calcs: ['max'] }, odd: 1 }, fieldConfig: { defaults: { unit: 's' }, overrides: [{ a: 1 }] } };
    expect(readOption(panel, 'options.legend.calcs')).toEqual(['max']);
    expect(readOption(panel, 'field.custom.lineWidth')).toBeUndefined();
    const next = writeOption(panel, 'field.custom.lineWidth', 3);
    expect(next).toEqual({ id: 1, options: { legend: { calcs: ['max'] }, odd: 1 }, fieldConfig: { defaults: { unit: 's', custom: { lineWidth: 3 } }, overrides: [{ a: 1 }] } });
    expect(writeOption(next, 'field.unit', undefined).fieldConfig).toEqual({ defaults: { custom: { lineWidth: 3 } }, overrides: [{ a: 1 }] });
    expect(writeOption({}, 'panel.title', 'x')).toEqual({ title: 'x' });
    expect(panel.fieldConfig.defaults).toEqual({ unit: 's' });
  });

  it('knows the units of Grafana', () => {
    expect(unitChoices().map((u) => u.value)).toEqual(expect.arrayContaining(['percentunit', 'bytes', 'Bps', 's', 'reqps']));
  });
});
