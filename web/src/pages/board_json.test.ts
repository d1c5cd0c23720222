import { describe, expect, it } from 'vitest';
import { addPanel, changePanel, duplicatePanel, emptyBoard, gridOf, listPanels, placePanel, removePanel, sameBoard, type Json } from './board_json';

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

  it.each([
    [{ x: 30 }, { x: 18, y: 0, w: 6, h: 4 }], [{ w: 99 }, { x: 0, y: 0, w: 24, h: 4 }], [{ h: 0, y: -3 }, { x: 0, y: 0, w: 6, h: 1 }],
  ])('keeps panels on the grid: %j', (to, want) => {
    expect(gridOf(listPanels(placePanel(board, 1, to))[0] ?? {})).toEqual(want);
  });

  it('does not call a stamp a change', () => {
    expect(sameBoard({ ...emptyBoard('x'), version: 1, id: 3 }, { ...emptyBoard('x'), version: 2, id: 3 })).toBe(true);
    expect(sameBoard(emptyBoard('x'), emptyBoard('y'))).toBe(false);
  });
});
