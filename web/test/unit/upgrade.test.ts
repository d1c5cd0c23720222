/** Board JSON made modern: goldens for every old form, and what must hold for any board. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exportBoard } from '../../src/board/export';
import { migrateBoard } from '../../src/board/migrate';
import { SCHEMA_VERSION, unwrapBoard, upgradeBoard } from '../../src/board/upgrade';

const golden = join(import.meta.dirname, 'golden/upgrade');
const cases = readdirSync(golden).filter((f) => f.endsWith('.in.json')).map((f) => f.replace('.in.json', ''));
const shared = join(process.env.MANGRU_SHARED ?? resolve(import.meta.dirname, '../../../../shared'), 'dashboards');
const corpus = existsSync(shared) ? readdirSync(shared).filter((f) => f.endsWith('.json')).map((f) => join(shared, f)) : [];
const boards = [...cases.map((c) => join(golden, `${c}.in.json`)), ...corpus];

const read = (file: string): any => JSON.parse(readFileSync(file, 'utf8'));

describe('goldens', () => {
  it.each(cases)('%s', async (name) => {
    const out = upgradeBoard(read(join(golden, `${name}.in.json`)));
    await expect(`${JSON.stringify(out, null, 2)}\n`).toMatchFileSnapshot(join(golden, `${name}.out.json`));
  });
});

/** mark puts a field nobody knows on every object of the kinds people and plugins extend. */
function mark(board: any): number {
  let n = 0;
  const on = (o: any) => (o && typeof o === 'object' ? ((o.x_mark = `m${n++}`), o) : o);
  on(board);
  for (const p of [...(board.panels ?? []), ...(board.rows ?? []).flatMap((r: any) => r.panels ?? [])]) {
    on(p);
    p.targets?.forEach(on);
    p.panels?.forEach(on);
  }
  board.templating?.list?.forEach(on);
  board.annotations?.list?.forEach(on);
  return n;
}

describe('any board', () => {
  it.each(boards)('%s', (file) => {
    const input = unwrapBoard(read(file)) as any;
    const marks = mark(input);
    const before = JSON.stringify(input);
    const once = upgradeBoard(input);
    expect(JSON.stringify(input), 'the input is left alone').toBe(before);
    expect(upgradeBoard(once), 'a second time changes nothing').toEqual(once);
    const text = JSON.stringify(once);
    for (let i = 0; i < marks; i++) {
      expect(text.includes(`"x_mark":"m${i}"`), `mark ${i} survives`).toBe(true);
    }
    expect(once.schemaVersion).toBeGreaterThanOrEqual(SCHEMA_VERSION);
    // What is exported reads back as the same board.
    const board = migrateBoard(input);
    expect(board.original).toBe(input);
    const again = migrateBoard(JSON.parse(JSON.stringify(exportBoard(board.json))));
    expect({ ...again, json: 0, original: 0 }).toEqual({ ...board, json: 0, original: 0, uid: board.uid });
  });

  it('never throws, whatever stands where', () => {
    const values = [null, 0, -1, 1e400, '', 'x', true, [], {}, [null], [[]], { a: 1 }, '$x', NaN];
    let seed = 42;
    const random = (n: number) => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff), seed % n);
    const mutate = (v: any): any => {
      if (random(12) === 0) {
        return values[random(values.length)];
      }
      return Array.isArray(v) ? v.map(mutate) : v && typeof v === 'object' ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, mutate(x)])) : v;
    };
    for (let round = 0; round < 600; round++) {
      const broken = mutate(read(boards[random(cases.length)] as string));
      if (broken && typeof broken === 'object' && !Array.isArray(broken)) {
        const once = upgradeBoard(broken);
        expect(upgradeBoard(once)).toEqual(once);
        migrateBoard(broken);
      }
    }
  });
});

it('exports without what belongs to one server, with inputs when asked', () => {
  const board = upgradeBoard({ id: 12, version: 7, uid: 'u', title: 't', iteration: 5, panels: [{ type: 'stat', datasource: { type: 'prometheus', uid: 'abc' }, targets: [{ expr: 'up', datasource: { type: 'prometheus', uid: 'abc' } }] }] });
  expect(exportBoard(board)).toMatchObject({ id: null, uid: 'u', title: 't', panels: [{ datasource: { uid: 'abc' } }] });
  const shared = exportBoard(board, [{ uid: 'abc', name: 'Main', type: 'prometheus', isDefault: true }]) as any;
  expect(shared.__inputs).toEqual([{ name: 'DS_MAIN', label: 'Main', description: '', type: 'datasource', pluginId: 'prometheus', pluginName: 'Prometheus' }]);
  expect(shared.panels[0].datasource).toEqual({ type: 'prometheus', uid: '${DS_MAIN}' });
  expect(shared.panels[0].targets[0].datasource.uid).toBe('${DS_MAIN}');
  expect(shared.__requires.map((r: any) => r.id)).toEqual(['grafana', 'prometheus', 'stat']);
});
