/** The board's grid while it is arranged: panels are moved and sized with the pointer or the arrow keys, rows are named and taken away. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useLayoutEffect, useRef, useState, type KeyboardEvent, type PointerEvent } from 'react';
import { clampPos, movePanel, nudge, type SectionLayout } from '../board/arrange';
import { CELL_GAP, CELL_HEIGHT, COLUMNS, type PlacedPanel, type PlacedSection } from '../board/layout';
import type { GridPos } from '../board/model';
import { Button, Icon, IconButton, Input, localTexts, useStyles2, useT } from '../ui';
import { useBoardContext } from './context';
import { getGridStyles } from './grid';
import { PanelHost } from './panel_host';

const useTexts = localTexts(
  { move: 'Move {title}: arrow keys', size: 'Size of {title}: arrow keys', at: 'Column {x}, row {y}, {w} wide, {h} high', edge: 'There is no further in that direction.', row: 'Title of the row', removeRow: 'Remove row {title}, keep its panels', empty: 'Panels dropped here belong to this row.' },
  { move: '{title} 옮기기: 화살표 키', size: '{title} 크기: 화살표 키', at: '{x}열, {y}행, 너비 {w}, 높이 {h}', edge: '그 방향으로는 더 갈 수 없습니다.', row: '행 제목', removeRow: '행 {title} 제거(패널은 유지)', empty: '여기에 놓은 패널은 이 행에 속합니다.' }
);

interface Drag {
  key: string;
  mode: 'move' | 'size';
  from: number;
  /** The section under the pointer. */
  over: number;
  pos: GridPos;
  /** From the panel's corner to the pointer when it was taken, px. */
  grip: { x: number; y: number };
}

const ARROWS: Record<string, [dx: number, dy: number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export default function Arranged({ sections }: { sections: PlacedSection[] }) {
  const x = useTexts();
  const edit = useBoardContext().edit;
  const styles = useStyles2(getStyles);
  const [drag, setDrag] = useState<Drag | null>(null);
  const [said, setSaid] = useState('');
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set());
  const grids = useRef(new Map<number, HTMLElement>());
  const folded = (s: PlacedSection) => s.row?.collapsed === true && !unfolded.has(s.key);
  const refocus = useFocusAgain(sections);
  const shown = sections.map((s, i) => (drag?.from === i && drag.over === i ? movePanel(s.panels, drag.key, drag.pos) : s.panels));
  const commit = (changed: PlacedPanel[][]) => edit?.onLayout(layoutOf(sections, changed));
  const drop = () => {
    if (drag) {
      commit(drag.from === drag.over ? shown : moveAcross(sections, drag));
      setDrag(null);
    }
  };
  const key = (e: KeyboardEvent<HTMLElement>, i: number, p: PlacedPanel, mode: Drag['mode']) => {
    const arrow = ARROWS[e.key];
    if (e.key === 'Escape') {
      setDrag(null);
    }
    if (!arrow) {
      return;
    }
    e.preventDefault();
    const next = mode === 'size' ? sizeBy(sections, i, p, arrow) : moveBy(sections, i, p, arrow);
    if (!next) {
      return setSaid(x('edge'));
    }
    refocus(`${mode}-${p.panel.id}`);
    const now = next.flat().find((q) => q.panel.id === p.panel.id)?.pos ?? p.pos;
    setSaid(x('at', { x: now.x + 1, y: now.y + 1, w: now.w, h: now.h }));
    commit(next);
  };
  const take = (e: PointerEvent<HTMLElement>, i: number, p: PlacedPanel, mode: Drag['mode']) => {
    const cell = e.currentTarget.closest('[data-cell]')?.getBoundingClientRect();
    if (e.button === 0 && cell) {
      e.currentTarget.setPointerCapture(e.pointerId);
      setDrag({ key: p.key, mode, from: i, over: i, pos: p.pos, grip: { x: e.clientX - cell.left, y: e.clientY - cell.top } });
    }
  };
  const follow = (e: PointerEvent<HTMLElement>) => {
    if (drag) {
      scrollNearEdge(e);
      setDrag(followed(drag, e, grids.current));
    }
  };
  return (
    <>
      <p className="sr-only" role="status">
        {said}
      </p>
      {sections.map((s, i) => (
        <section key={s.key} data-testid="arranged-section">
          {s.row && <RowTools section={s} folded={folded(s)} onUnfold={() => setUnfolded(new Set([...unfolded, s.key]))} />}
          {!folded(s) && (
          <div className={`${styles.grid} ${drag ? styles.dragging : ''}`} ref={(el) => void (el ? grids.current.set(i, el) : grids.current.delete(i))}>
            {(shown[i] ?? []).map((p) => (
              <div key={p.key} data-cell className={`${styles.cell} ${drag?.key === p.key ? styles.taken : ''}`} style={placeStyle(p.pos)}>
                <PanelHost placed={p} />
                {p.key.endsWith('-0') && s.key.endsWith('-0') && (
                  <Handles placed={p} onTake={(e, mode) => take(e, i, p, mode)} onFollow={follow} onDrop={drop} onKey={(e, mode) => key(e, i, p, mode)} />
                )}
              </div>
            ))}
            {drag && drag.over === i && drag.from !== i && <div className={styles.target} style={placeStyle(drag.pos)} />}
            {s.panels.length === 0 && <p className={styles.empty}>{x('empty')}</p>}
          </div>
          )}
        </section>
      ))}
    </>
  );
}

interface HandlesProps {
  placed: PlacedPanel;
  onTake: (e: PointerEvent<HTMLElement>, mode: Drag['mode']) => void;
  onFollow: (e: PointerEvent<HTMLElement>) => void;
  onDrop: () => void;
  onKey: (e: KeyboardEvent<HTMLElement>, mode: Drag['mode']) => void;
}

function Handles({ placed, onTake, onFollow, onDrop, onKey }: HandlesProps) {
  const x = useTexts();
  const t = useT();
  const edit = useBoardContext().edit;
  const styles = useStyles2(getStyles);
  const { id } = placed.panel;
  const title = placed.panel.title || `${placed.panel.type} ${id}`;
  const events = (mode: Drag['mode']) => ({
    onPointerDown: (e: PointerEvent<HTMLElement>) => onTake(e, mode), onPointerMove: onFollow, onPointerUp: onDrop, onPointerCancel: onDrop,
    onKeyDown: (e: KeyboardEvent<HTMLElement>) => onKey(e, mode), 'data-handle': `${mode}-${id}`,
  });
  return (
    <>
      <div className={styles.bar}>
        <button type="button" className={styles.move} aria-label={x('move', { title })} {...events('move')}>
          <Icon name="draggabledots" />
        </button>
        <IconButton name="pen" size="sm" tooltip={`${t('edit.edit')}: ${title}`} onClick={() => edit?.onEdit(id)} />
        <IconButton name="copy" size="sm" tooltip={`${t('edit.duplicate')}: ${title}`} onClick={() => edit?.onDuplicate(id)} />
        <IconButton name="trash-alt" size="sm" tooltip={`${t('edit.delete')}: ${title}`} onClick={() => edit?.onRemove(id)} />
      </div>
      <button type="button" className={styles.size} aria-label={x('size', { title })} {...events('size')} />
    </>
  );
}

function RowTools({ section, folded, onUnfold }: { section: PlacedSection; folded: boolean; onUnfold: () => void }) {
  const x = useTexts();
  const t = useT();
  const edit = useBoardContext().edit;
  const styles = useStyles2(getStyles);
  const row = section.row;
  if (!row) {
    return null;
  }
  return (
    <div className={styles.row}>
      {folded && (
        <Button fill="text" icon="angle-right" aria-expanded={false} onClick={onUnfold}>
          {t(section.panels.length === 1 ? 'board.rowClosedOne' : 'board.rowClosed', { n: section.panels.length })}
        </Button>
      )}
      <Input width={40} aria-label={x('row')} defaultValue={row.title} key={row.title} onBlur={(e) => e.currentTarget.value !== row.title && edit?.onRow(row.id, e.currentTarget.value)} />
      <IconButton name="trash-alt" tooltip={x('removeRow', { title: row.title })} onClick={() => edit?.onRow(row.id, null)} />
    </div>
  );
}

/** useFocusAgain gives the focus back to a handle that was moved within the document with its panel. */
function useFocusAgain(sections: PlacedSection[]): (handle: string) => void {
  const wanted = useRef('');
  useLayoutEffect(() => {
    if (wanted.current !== '') {
      document.querySelector<HTMLElement>(`[data-handle="${wanted.current}"]`)?.focus();
      wanted.current = '';
    }
  }, [sections]);
  return (handle) => {
    wanted.current = handle;
  };
}

function placeStyle(p: GridPos) {
  return { gridColumn: `${p.x + 1} / span ${p.w}`, gridRow: `${p.y + 1} / span ${p.h}`, minHeight: p.h * CELL_HEIGHT + (p.h - 1) * CELL_GAP };
}

/** followed works out the place under the pointer. */
function followed(drag: Drag, e: PointerEvent<HTMLElement>, grids: ReadonlyMap<number, HTMLElement>): Drag {
  const own = grids.get(drag.from)?.getBoundingClientRect();
  if (!own) {
    return drag;
  }
  const column = (own.width + CELL_GAP) / COLUMNS;
  const line = CELL_HEIGHT + CELL_GAP;
  if (drag.mode === 'size') {
    const w = (e.clientX - own.left) / column - drag.pos.x;
    const h = (e.clientY - own.top) / line - drag.pos.y;
    return { ...drag, pos: clampPos({ ...drag.pos, w: Math.min(w, COLUMNS - drag.pos.x), h }) };
  }
  const over = [...grids].find(([, el]) => {
    const r = el.getBoundingClientRect();
    return e.clientY >= r.top && e.clientY <= Math.max(r.bottom, r.top + line);
  })?.[0] ?? drag.over;
  const top = grids.get(over)?.getBoundingClientRect().top ?? own.top;
  return { ...drag, over, pos: clampPos({ ...drag.pos, x: (e.clientX - drag.grip.x - own.left) / column, y: (e.clientY - drag.grip.y - top) / line }) };
}

const EDGE = 48;

function scrollNearEdge(e: PointerEvent<HTMLElement>): void {
  const main = document.querySelector('#content');
  const r = main?.getBoundingClientRect();
  if (main && r) {
    main.scrollBy(0, e.clientY > r.bottom - EDGE ? 16 : e.clientY < r.top + EDGE ? -16 : 0);
  }
}

function moveAcross(sections: readonly PlacedSection[], drag: Drag): PlacedPanel[][] {
  const panel = sections[drag.from]?.panels.find((p) => p.key === drag.key);
  return sections.map((s, i) => {
    if (panel && i === drag.from) {
      return s.panels.filter((p) => p.key !== drag.key);
    }
    return panel && i === drag.over ? movePanel([...s.panels, panel], drag.key, drag.pos) : s.panels;
  });
}

/** moveBy moves with the arrow keys; at a section's edge it goes on in the next one. */
function moveBy(sections: readonly PlacedSection[], i: number, p: PlacedPanel, [dx, dy]: [number, number]): PlacedPanel[][] | null {
  const within = nudge(sections[i]?.panels ?? [], p.key, dx, dy);
  if (within) {
    return sections.map((s, j) => (j === i ? within : s.panels));
  }
  const next = sections[i + dy];
  if (dy === 0 || !next) {
    return null;
  }
  const bottom = Math.max(0, ...next.panels.map((q) => q.pos.y + q.pos.h));
  return moveAcross(sections, { key: p.key, mode: 'move', from: i, over: i + dy, pos: { ...p.pos, y: dy > 0 ? 0 : bottom }, grip: { x: 0, y: 0 } });
}

function sizeBy(sections: readonly PlacedSection[], i: number, p: PlacedPanel, [dx, dy]: [number, number]): PlacedPanel[][] | null {
  const to = { ...p.pos, w: p.pos.w + dx, h: p.pos.h + dy };
  if (to.w < 1 || to.h < 1 || to.x + to.w > COLUMNS) {
    return null;
  }
  return sections.map((s, j) => (j === i ? movePanel(s.panels, p.key, to) : s.panels));
}

/** layoutOf tells each panel's place once: of repeated rows and panels the first copy stands for all, and its size stays the one that is stored. */
function layoutOf(sections: readonly PlacedSection[], placed: readonly PlacedPanel[][]): SectionLayout[] {
  return sections.flatMap((s, i) => {
    if (!s.key.endsWith('-0')) {
      return [];
    }
    const first = (placed[i] ?? []).filter((p) => p.key.endsWith('-0'));
    const copies = (id: number) => (placed[i] ?? []).filter((p) => p.panel.id === id).length;
    return [{ rowId: s.row?.id ?? null, panels: first.map((p) => ({ id: p.panel.id, pos: copies(p.panel.id) > 1 ? { ...p.panel.gridPos, y: p.pos.y } : p.pos })) }];
  });
}

const getStyles = (theme: GrafanaTheme2) => ({
  ...getGridStyles(theme),
  dragging: css({ userSelect: 'none', backgroundImage: `linear-gradient(${theme.colors.border.weak} 1px, transparent 1px)`, backgroundSize: `100% ${CELL_HEIGHT + CELL_GAP}px`, minHeight: CELL_HEIGHT }),
  taken: css({ zIndex: 2, outline: `2px solid ${theme.colors.primary.border}`, '& > *': { opacity: 0.85 } }),
  target: css({ border: `2px dashed ${theme.colors.primary.border}`, borderRadius: theme.shape.radius.default }),
  empty: css({ gridColumn: '1 / -1', color: theme.colors.text.secondary, margin: 0 }),
  row: css({ display: 'flex', gap: theme.spacing(1), alignItems: 'center', margin: theme.spacing(0.5, 0) }),
  bar: css({
    position: 'absolute', top: 4, right: 40, zIndex: 3, display: 'flex', gap: theme.spacing(0.5), alignItems: 'center', padding: theme.spacing(0.25, 0.5), background: theme.colors.background.elevated,
    border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default,
  }),
  move: css({ display: 'flex', padding: 2, background: 'none', border: 'none', color: theme.colors.text.primary, cursor: 'move', touchAction: 'none', [theme.breakpoints.down('md')]: { display: 'none' } }),
  size: css({
    position: 'absolute', right: 0, bottom: 0, zIndex: 3, width: 24, height: 24, padding: 0, background: 'none', border: 'none', cursor: 'nwse-resize', touchAction: 'none',
    '&::after': { content: '""', position: 'absolute', right: 4, bottom: 4, width: 10, height: 10, borderRight: `2px solid ${theme.colors.text.secondary}`, borderBottom: `2px solid ${theme.colors.text.secondary}` },
    [theme.breakpoints.down('md')]: { display: 'none' },
  }),
});
