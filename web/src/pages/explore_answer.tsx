/** What Explore's queries answered: one graph of all of them, one table for each. */
import { css } from '@emotion/css';
import { DashboardCursorSync, type DataFrame, type Field, type GrafanaTheme2 } from '@grafana/data';
import { useCallback, useMemo } from 'react';
import type { Panel } from '../board/model';
import { applyOptions, hasValues } from '../panels/prepare';
import { MAX_SERIES, TimeSeriesVisual } from '../panels/visuals';
import { Alert, Icon, useStyles2, useT, useTheme2, type MessageKey } from '../ui';
import { TableViz } from '../ui/viz/table';
import type { Kind } from './explore_state';
import { useExploreTexts } from './explore_texts';
import type { ExploreResult } from './use_explore';

const MAX_ROWS = 2000;

interface Props {
  result: ExploreResult;
  width: number;
  kind: Kind;
  timeZone: string;
  patch: (change: (p: URLSearchParams) => URLSearchParams) => void;
}

export function Answer({ result, width, kind, timeZone, patch }: Props) {
  const t = useT();
  const x = useExploreTexts();
  const failed = [...result.outcomes].filter(([, o]) => o.error !== '');
  const errors = result.problem !== '' ? [['', { error: result.problem }] as const] : failed;
  const tables = result.tables.filter((f) => f.length > 0);
  const nothing = !hasValues(result.graph) && tables.length === 0;
  const r = result.reason;
  return (
    <>
      {errors.map(([refId, o]) => (
        <Alert key={refId} severity="error" title={result.outcomes.size > 1 && refId !== '' ? x('queryFailed', { ref: refId }) : t('explore.failed')} data-testid="explore-error">
          {o.error}
        </Alert>
      ))}
      {nothing && errors.length === 0 && <Alert severity="info" title={r ? t(`panel.empty.${r.kind}` as MessageKey, { ...r }) : t('panel.empty.unknown')} />}
      {!nothing && result.notices.map((n) => <Alert key={n} severity="warning" title={n} />)}
      {kind !== 'instant' && hasValues(result.graph) && <Graph result={result} width={width} timeZone={timeZone} patch={patch} />}
      {tables.map((f) => (
        <ResultTable key={f.refId} frame={f} width={width} title={result.outcomes.size > 1 ? x('tableOf', { ref: f.refId ?? '' }) : t('explore.table')} />
      ))}
    </>
  );
}

const GRAPH_PANEL: Panel = {
  id: 0, type: 'timeseries', title: '', description: '', gridPos: { x: 0, y: 0, w: 24, h: 8 }, datasource: null, targets: [], interval: '',
  maxDataPoints: null, timeFrom: '', timeShift: '', hideTimeOverride: false, transparent: false, transformations: [], links: [], repeat: '', repeatDirection: 'h', maxPerRow: 1,
  options: { legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] }, tooltip: { mode: 'multi', sort: 'desc' } },
  fieldConfig: { defaults: { unit: 'short', custom: { lineWidth: 1, fillOpacity: 0, showPoints: 'auto' } }, overrides: [] },
};

const same = (s: string) => s;

function Graph({ result, width, timeZone, patch }: Omit<Props, 'kind'>) {
  const t = useT();
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const drawn = useMemo(() => applyOptions(GRAPH_PANEL, result.graph.slice(0, MAX_SERIES), theme, timeZone, same), [result.graph, theme, timeZone]);
  const zoom = useCallback(
    (r: { from: number; to: number }) => patch((p) => (p.set('from', String(Math.round(r.from))), p.set('to', String(Math.round(r.to))), p)),
    [patch]
  );
  return (
    <section className={styles.card} aria-label={t('explore.graph')} data-testid="explore-graph">
      <h2>{t('explore.graph')}</h2>
      {result.graph.length > MAX_SERIES && (
        <p className={styles.hint}>
          <Icon name="info-circle" /> {t('panel.truncated', { shown: MAX_SERIES, all: result.graph.length })}
        </p>
      )}
      <TimeSeriesVisual
        panel={GRAPH_PANEL} frames={drawn.frames} fieldConfig={drawn.fieldConfig} width={width - 66} height={360} range={result.range} timeZone={timeZone} replace={same}
        sync={DashboardCursorSync.Off} syncScope="explore" onZoom={zoom}
      />
    </section>
  );
}

function ResultTable({ frame, width, title }: { frame: DataFrame; width: number; title: string }) {
  const t = useT();
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const rows = frame.length;
  const shown = useMemo(() => {
    const cut = rows > MAX_ROWS ? { ...frame, length: MAX_ROWS, fields: frame.fields.map((f) => ({ ...f, values: f.values.slice(0, MAX_ROWS) })) } : frame;
    // With many labels the table scrolls sideways; the value stands next to the time so that it is always in sight.
    const fixed = (f: Field | undefined, custom: object): Field[] => (f ? [{ ...f, config: { ...f.config, custom } }] : []);
    const fields = [...fixed(cut.fields[0], { width: 190 }), ...fixed(cut.fields.at(-1), { align: 'right', width: 170 }), ...cut.fields.slice(1, -1)];
    return applyOptions({ ...GRAPH_PANEL, type: 'table', fieldConfig: { defaults: {}, overrides: [] } }, [{ ...cut, fields }], theme, 'browser', same).frames[0];
  }, [frame, rows, theme]);
  const height = Math.min(600, 44 + Math.min(rows, MAX_ROWS) * 37);
  return (
    <section className={styles.card} aria-label={title} data-testid="explore-table">
      <h2>{title}</h2>
      {rows > MAX_ROWS && <p className={styles.hint}>{t('explore.tableLimit', { shown: MAX_ROWS, all: rows })}</p>}
      {shown && <TableViz frame={shown} width={width - 66} height={height} label={title} fitContent />}
    </section>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  hint: css({ color: theme.colors.text.secondary }),
  card: css({
    background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(2), minWidth: 0,
    '& h2': { fontSize: theme.typography.h5.fontSize },
  }),
});
