/** The board page: loads a board, keeps its state in the URL, resolves its variables and draws its panels. */
import { css } from '@emotion/css';
import { DashboardCursorSync, type GrafanaTheme2 } from '@grafana/data';
import { useCallback, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { useLocation, useNavigate, useParams, useSearchParams } from 'react-router';
import { placeSections } from '../board/layout';
import { migrateBoard } from '../board/migrate';
import { interpolate } from '../board/interpolate';
import type { Board } from '../board/model';
import { parseRange } from '../board/timerange';
import { readBoardUrl, writeVariables } from '../board/urlstate';
import { scopeOf } from '../board/variables';
import { fetchBoard, fetchDataSources } from '../data/api';
import { ApiError } from '../data/http';
import { QueryRunner } from '../data/queries';
import type { DataSource } from '../board/datasource';
import { BoardContext, type BoardContextValue } from '../panels/context';
import { BoardGrid } from '../panels/grid';
import { Alert, Button, EmptyState, LoadingPlaceholder, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { EditTools, type BoardMeta, type EditState } from './board_edit_tools';
import { addPanel, emptyBoard, type Json } from './board_json';
import { BoardLinks } from './board_links';
import { exploreUrl as exploreAddress } from './explore_state';
import { SessionContext } from './session';
import { Shell, useKiosk } from './shell';
import { TimeTools, useTick } from './time_tools';
import { useBoardVariables } from './use_board_variables';
import { VariableBar } from './variable_bar';

export default function BoardPage() {
  const t = useT();
  const { uid = '' } = useParams();
  const loaded = useLoad(`board-${uid}`, async (signal) => {
    const [answer, sources] = await Promise.all([uid === '' ? newBoard(t('edit.newBoard')) : fetchBoard(uid, signal), fetchDataSources(signal)]);
    return { uid, base: migrateBoard(answer.dashboard).json, meta: answer.meta as BoardMeta, sources };
  });
  if (loaded.value?.uid === uid) {
    return <EditableBoard key={uid} {...loaded.value} reload={loaded.reload} />;
  }
  return (
    <Shell crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('boards.title'), to: '/dashboards' }, { text: uid }]}>
      {loaded.error && !loaded.loading ? <LoadFailed error={loaded.error} onRetry={loaded.reload} /> : <LoadingPlaceholder text={t('common.loading')} />}
    </Shell>
  );
}

function newBoard(title: string): { dashboard: unknown; meta: Record<string, unknown> } {
  return { dashboard: emptyBoard(title), meta: { canSave: true } };
}

interface EditableProps {
  uid: string;
  base: Json;
  meta: BoardMeta;
  sources: readonly DataSource[];
  reload: () => void;
}

/** EditableBoard draws what is edited, or what was saved while nothing is. */
function EditableBoard({ uid, base, meta, sources, reload }: EditableProps) {
  const t = useT();
  const navigate = useNavigate();
  const { state } = useLocation() as { state: { addPanel?: Json } | null };
  // Explore sends a panel along; it is a change like any other until it is saved.
  const [draft, setDraft] = useState<Json | null>(() => (state?.addPanel && meta.canSave ? addPanel(base, t('edit.newPanel'), state.addPanel).board : null));
  const [problem, setProblem] = useState('');
  const board = useMemo(() => migrateBoard(draft ?? base), [draft, base]);
  const change = useCallback((next: Json | null) => {
    try {
      if (next) {
        migrateBoard(next);
      }
      setDraft(next);
      setProblem('');
    } catch (err) {
      // JSON that is no board is not drawn; the text stays in the editor.
      setProblem(err instanceof Error ? err.message : String(err));
    }
  }, []);
  const edit: EditState = {
    uid, meta, base, draft, problem, change, reload: () => (setDraft(null), reload()), deleted: () => void navigate('/dashboards'),
    saved: (result) => {
      setDraft(null);
      if (result.uid === uid) {
        reload();
      } else {
        void navigate(result.url);
      }
    },
  };
  return <BoardView uid={uid} board={board} sources={sources} edit={edit} />;
}

function LoadFailed({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const t = useT();
  if (error instanceof ApiError && error.status === 404) {
    return <EmptyState variant="not-found" hideImage message={t('board.notFound')} />;
  }
  return (
    <Alert severity="error" title={error.message} buttonContent={t('common.retry')} onRemove={onRetry} />
  );
}

interface ViewProps {
  uid: string;
  board: Board;
  sources: readonly DataSource[];
}

function BoardView({ uid, board, sources, edit }: ViewProps & { edit: EditState }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const [params, setParams] = useSearchParams();
  const url = useMemo(() => readBoardUrl(params, board), [params, board]);
  const [tick, refreshNow] = useTick(url.refresh);
  const runner = useMemo(() => new QueryRunner(), []);
  // A relative range moves with every tick; all panels of a tick share the same two instants.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const range = useMemo(() => parseRange(url.from, url.to, url.timezone), [url.from, url.to, url.timezone, tick]);
  const patch = useCallback(
    (change: (p: URLSearchParams) => URLSearchParams, replace = false) => setParams((p) => change(new URLSearchParams(p)), { replace }),
    [setParams]
  );
  const variables = useBoardVariables({ board, sources, range, wanted: url.vars, onSettled: (v) => patch((p) => writeVariables(p, v), true) });
  const context = useBoardContextValue({ uid, board, sources, range, url, tick, runner, variables: variables.resolved, patch });
  const sections = useMemo(() => (variables.resolved ? placeSections(board.sections, scopeOf(variables.resolved)) : null), [board, variables.resolved]);
  useEscape(url.viewPanel !== null, () => context.onView(null));
  const title = interpolate(board.title, context.scope, { format: 'text' });
  const kiosk = useKiosk();
  return (
    <Shell
      crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('boards.title'), to: '/dashboards' }, { text: title }]}
      tools={<TimeTools range={range} timeZone={url.timezone} refresh={url.refresh} intervals={board.refreshIntervals} onRefresh={refreshNow} patch={patch} />}
    >
      <BoardContext.Provider value={context}>
      <div className={styles.board}>
        <div className={styles.bar} hidden={kiosk} style={kiosk ? { display: 'none' } : undefined}>
          {variables.resolved && <VariableBar resolved={variables.resolved} onChange={variables.change} />}
          <BoardLinks board={board} scope={context.scope} params={params} variables={variables.resolved ?? []} />
          <EditTools edit={edit} sources={sources} range={range} />
          {url.viewPanel !== null && (
            <Button variant="secondary" icon="arrow-left" onClick={() => context.onView(null)}>
              {t('board.backToBoard')}
            </Button>
          )}
        </div>
        {board.notes.map((n) => (
          <Alert key={n} severity="warning" title={n} />
        ))}
        {!sections && <LoadingPlaceholder text={t('common.loading')} />}
        {sections?.length === 0 && <EmptyState variant="not-found" hideImage message={t('board.emptyBoard')} />}
        {sections && <BoardGrid sections={sections} viewing={url.viewPanel} />}
      </div>
      </BoardContext.Provider>
    </Shell>
  );
}

interface ContextInput extends ViewProps {
  range: BoardContextValue['range'];
  url: ReturnType<typeof readBoardUrl>;
  tick: number;
  runner: QueryRunner;
  variables: Parameters<typeof scopeOf>[0] | null;
  patch: (change: (p: URLSearchParams) => URLSearchParams) => void;
}

function useBoardContextValue({ uid, board, sources, range, url, tick, runner, variables, patch }: ContextInput): BoardContextValue {
  const session = useContext(SessionContext);
  const { pathname, search } = useLocation();
  const here = useRef('');
  here.current = pathname + search;
  const scope = useMemo(() => scopeOf(variables ?? []), [variables]);
  const builtins = useMemo(
    () => ({ __dashboard: board.title, '__user.login': session?.user.login ?? '', __user: session?.user.login ?? '', __org: '1' }),
    [board.title, session]
  );
  const onZoom = useCallback(
    (r: { from: number; to: number }) =>
      patch((p) => {
        p.set('from', String(Math.round(r.from)));
        p.set('to', String(Math.round(r.to)));
        return p;
      }),
    [patch]
  );
  const onView = useCallback(
    (id: number | null) =>
      patch((p) => {
        if (id === null) {
          p.delete('viewPanel');
        } else {
          p.set('viewPanel', String(id));
        }
        return p;
      }),
    [patch]
  );
  const exploreUrl = useCallback(
    (queries: readonly { expr: string; legend?: string }[], source: string) => exploreAddress(queries, { source, from: url.from, to: url.to, back: here.current.startsWith('/d/') ? here.current : '' }),
    [url.from, url.to]
  );
  const sync = board.graphTooltip === 2 ? DashboardCursorSync.Tooltip : board.graphTooltip === 1 ? DashboardCursorSync.Crosshair : DashboardCursorSync.Off;
  return useMemo(
    () => ({
      annotations: board.annotations, boardTitle: board.title, boardUid: uid, scope, sources, range, timeZone: url.timezone, tick, runner, builtins, sync, syncScope: `board-${uid}`,
      onZoom, onView, viewing: url.viewPanel, exploreUrl,
    }),
    [board.annotations, board.title, uid, scope, sources, range, url.timezone, url.viewPanel, tick, runner, builtins, sync, onZoom, onView, exploreUrl]
  );
}

/** useEscape calls back on the Escape key, unless something else (a menu, an editor) took it. */
function useEscape(active: boolean, onEscape: () => void): void {
  useEffect(() => {
    if (!active) {
      return;
    }
    const listen = (e: KeyboardEvent) => {
      if (e.key === 'Escape' && !e.defaultPrevented) {
        onEscape();
      }
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  }, [active, onEscape]);
}

const getStyles = (theme: GrafanaTheme2) => ({
  board: css({ padding: theme.spacing(2), minHeight: '100%', display: 'flex', flexDirection: 'column' }),
  bar: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1, 2), alignItems: 'center', '&:not(:empty)': { marginBottom: theme.spacing(1) } }),
});
