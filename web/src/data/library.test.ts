import { describe, expect, it } from 'vitest';
import { libraryUid, link, modelOf, panelsOf, unlink } from './library';

const board = {
  title: 'B', templating: { list: [1] },
  panels: [
    { id: 1, type: 'stat', gridPos: { x: 0, y: 0, w: 4, h: 4 }, title: 'One', options: { a: 1 } },
    { id: 2, type: 'row', collapsed: true, panels: [{ id: 3, type: 'gauge', libraryPanel: { uid: 'lib', name: 'Lib' }, repeat: 'x' }] },
  ],
};

describe('library panels of a board', () => {
  it('lists panels, those inside rows too', () => {
    expect(panelsOf(board).map((p) => [p.id, libraryUid(p)])).toEqual([[1, ''], [3, 'lib']]);
    expect(panelsOf({ panels: 'x' })).toEqual([]);
  });

  it('keeps for the library what a panel shows, not where it stands', () => {
    expect(modelOf(board.panels[0] ?? {})).toEqual({ type: 'stat', title: 'One', options: { a: 1 } });
  });

  it('links and unlinks without touching anything else', () => {
    const linked = link(board, 1, 'new', 'New');
    expect(panelsOf(linked).map(libraryUid)).toEqual(['new', 'lib']);
    expect(linked).toEqual({ ...board, panels: [{ ...board.panels[0], libraryPanel: { uid: 'new', name: 'New' } }, board.panels[1]] });
    expect(unlink(linked, 'new')).toEqual(board);
    expect(panelsOf(unlink(board, 'lib'))[1]).toEqual({ id: 3, type: 'gauge', repeat: 'x' });
    expect(panelsOf(board).map(libraryUid)).toEqual(['', 'lib']);
  });
});
