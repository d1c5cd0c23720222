import { describe, expect, it } from 'vitest';
import { addPanel, addRow, changePanel, changeRow, differences, duplicatePanel, emptyBoard, gridOf, listPanels, removePanel, sameBoard, withVariables, writeLayout, type Json } from './board_json';

const board: Json = {
  title: 'B', unknown: { kept: true },
  panels: [
    { id: 1, type: 'stat', title: 'a', gridPos: { x: 0, y: 0, w: 6, h: 4 }, odd: [1] },
    { id: 5, type: 'row', collapsed: true, gridPos: { x: 0, y: 4, w: 24, h: 1 }, panels: [{ id: 7, type: 'text', title: 'inner', gridPos: { x: 0, y: 5, w: 12, h: 3 } }] },
  ],
};
const ids = (b: Json) => listPanels(b).map((p) => p.id);

describe('board edits', () => {
  it('reaches panels of collapsed rows and keeps what it does not know', () => {
    const next = changePanel(board, 7, (p) => ({ ...p, title: 'new' }));
    expect(listPanels(next).map((p) => p.title)).toEqual(['a', 'new']);
    expect(next.unknown).toEqual({ kept: true });
    expect(listPanels(next)[0]?.odd).toEqual([1]);
    expect(listPanels(board).map((p) => p.title)).toEqual(['a', 'inner']);
  });

  it('gives copies and new panels free ids, above those of inner panels', () => {
    const copy = duplicatePanel(board, 1);
    expect([copy.id, ids(copy.board)]).toEqual([8, [1, 8, 7]]);
    expect(gridOf(listPanels(copy.board)[1] ?? {})).toEqual({ x: 0, y: 4, w: 6, h: 4 });
    const added = addPanel(board, 'n');
    expect([added.id, ids(added.board)]).toEqual([8, [8, 1, 7]]);
    expect(listPanels(added.board).map((p) => gridOf(p).y)).toEqual([0, 8, 13]);
    expect(ids(removePanel(board, 7))).toEqual([1]);
  });

  it('does not call a stamp a change', () => {
    expect(sameBoard({ ...emptyBoard('x'), version: 1, id: 3 }, { ...emptyBoard('x'), version: 2, id: 3 })).toBe(true);
    expect(sameBoard(emptyBoard('x'), emptyBoard('y'))).toBe(false);
  });
});

describe('layout', () => {
  it('is written with rows one below the other, whatever is in them', () => {
    const next = writeLayout(board, [{ rowId: null, panels: [] }, { rowId: 5, panels: [{ id: 7, pos: { x: 0, y: 0, w: 6, h: 3 } }, { id: 1, pos: { x: 6, y: 0, w: 6, h: 4 } }] }]);
    expect(next.panels).toMatchObject([{ id: 5, gridPos: { y: 0 }, panels: [{ id: 7, gridPos: { x: 0, y: 1, w: 6, h: 3 } }, { id: 1, odd: [1], gridPos: { x: 6, y: 1 } }] }]);
    const open = writeLayout({ ...board, panels: [{ id: 1 }, { id: 5, type: 'row', panels: [] }, { id: 7 }, { id: 8, gridPos: { h: 2 } }] }, [{ rowId: null, panels: [{ id: 1, pos: { x: 0, y: 0, w: 6, h: 4 } }] }, { rowId: 5, panels: [{ id: 7, pos: { x: 0, y: 0, w: 6, h: 3 } }] }]);
    expect((open.panels as Json[]).map((p) => [p.id, gridOf(p).y])).toEqual([[1, 0], [5, 4], [7, 5], [8, 8]]);
  });

  it('keeps the panels of a row that goes', () => {
    expect(ids(changeRow(board, 5, null))).toEqual([1, 7]);
    expect((changeRow(board, 5, 'New').panels as Json[])[1]).toMatchObject({ title: 'New', collapsed: true });
    expect((addRow(board, 'R').panels as Json[]).at(-1)).toMatchObject({ id: 8, type: 'row', gridPos: { y: 5 } });
  });
});

describe('differences', () => {
  it('names each value that differs, and nothing else', () => {
    expect(differences({ id: 1, version: 2, a: [1, { b: 2 }], same: { x: [] } }, { id: 9, version: 3, a: [1, { b: 3 }, 4], same: { x: [] } })).toEqual([
      { path: 'a[1].b', old: 2, new: 3 },
      { path: 'a[2]', new: 4 },
    ]);
  });
});

describe('withVariables', () => {
  it('makes what is chosen the default', () => {
    const next = withVariables({ templating: { list: [{ name: 'a', multi: true }, { name: 'b' }, { name: 'f', type: 'adhoc' }] } }, new Map([['a', ['$__all']], ['b', ['x']], ['f', ['y']]]));
    expect(next.templating).toEqual({ list: [{ name: 'a', multi: true, current: { text: ['All'], value: ['$__all'] } }, { name: 'b', current: { text: 'x', value: 'x' } }, { name: 'f', type: 'adhoc' }] });
  });
});
