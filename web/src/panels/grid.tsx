/** The board's grid: sections with foldable rows, panels placed on 24 columns, or one panel alone. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { lazy, Suspense, useState } from 'react';
import { interpolate } from '../board/interpolate';
import { CELL_GAP, CELL_HEIGHT, COLUMNS, type PlacedSection } from '../board/layout';
import { Icon, useStyles2, useT } from '../ui';
import { useBoardContext } from './context';
import { BoardDataProvider, useBoardData } from './board_data';
import { PanelHost } from './panel_host';

const Arranged = lazy(() => import('./arrange'));

export function BoardGrid({ sections, viewing }: { sections: PlacedSection[]; viewing: number | null }) {
  const arranging = useBoardContext().edit?.arranging === true && viewing === null;
  return (
    <BoardDataProvider sections={sections}>
      <AnnotationSwitches />
      {arranging ? (
        <Suspense fallback={<Sections sections={sections} viewing={viewing} />}>
          <Arranged sections={sections} />
        </Suspense>
      ) : (
        <Sections sections={sections} viewing={viewing} />
      )}
    </BoardDataProvider>
  );
}

/** AnnotationSwitches turns the board's annotation queries on and off. */
function AnnotationSwitches() {
  const styles = useStyles2(getGridStyles);
  const { annotations } = useBoardData();
  if (annotations.length === 0) {
    return null;
  }
  return (
    <div className={styles.switches}>
      {annotations.map((a) => (
        <label key={a.name}>
          <input type="checkbox" checked={a.on} onChange={a.toggle} /> {a.name}
        </label>
      ))}
    </div>
  );
}

function Sections({ sections, viewing }: { sections: PlacedSection[]; viewing: number | null }) {
  const styles = useStyles2(getGridStyles);
  const [toggled, setToggled] = useState<ReadonlyMap<string, boolean>>(new Map());
  if (viewing !== null) {
    const placed = sections.flatMap((s) => s.panels).find((p) => p.panel.id === viewing);
    return <div className={styles.alone}>{placed && <PanelHost key={`view-${placed.key}`} placed={placed} />}</div>;
  }
  return (
    <>
      {sections.map((s) => {
        const collapsed = toggled.get(s.key) ?? s.row?.collapsed ?? false;
        return (
          <section key={s.key}>
            {s.row && <RowHeader section={s} collapsed={collapsed} onToggle={() => setToggled(new Map(toggled).set(s.key, !collapsed))} />}
            {!collapsed && <Panels section={s} />}
          </section>
        );
      })}
    </>
  );
}

function RowHeader({ section, collapsed, onToggle }: { section: PlacedSection; collapsed: boolean; onToggle: () => void }) {
  const t = useT();
  const styles = useStyles2(getGridStyles);
  const ctx = useBoardContext();
  const title = interpolate(section.row?.title ?? '', new Map([...ctx.scope, ...section.scoped]), { format: 'text' });
  return (
    <h2 className={styles.row}>
      <button type="button" onClick={onToggle} aria-expanded={!collapsed}>
        <Icon name={collapsed ? 'angle-right' : 'angle-down'} size="lg" />
        <span>{title}</span>
        {collapsed && <small>({t(section.panels.length === 1 ? 'board.rowClosedOne' : 'board.rowClosed', { n: section.panels.length })})</small>}
      </button>
    </h2>
  );
}

function Panels({ section }: { section: PlacedSection }) {
  const styles = useStyles2(getGridStyles);
  return (
    <div className={styles.grid}>
      {section.panels.map((p) => (
        <div
          key={p.key}
          className={styles.cell}
          style={{
            gridColumn: `${p.pos.x + 1} / span ${p.pos.w}`,
            gridRow: `${p.pos.y + 1} / span ${p.pos.h}`,
            minHeight: p.pos.h * CELL_HEIGHT + (p.pos.h - 1) * CELL_GAP,
          }}
        >
          <PanelHost placed={p} />
        </div>
      ))}
    </div>
  );
}

export const getGridStyles = (theme: GrafanaTheme2) => ({
  grid: css({
    display: 'grid', gridTemplateColumns: `repeat(${COLUMNS}, minmax(0, 1fr))`, gridAutoRows: CELL_HEIGHT, gap: CELL_GAP, marginBottom: CELL_GAP,
    [theme.breakpoints.down('md')]: { display: 'flex', flexDirection: 'column' },
  }),
  switches: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(2), marginBottom: theme.spacing(1), '& label': { display: 'flex', alignItems: 'center', gap: theme.spacing(0.5) } }),
  cell: css({ position: 'relative', minWidth: 0 }),
  alone: css({ position: 'relative', flex: 1, minHeight: 'min(400px, 100vh - 48px)' }),
  row: css({
    margin: 0, fontSize: theme.typography.h5.fontSize,
    '& button': {
      display: 'flex', alignItems: 'center', gap: theme.spacing(0.5), width: '100%', padding: theme.spacing(0.75, 0), background: 'none', border: 'none',
      color: theme.colors.text.primary, fontWeight: theme.typography.fontWeightMedium, textAlign: 'left',
    },
    '& small': { color: theme.colors.text.secondary, fontWeight: 400, marginLeft: theme.spacing(0.5) },
  }),
});
