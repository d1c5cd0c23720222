/** The board page: loads a board, keeps its state in the URL, resolves its variables and draws its panels. */
import { css } from '@emotion/css';
import { DashboardCursorSync, type GrafanaTheme2 } from '@grafana/data';
import { lazy, Suspense, useCallback, useContext, useEffect, useMemo, useRef, useState } from 'react';
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
import { BoardContext, type BoardContextValue, type BoardEditing } from '../panels/context';
import { BoardGrid } from '../panels/grid';
import { Alert, Button, EmptyState, LoadingPlaceholder, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { EditTools, type BoardMeta, type EditState } from './board_edit_tools';
import { addPanel, changeRow, duplicatePanel, emptyBoard, removePanel, writeLayout, type Json } from './board_json';
import { BoardLinks } from './board_links';
import { exploreUrl as exploreAddress } from './explore_state';
import { SessionContext } from './session';
import { Shell, useKiosk } from './shell';
import { TimeTools, useTick } from './time_tools';
import { useDraft } from './use_draft';
import { useBoardVariables } from './use_board_variables';
import { VariableBar } from './variable_bar';

const PanelEditor = lazy(() => import('./panel_editor'));

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
  const draft = useDraft(() => (state?.addPanel && meta.canSave ? addPanel(base, t('edit.newPanel'), state.addPanel).board : null));
  const [arranging, arrange] = useState(uid === '' && meta.canSave === true);
  const board = useMemo(() => migrateBoard(draft.value ?? base), [draft.value, base]);
  const edit: EditState = {
    uid, meta, base, draft, arranging, arrange, reload: () => (draft.discard(), reload()), deleted: () => void navigate('/dashboards'),
    saved: (result) => {
      draft.discard();
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
  const editing = useEditing(edit, board.json, patch);
  const context = useBoardContextValue({ uid, board, sources, range, url, tick, runner, variables: variables.resolved, patch, editing });
  const screen = { sources, range, variables: variables.resolved ?? [] };
  const editPanel = editing ? readEditPanel(params) : null;
  const sections = useMemo(() => (variables.resolved ? placeSections(board.sections, scopeOf(variables.resolved)) : null), [board, variables.resolved]);
  useEscape(url.viewPanel !== null && editPanel === null, () => context.onView(null));
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
          <EditTools edit={edit} screen={screen} />
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
        {sections && editPanel === null && <BoardGrid sections={sections} viewing={url.viewPanel} />}
        {sections && editPanel !== null && (
          <Suspense fallback={<LoadingPlaceholder text={t('common.loading')} />}>
            <PanelEditor
              key={editPanel} panelId={editPanel} board={board.json} sections={sections} screen={screen} problem={edit.draft.problem} onChange={edit.draft.change}
              onClose={() => patch((p) => (p.delete('editPanel'), p))}
            />
          </Suspense>
        )}
      </div>
      </BoardContext.Provider>
    </Shell>
  );
}

/** readEditPanel is the panel that the address says is being edited. */
function readEditPanel(params: URLSearchParams): number | null {
  const id = /^(?:panel-)?(\d+)$/.exec(params.get('editPanel') ?? '')?.[1];
  return id === undefined ? null : Number(id);
}

/** useEditing gives the board's panels what a person who may save it can do to them. */
function useEditing(edit: EditState, json: Json, patch: (change: (p: URLSearchParams) => URLSearchParams) => void): BoardEditing | undefined {
  const { arranging, draft, meta } = edit;
  const { change } = draft;
  return useMemo(
    () =>
      meta.canSave !== true
        ? undefined
        : {
            arranging,
            onEdit: (id) => patch((p) => (p.set('editPanel', String(id)), p.delete('viewPanel'), p)),
            onDuplicate: (id) => change(duplicatePanel(json, id).board),
            onRemove: (id) => change(removePanel(json, id)),
            onLayout: (layout) => change(writeLayout(json, layout)),
            onRow: (id, title) => change(changeRow(json, id, title)),
          },
    [meta.canSave, arranging, change, json, patch]
  );
}

interface ContextInput extends ViewProps {
  range: BoardContextValue['range'];
  url: ReturnType<typeof readBoardUrl>;
  tick: number;
  runner: QueryRunner;
  variables: Parameters<typeof scopeOf>[0] | null;
  patch: (change: (p: URLSearchParams) => URLSearchParams) => void;
  editing: BoardEditing | undefined;
}

function useBoardContextValue({ uid, board, sources, range, url, tick, runner, variables, patch, editing }: ContextInput): BoardContextValue {
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
      onZoom, onView, viewing: url.viewPanel, exploreUrl, edit: editing,
    }),
    [board.annotations, board.title, uid, scope, sources, range, url.timezone, url.viewPanel, tick, runner, builtins, sync, onZoom, onView, exploreUrl, editing]
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
