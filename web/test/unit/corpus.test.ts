import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { placeSections } from '../../src/board/layout';
import { migrateBoard } from '../../src/board/migrate';
import { allPanels } from '../../src/board/model';
import { resolutionOrder } from '../../src/board/variables';

const folder = join(process.env.MANGRU_SHARED ?? resolve(import.meta.dirname, '../../../../shared'), 'dashboards');
const files = existsSync(folder) ? readdirSync(folder).filter((f) => f.endsWith('.json')) : [];

function rawPanelCount(raw: any): number {
  const count = (panels: any[] = []): number => panels.reduce((n, p) => n + (p.type === 'row' ? count(p.panels) : 1), 0);
  return raw.rows?.length ? raw.rows.reduce((n: number, r: any) => n + (r.panels?.length ?? 0), 0) : count(raw.panels);
}

describe.skipIf(files.length === 0)('published boards', () => {
  it.each(files)('%s becomes a model', (file) => {
    const parsed = JSON.parse(readFileSync(join(folder, file), 'utf8'));
    const raw = parsed.dashboard ?? parsed;
    const board = migrateBoard(parsed);
    const panels = allPanels(board);
    expect(panels.length).toBe(rawPanelCount(raw));
    expect(new Set(panels.map((p) => p.id)).size).toBe(panels.length);
    expect(panels.filter((p) => ['graph', 'singlestat', 'table-old', 'row'].includes(p.type))).toEqual([]);
    expect(resolutionOrder(board.variables).flat().length).toBe(board.variables.length);
    for (const section of placeSections(board.sections, new Map())) {
      for (const { pos } of section.panels) {
        expect(pos.x + pos.w).toBeLessThanOrEqual(24);
      }
    }
  });
});
