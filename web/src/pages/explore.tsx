/** Explore: one PromQL query, drawn as a graph and as a table. The URL holds the query, the range and the kind. */
import { css } from '@emotion/css';
import { DashboardCursorSync, type DataFrame, type Field, type GrafanaTheme2, type TimeRange } from '@grafana/data';
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useSearchParams } from 'react-router';
import { defaultSource, type DataSource } from '../board/datasource';
import { formatDuration } from '../board/intervals';
import type { Panel, Target } from '../board/model';
import { parseRange, readTimeZone } from '../board/timerange';
import { fetchDataSources } from '../data/api';
import type { Reason } from '../data/diagnose';
import { planPanel, QueryRunner, runPlan } from '../data/queries';
import { applyOptions, hasValues } from '../panels/prepare';
import { MAX_SERIES, TimeSeriesVisual } from '../panels/visuals';
import { Alert, Button, Icon, LoadingPlaceholder, RadioButtonGroup, Select, Spinner, useStyles2, useT, useTheme2, type MessageKey } from '../ui';
import { useLoad, useSize } from '../ui/hooks';
import { TableViz } from '../ui/viz/table';
import { Shell } from './shell';
import { TimeTools, useTick } from './time_tools';

const Editor = lazy(() => import('./promql_editor'));

type Kind = 'both' | 'range' | 'instant';

const MAX_ROWS = 2000;

interface Result {
  graph: DataFrame[];
  table: DataFrame | null;
  rows: number;
  series: number;
  ms: number;
  stepMs: number;
  error: string;
  notices: string[];
  reason: Reason | null;
  range: TimeRange;
}

export default function ExplorePage() {
  const t = useT();
  const sources = useLoad('sources', fetchDataSources);
  if (!sources.value) {
    return (
      <Shell crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('explore.title') }]}>
        {sources.error ? <Alert severity="error" title={sources.error.message} buttonContent={t('common.retry')} onRemove={sources.reload} /> : <LoadingPlaceholder text={t('common.loading')} />}
      </Shell>
    );
  }
  return <Explore sources={sources.value} />;
}

function Explore({ sources }: { sources: DataSource[] }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const [params, setParams] = useSearchParams();
  const expr = params.get('expr') ?? '';
  const kind = readKind(params.get('kind'));
  const source = sources.find((s) => s.uid === params.get('ds')) ?? defaultSource(sources);
  const timeZone = readTimeZone(params.get('timezone') ?? '');
  const refresh = params.get('refresh') ?? '';
  const [tick, refreshNow] = useTick(refresh);
  const from = params.get('from') ?? 'now-1h';
  const to = params.get('to') ?? 'now';
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const range = useMemo(() => parseRange(from, to, timeZone), [from, to, timeZone, tick]);
  const [draft, setDraft] = useState(expr);
  useEffect(() => setDraft(expr), [expr]);
  const { ref, width } = useSize<HTMLDivElement>();
  const { result, running } = useExploreQuery({ expr, kind, source, sources, range, width });
  const patch = useCallback((change: (p: URLSearchParams) => URLSearchParams) => setParams((p) => change(new URLSearchParams(p))), [setParams]);
  const run = (text: string) => (text.trim() === expr ? refreshNow() : patch((p) => (p.set('expr', text.trim()), p)));
  return (
    <Shell
      crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('explore.title') }]}
      tools={<TimeTools range={range} timeZone={timeZone} refresh={refresh} intervals={[]} onRefresh={refreshNow} patch={patch} />}
    >
      <div className={styles.page} ref={ref}>
        <h1 className="sr-only">{t('explore.title')}</h1>
        <div className={styles.query}>
          <div className={styles.line}>
            {sources.length > 1 && (
              <Select
                aria-label={t('explore.source')}
                width={28}
                options={sources.map((s) => ({ value: s.uid, label: s.name }))}
                value={source?.uid}
                onChange={(v) => patch((p) => (p.set('ds', v.value ?? ''), p))}
              />
            )}
            <RadioButtonGroup<Kind>
              aria-label={t('explore.type')}
              options={[{ value: 'both', label: t('explore.both') }, { value: 'range', label: t('explore.range') }, { value: 'instant', label: t('explore.instant') }]}
              value={kind}
              onChange={(v) => patch((p) => (p.set('kind', v), p))}
            />
            <Stats result={result} running={running} />
          </div>
          <div className={styles.line}>
            <div className={styles.editor}>
              <Suspense fallback={<LoadingPlaceholder text={t('common.loading')} />}>
                <Editor value={draft} onChange={setDraft} onRun={run} label={t('explore.query')} sourceUid={source?.uid ?? ''} range={range} />
              </Suspense>
            </div>
            <Button icon="play" onClick={() => run(draft)} disabled={draft.trim() === ''}>
              {t('explore.run')}
            </Button>
          </div>
        </div>
        {expr === '' && <p className={styles.hint}>{t('explore.start')}</p>}
        {result && <Answer result={result} width={width} kind={kind} timeZone={timeZone} patch={patch} />}
      </div>
    </Shell>
  );
}

function readKind(s: string | null): Kind {
  return s === 'range' || s === 'instant' ? s : 'both';
}

function Stats({ result, running }: { result: Result | null; running: boolean }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  return (
    <span className={styles.stats} role="status" data-testid="explore-stats">
      {running && <Spinner inline />}
      {result && result.error === '' && (
        <>
          {t('explore.stats', { series: result.series, ms: Math.round(result.ms) })}
          {result.stepMs > 0 && `, ${t('explore.step', { step: formatDuration(result.stepMs) })}`}
        </>
      )}
    </span>
  );
}

interface QueryInput {
  expr: string;
  kind: Kind;
  source: DataSource | undefined;
  sources: DataSource[];
  range: TimeRange;
  width: number;
}

/** useExploreQuery runs the query of the URL; the former answer stays until the next one is there. */
function useExploreQuery({ expr, kind, source, sources, range, width }: QueryInput): { result: Result | null; running: boolean } {
  const [result, setResult] = useState<Result | null>(null);
  const [running, setRunning] = useState(false);
  const measured = useRef(0);
  if (width > 0 && measured.current === 0) {
    measured.current = width;
  }
  const ready = width > 0;
  useEffect(() => {
    if (expr === '' || !source || !ready) {
      setResult(null);
      return;
    }
    const controller = new AbortController();
    setRunning(true);
    explore({ expr, kind, source, sources, range, width: measured.current }, controller.signal).then(
      (r) => {
        if (!controller.signal.aborted) {
          setResult(r);
          setRunning(false);
        }
      },
      () => {
        // Only a cancelled run rejects; the run that replaced it reports.
      }
    );
    return () => controller.abort();
  }, [expr, kind, source, sources, range, ready]);
  return { result, running };
}

function target(refId: string, expr: string, instant: boolean, format: Target['format']): Target {
  return { refId, expr, legendFormat: '', format, range: !instant, instant, interval: '', intervalFactor: 1, hide: false, datasource: null };
}

async function explore(input: Required<QueryInput>, signal: AbortSignal): Promise<Result> {
  const { expr, kind, source, sources, range, width } = input as QueryInput & { source: DataSource };
  const started = performance.now();
  const rangeMs = { from: range.from.valueOf(), to: range.to.valueOf() };
  const targets = [...(kind === 'instant' ? [] : [target('graph', expr, false, 'time_series')]), ...(kind === 'range' ? [] : [target('table', expr, true, 'table')])];
  const plan = planPanel({ targets, datasource: { uid: source.uid }, interval: '', maxDataPoints: null }, { scope: new Map(), sources, rangeMs, builtins: {}, width });
  const answer = await runPlan(plan, new QueryRunner(), signal);
  const graph = answer.frames.filter((f) => f.refId === 'graph');
  const table = answer.frames.find((f) => f.refId === 'table') ?? null;
  const result: Result = {
    graph, table, rows: table?.length ?? 0, series: kind === 'instant' ? (table?.length ?? 0) : graph.length, ms: performance.now() - started,
    stepMs: kind === 'instant' ? 0 : plan.intervalMs, error: answer.errors[0]?.message ?? plan.problem, notices: answer.notices, reason: null, range,
  };
  if (!hasValues(answer.frames) && result.error === '') {
    const [{ diagnose }, { PrometheusApi }] = await Promise.all([import('../data/diagnose'), import('../data/prometheus')]);
    result.reason = await diagnose(plan.queries[0]?.expr ?? expr, new PrometheusApi(source.uid), rangeMs, signal).catch(() => null);
  }
  return result;
}

interface AnswerProps {
  result: Result;
  width: number;
  kind: Kind;
  timeZone: string;
  patch: (change: (p: URLSearchParams) => URLSearchParams) => void;
}

function Answer({ result, width, kind, timeZone, patch }: AnswerProps) {
  const t = useT();
  if (result.error !== '') {
    return (
      <Alert severity="error" title={t('explore.failed')} data-testid="explore-error">
        {result.error}
      </Alert>
    );
  }
  if (!hasValues(result.graph) && !result.table?.length) {
    const r = result.reason;
    return <Alert severity="info" title={r ? t(`panel.empty.${r.kind}` as MessageKey, { ...r }) : t('panel.empty.unknown')} />;
  }
  return (
    <>
      {result.notices.map((n) => (
        <Alert key={n} severity="warning" title={n} />
      ))}
      {kind !== 'instant' && <Graph result={result} width={width} timeZone={timeZone} patch={patch} />}
      {result.table && <ResultTable frame={result.table} width={width} rows={result.rows} />}
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

function Graph({ result, width, timeZone, patch }: Omit<AnswerProps, 'kind'>) {
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

function ResultTable({ frame, width, rows }: { frame: DataFrame; width: number; rows: number }) {
  const t = useT();
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const shown = useMemo(() => {
    const cut = rows > MAX_ROWS ? { ...frame, length: MAX_ROWS, fields: frame.fields.map((f) => ({ ...f, values: f.values.slice(0, MAX_ROWS) })) } : frame;
    // With many labels the table scrolls sideways; the value stands next to the time so that it is always in sight.
    const fixed = (f: Field | undefined, custom: object): Field[] => (f ? [{ ...f, config: { ...f.config, custom } }] : []);
    const labels = cut.fields.slice(1, -1);
    const fields = [...fixed(cut.fields[0], { width: 190 }), ...fixed(cut.fields.at(-1), { align: 'right', width: 170 }), ...labels];
    return applyOptions({ ...GRAPH_PANEL, type: 'table', fieldConfig: { defaults: {}, overrides: [] } }, [{ ...cut, fields }], theme, 'browser', same).frames[0];
  }, [frame, rows, theme]);
  const height = Math.min(600, 44 + Math.min(rows, MAX_ROWS) * 37);
  return (
    <section className={styles.card} aria-label={t('explore.table')} data-testid="explore-table">
      <h2>{t('explore.table')}</h2>
      {rows > MAX_ROWS && <p className={styles.hint}>{t('explore.tableLimit', { shown: MAX_ROWS, all: rows })}</p>}
      {shown && <TableViz frame={shown} width={width - 66} height={height} label={t('explore.table')} fitContent />}
    </section>
  );
}

const getStyles = (theme: GrafanaTheme2) => {
  const box = { background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default };
  return {
    page: css({ padding: theme.spacing(2), display: 'flex', flexDirection: 'column', gap: theme.spacing(2) }),
    query: css({ ...box, padding: theme.spacing(2), display: 'flex', flexDirection: 'column', gap: theme.spacing(1) }),
    line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'flex-start' }),
    editor: css({ flex: 1, minWidth: 240 }),
    stats: css({ marginLeft: 'auto', color: theme.colors.text.secondary, alignSelf: 'center' }),
    hint: css({ color: theme.colors.text.secondary }),
    card: css({ ...box, padding: theme.spacing(2), minWidth: 0, '& h2': { fontSize: theme.typography.h5.fontSize } }),
  };
};
