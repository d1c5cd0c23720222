/** Explore: PromQL queries, drawn as a graph and as tables. The address holds queries, range and kind, so that a link shows the same. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from 'react';
import { useNavigate, useSearchParams } from 'react-router';
import { defaultSource, type DataSource } from '../board/datasource';
import { formatDuration } from '../board/intervals';
import { parseRange, readTimeZone } from '../board/timerange';
import { fetchDataSources } from '../data/api';
import { rememberQueries, type PastQuery } from '../data/history_api';
import { Alert, Button, ClipboardButton, LoadingPlaceholder, RadioButtonGroup, Select, Spinner, useStyles2, useT } from '../ui';
import { useLoad, useSize } from '../ui/hooks';
import { Answer } from './explore_answer';
import { QueryRow } from './explore_query';
import { MAX_QUERIES, readExplore, writeQueries, type ExploreQuery, type Kind } from './explore_state';
import { useExploreTexts } from './explore_texts';
import { Shell } from './shell';
import { TimeTools, useTick } from './time_tools';
import { useExplore, type ExploreResult } from './use_explore';

const QueryHistory = lazy(() => import('./query_history'));
const MetricBrowser = lazy(() => import('./metric_browser'));
const AddToBoard = lazy(() => import('./add_to_board'));

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
  const state = useMemo(() => readExplore(params), [params]);
  const source = sources.find((s) => s.uid === params.get('ds')) ?? defaultSource(sources);
  const timeZone = readTimeZone(params.get('timezone') ?? '');
  const refresh = params.get('refresh') ?? '';
  const [tick, refreshNow] = useTick(refresh);
  const from = params.get('from') ?? 'now-1h';
  const to = params.get('to') ?? 'now';
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const range = useMemo(() => parseRange(from, to, timeZone), [from, to, timeZone, tick]);
  const { ref, width } = useSize<HTMLDivElement>();
  const { result, running } = useExplore({ queries: state.queries, kind: state.kind, source, sources, range, tick, width });
  const patch = useCallback((change: (p: URLSearchParams) => URLSearchParams) => setParams((p) => change(new URLSearchParams(p))), [setParams]);
  const drafts = useDrafts(state.queries, patch);
  const run = (queries: readonly ExploreQuery[] = drafts.list, ds = source?.uid) => {
    remember(queries, ds);
    if (drafts.same(queries) && ds === source?.uid) {
      refreshNow();
    } else {
      patch((p) => writeQueries(ds === source?.uid || !ds ? p : (p.set('ds', ds), p), queries.map((q) => ({ ...q, expr: q.expr.trim() }))));
    }
  };
  return (
    <Shell
      crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('explore.title') }]}
      tools={<TimeTools range={range} timeZone={timeZone} refresh={refresh} intervals={[]} onRefresh={refreshNow} patch={patch} />}
    >
      <div className={styles.page} ref={ref}>
        <h1 className="sr-only">{t('explore.title')}</h1>
        <div className={styles.query}>
          <Tools state={state} range={range} source={source} sources={sources} patch={patch} drafts={drafts} run={run}>
            <Stats result={result} running={running} />
          </Tools>
          {drafts.list.map((q, i) => (
            <QueryRow
              key={`${i}-${drafts.list.length}`} query={q} alone={drafts.list.length === 1} outcome={result?.outcomes.get(q.refId)} sourceUid={source?.uid ?? ''} range={range}
              onChange={(change) => drafts.change(i, change)} onRun={(expr) => run(drafts.list.map((d, j) => (i === j ? { ...d, expr } : d)))}
              onCopy={() => drafts.set([...drafts.list.slice(0, i + 1), q, ...drafts.list.slice(i + 1)])}
              onHide={() => drafts.set(drafts.list.map((d, j) => (i === j ? { ...d, hidden: !d.hidden } : d)))}
              onRemove={() => drafts.set(drafts.list.filter((_, j) => j !== i))}
            />
          ))}
          <Buttons drafts={drafts} run={run} />
        </div>
        {state.queries.every((q) => q.expr === '') && <p className={styles.hint}>{t('explore.start')}</p>}
        {result && <Answer result={result} width={width} kind={state.kind} timeZone={timeZone} patch={patch} />}
      </div>
    </Shell>
  );
}

/** remember keeps what was run. Only the list of past queries would miss it if it fails, so nobody is bothered. */
function remember(queries: readonly ExploreQuery[], ds: string | undefined): void {
  const run = queries.filter((q) => q.expr.trim() !== '');
  if (run.length > 0 && ds) {
    void rememberQueries(ds, run.map((q) => ({ refId: q.refId, expr: q.expr.trim(), legendFormat: q.legend }))).catch(() => undefined);
  }
}

interface Drafts {
  /** What the editors hold; the address holds what was run. */
  list: readonly ExploreQuery[];
  change: (i: number, change: Partial<ExploreQuery>) => void;
  /** Writes the list into the address, texts not yet run included. */
  set: (list: readonly ExploreQuery[]) => void;
  same: (list: readonly ExploreQuery[]) => boolean;
}

function useDrafts(queries: ExploreQuery[], patch: (change: (p: URLSearchParams) => URLSearchParams) => void): Drafts {
  const [list, setList] = useState<readonly ExploreQuery[]>(queries);
  const key = JSON.stringify(queries);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- key stands for queries
  useEffect(() => setList(queries), [key]);
  return {
    list,
    change: (i, change) => setList((l) => l.map((q, j) => (i === j ? { ...q, ...change } : q))),
    set: (next) => patch((p) => writeQueries(p, next)),
    same: (next) => JSON.stringify(next.map((q) => ({ ...q, expr: q.expr.trim() }))) === key,
  };
}

interface ToolsProps {
  state: ReturnType<typeof readExplore>;
  range: ReturnType<typeof parseRange>;
  source: DataSource | undefined;
  sources: DataSource[];
  patch: (change: (p: URLSearchParams) => URLSearchParams) => void;
  drafts: Drafts;
  run: (queries?: readonly ExploreQuery[], ds?: string) => void;
  children: React.ReactNode;
}

/** Tools is the line above the queries: where to ask, how, and what helps to find a query. */
function Tools({ state, range, source, sources, patch, drafts, run, children }: ToolsProps) {
  const t = useT();
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const [open, setOpen] = useState<'' | 'history' | 'metrics' | 'add'>('');
  const close = () => setOpen('');
  const reuse = (past: PastQuery) => {
    close();
    run(past.queries.map((q, i) => ({ refId: String.fromCharCode(65 + i), expr: q.expr ?? '', legend: q.legendFormat ?? '', hidden: false })), past.datasourceUid);
  };
  const use = (expr: string) => {
    close();
    const free = drafts.list.findIndex((q) => q.expr.trim() === '');
    run(free >= 0 ? drafts.list.map((q, i) => (i === free ? { ...q, expr } : q)) : [...drafts.list, { refId: '', expr, legend: '', hidden: false }]);
  };
  return (
    <div className={styles.line}>
      {state.back !== '' && (
        <Button variant="secondary" icon="arrow-left" onClick={() => void navigate(state.back)}>
          {x('back')}
        </Button>
      )}
      {sources.length > 1 && (
        <Select
          aria-label={t('explore.source')} width={28} options={sources.map((s) => ({ value: s.uid, label: s.name }))} value={source?.uid}
          onChange={(v) => patch((p) => (p.set('ds', v.value ?? ''), p))}
        />
      )}
      <RadioButtonGroup<Kind>
        aria-label={t('explore.type')}
        options={[{ value: 'both', label: t('explore.both') }, { value: 'range', label: t('explore.range') }, { value: 'instant', label: t('explore.instant') }]}
        value={state.kind}
        onChange={(v) => patch((p) => (p.set('kind', v), p))}
      />
      <Button variant="secondary" icon="list-ul" onClick={() => setOpen('metrics')}>
        {x('metrics')}
      </Button>
      <Button variant="secondary" icon="history" onClick={() => setOpen('history')}>
        {x('history')}
      </Button>
      {state.queries.some((q) => q.expr !== '') && (
        <>
          <Button variant="secondary" icon="apps" onClick={() => setOpen('add')}>
            {x('addToBoard')}
          </Button>
          <ClipboardButton variant="secondary" icon="share-alt" getText={() => sharedLink(range)} tooltip={x('fixedTime')}>
            {x('share')}
          </ClipboardButton>
        </>
      )}
      {children}
      <Suspense fallback={null}>
        {open === 'history' && <QueryHistory source={source} sources={sources} onUse={reuse} onClose={close} />}
        {open === 'metrics' && <MetricBrowser sourceUid={source?.uid ?? ''} range={range} onUse={use} onClose={close} />}
        {open === 'add' && <AddToBoard queries={state.queries.filter((q) => q.expr !== '')} kind={state.kind} source={source} onClose={close} />}
      </Suspense>
    </div>
  );
}

/** sharedLink is the page's address with the moments that are on the screen now instead of "the last hour", so that others see the same. */
function sharedLink(range: ToolsProps['range']): string {
  const url = new URL(window.location.href);
  url.searchParams.set('from', String(range.from.valueOf()));
  url.searchParams.set('to', String(range.to.valueOf()));
  ['back', 'refresh'].forEach((k) => url.searchParams.delete(k));
  return url.toString();
}

function Buttons({ drafts, run }: { drafts: Drafts; run: () => void }) {
  const t = useT();
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.line}>
      <Button icon="play" onClick={() => run()} disabled={drafts.list.every((q) => q.expr.trim() === '')}>
        {t('explore.run')}
      </Button>
      <Button variant="secondary" icon="plus" disabled={drafts.list.length >= MAX_QUERIES} onClick={() => drafts.set([...drafts.list, { refId: '', expr: '', legend: '', hidden: false }])}>
        {x('addQuery')}
      </Button>
    </div>
  );
}

function Stats({ result, running }: { result: ExploreResult | null; running: boolean }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const outcomes = [...(result?.outcomes.values() ?? [])];
  return (
    <span className={styles.stats} role="status" data-testid="explore-stats">
      {running && <Spinner inline />}
      {result && outcomes.some((o) => o.error === '') && (
        <>
          {t('explore.stats', { series: outcomes.reduce((n, o) => n + o.series, 0), ms: Math.round(result.ms) })}
          {result.stepMs > 0 && `, ${t('explore.step', { step: formatDuration(result.stepMs) })}`}
        </>
      )}
    </span>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(2), display: 'flex', flexDirection: 'column', gap: theme.spacing(2) }),
  query: css({
    background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(2), display: 'flex', flexDirection: 'column',
    gap: theme.spacing(1),
  }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'flex-start' }),
  stats: css({ marginLeft: 'auto', color: theme.colors.text.secondary, alignSelf: 'center' }),
  hint: css({ color: theme.colors.text.secondary }),
});
