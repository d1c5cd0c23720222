/** One panel on a board: its frame, menu and states around the visualisation. */
import { LoadingState, textUtil, type DataFrame, type FieldConfigSource, type InterpolateFunction } from '@grafana/data';
import { Component, lazy, memo, Suspense, useMemo, useRef, useState, type ComponentType, type ReactNode } from 'react';
import { useNavigate } from 'react-router';
import { interpolate, type Scope } from '../board/interpolate';
import type { PlacedPanel } from '../board/layout';
import type { Panel } from '../board/model';
import { Button, Menu, PanelChrome, useT, useTheme2 } from '../ui';
import { useSize, useVisible } from '../ui/hooks';
import { useBoardData } from './board_data';
import { useBoardContext } from './context';
import { replacer } from './macros';
import { applyOptions, hasValues } from './prepare';
import { usePanelData, type PanelData } from './use_panel_data';
import { VISUALS, WITHOUT_QUERIES } from './registry';
import { Sentence } from './visuals/sentence';
import { noValueText, type VisualProps } from './visuals/types';

const Inspector = lazy(() => import('./inspector'));
// Few panels have anything to confess; what they say it with comes when the first one does.
const Empty = lazy(() => import('./truth').then((m) => ({ default: m.Empty })));
const Notices = lazy(() => import('./truth').then((m) => ({ default: m.Notices })));

/** PanelHost measures itself, asks for data while visible, and draws. */
export const PanelHost = memo(function PanelHost({ placed }: { placed: PlacedPanel }) {
  const { ref, width, height } = useSize<HTMLDivElement>();
  const visible = useVisible(ref);
  return (
    <div
      ref={ref}
      style={{ position: 'absolute', inset: 0 }}
      data-testid="panel"
      data-panel-id={placed.panel.id}
      data-panel-type={placed.panel.type}
    >
      {width > 0 && <SizedPanel placed={placed} width={width} height={height} visible={visible} />}
    </div>
  );
});

interface SizedProps {
  placed: PlacedPanel;
  width: number;
  height: number;
  visible: boolean;
}

function SizedPanel({ placed, width, height, visible }: SizedProps) {
  const t = useT();
  const ctx = useBoardContext();
  const { panel, scoped } = placed;
  const scope = useMemo<Scope>(() => (scoped.size === 0 ? ctx.scope : new Map([...ctx.scope, ...scoped])), [ctx.scope, scoped]);
  const { data, timeInfo, retry } = usePanelData(panel, scope, width, visible);
  const replace = useMemo(
    () => replacer(scope, { format: 'text', builtins: ctx.builtins, range: { from: data.range.from.valueOf(), to: data.range.to.valueOf() } }),
    [scope, ctx.builtins, data.range]
  );
  const title = interpolate(panel.title, scope, { format: 'text', builtins: ctx.builtins });
  const [inspecting, setInspecting] = useState<InspectorTab | null>(null);
  const [problem, setProblem] = useState('');
  const frame = useRef<HTMLDivElement>(null);
  const failed = data.errors[0];
  const partial = failed && hasValues(data.frames) && data.plan.queries.length > 1;
  const status = partial
    ? t('panel.partial', { failed: data.errors.length, all: data.plan.queries.length, reason: failed.message })
    : failed
      ? t('panel.queryError', { ref: failed.refId, reason: failed.message })
      : undefined;
  const takePicture = () => {
    const element = frame.current;
    if (element) {
      void import('./picture').then(async ({ pictureOf, save }) => save(`${title || 'panel'}.png`, await pictureOf(element))).catch((err: unknown) => setProblem(t('panel.pngFailed', { reason: err instanceof Error ? err.message : String(err) })));
    }
  };
  return (
    <div ref={frame} style={{ height: '100%' }} data-testid="panel-state" data-state={failed ? 'error' : data.state} data-queries={data.plan.queries.length}>
      <PanelChrome
        width={width}
        height={height}
        title={title}
        description={panel.description === '' ? undefined : () => textUtil.sanitize(replace(panel.description))}
        displayMode={panel.transparent ? 'transparent' : 'default'}
        padding={panel.type === 'table' && data.frames.length > 0 ? 'none' : 'md'}
        hoverHeader={title === '' ? true : undefined}
        loadingState={data.state === 'loading' ? LoadingState.Loading : undefined}
        statusMessage={problem || status || data.notices[0] || undefined}
        titleItems={
          <>
            {timeInfo !== '' && <TimeInfo text={timeInfo} />}
            <Suspense fallback={null}>{data.state === 'done' && <Notices data={data} visible={visible} onWhy={() => setInspecting('origin')} />}</Suspense>
          </>
        }
        menu={() => <PanelMenu panel={panel} data={data} onInspect={setInspecting} onPicture={takePicture} />}
      >
        {(w, h) => (
          <PanelErrorBoundary resetKey={data.frames}>
            <Body panel={panel} data={data} replace={replace} width={w} height={h} onRetry={retry} />
          </PanelErrorBoundary>
        )}
      </PanelChrome>
      {inspecting && (
        <Suspense fallback={null}>
          <Inspector panel={panel} title={title} data={data} tab={inspecting} onClose={() => setInspecting(null)} />
        </Suspense>
      )}
    </div>
  );
}

function TimeInfo({ text }: { text: string }) {
  const theme = useTheme2();
  return <span style={{ color: theme.colors.text.link, fontSize: theme.typography.bodySmall.fontSize, padding: '0 8px' }}>{text}</span>;
}

export type InspectorTab = 'data' | 'stats' | 'queries' | 'json' | 'origin';

interface MenuProps {
  panel: Panel;
  data: PanelData;
  onInspect: (tab: InspectorTab) => void;
  onPicture: () => void;
}

function PanelMenu({ panel, data, onInspect, onPicture }: MenuProps) {
  const t = useT();
  const ctx = useBoardContext();
  const navigate = useNavigate();
  const first = data.plan.queries[0];
  const viewing = ctx.viewing === panel.id;
  return (
    <Menu>
      <Menu.Item icon="eye" label={t(viewing ? 'panel.exitView' : 'panel.view')} onClick={() => ctx.onView(viewing ? null : panel.id)} />
      {first && <Menu.Item icon="compass" label={t('panel.explore')} onClick={() => void navigate(ctx.exploreUrl(asked(data.plan.queries), first.sourceUid))} />}
      {ctx.edit && <Menu.Item icon="pen" label={t('edit.edit')} onClick={() => ctx.edit?.onEdit(panel.id)} />}
      {ctx.edit && <Menu.Item icon="copy" label={t('edit.duplicate')} onClick={() => ctx.edit?.onDuplicate(panel.id)} />}
      {ctx.edit && <Menu.Item icon="trash-alt" label={t('edit.delete')} destructive onClick={() => ctx.edit?.onRemove(panel.id)} />}
      <Menu.Divider />
      <Menu.Item icon="info-circle" label={t('panel.inspectData')} onClick={() => onInspect('data')} />
      {first && <Menu.Item icon="sitemap" label={t('panel.provenance')} onClick={() => onInspect('origin')} />}
      <Menu.Item icon="file-alt" label={t('panel.inspectJson')} onClick={() => onInspect('json')} />
      <Menu.Item icon="camera" label={t('panel.png')} onClick={onPicture} />
    </Menu>
  );
}

/** asked lists a panel's queries for Explore: each once, of one data source, as Explore asks one. */
function asked(queries: PanelData['plan']['queries']): { expr: string; legend: string }[] {
  const mine = queries.filter((q) => q.sourceUid === queries[0]?.sourceUid);
  return [...new Map(mine.map((q) => [q.target.refId, { expr: q.expr, legend: q.target.legendFormat }])).values()];
}

interface BodyProps {
  panel: Panel;
  data: PanelData;
  replace: InterpolateFunction;
  width: number;
  height: number;
  onRetry: () => void;
}

function Body({ panel, data, replace, width, height, onRetry }: BodyProps) {
  const t = useT();
  const [asTable, setAsTable] = useState(false);
  const Visual = VISUALS[asTable ? 'table' : panel.type];
  if (!Visual) {
    return (
      <Sentence text={t('panel.unknownType', { type: panel.type })}>
        {hasValues(data.frames) && (
          <Button size="sm" variant="secondary" onClick={() => setAsTable(true)}>
            {t('panel.fix.table')}
          </Button>
        )}
      </Sentence>
    );
  }
  if (WITHOUT_QUERIES.has(panel.type)) {
    return <Drawn Visual={Visual} panel={panel} data={data} replace={replace} width={width} height={height} />;
  }
  if (data.plan.problem !== '' && data.plan.queries.length === 0) {
    return <Sentence text={data.plan.problem} />;
  }
  if (data.plan.queries.length === 0) {
    return <Sentence text={t('panel.noQueries')} />;
  }
  if (hasValues(data.frames)) {
    return <Drawn Visual={Visual} panel={panel} data={data} replace={replace} width={width} height={height} />;
  }
  const failed = data.errors[0];
  if (failed) {
    return (
      <Sentence text={t('panel.queryError', { ref: failed.refId, reason: failed.message })}>
        <Button size="sm" variant="secondary" onClick={onRetry}>
          {t('common.retry')}
        </Button>
      </Sentence>
    );
  }
  if (data.state !== 'done') {
    return null;
  }
  if (noValueText(panel) !== '' && panel.options.textMode !== 'name' && (panel.type === 'stat' || panel.type === 'gauge' || panel.type === 'bargauge')) {
    // The board's author said what "nothing" means here. A stat that shows only names has no place for it.
    return <Drawn Visual={Visual} panel={panel} data={data} replace={replace} width={width} height={height} />;
  }
  return (
    <Suspense fallback={null}>
      <Empty data={data} />
    </Suspense>
  );
}

interface DrawnProps {
  Visual: ComponentType<VisualProps>;
  panel: Panel;
  data: PanelData;
  replace: InterpolateFunction;
  width: number;
  height: number;
}

function Drawn({ Visual, panel, data, replace, width, height }: DrawnProps) {
  const ctx = useBoardContext();
  const marks = useBoardData().marksOf(panel.id);
  const theme = useTheme2();
  const { frames, fieldConfig } = useMemo<{ frames: DataFrame[]; fieldConfig: FieldConfigSource }>(
    () => applyOptions(panel, data.frames, theme, ctx.timeZone, replace),
    [panel, data.frames, theme, ctx.timeZone, replace]
  );
  return (
    <Suspense fallback={null}>
      <Visual
        panel={panel} frames={frames} fieldConfig={fieldConfig} width={width} height={height} range={data.range} timeZone={ctx.timeZone} replace={replace}
      sync={ctx.sync} syncScope={ctx.syncScope} onZoom={ctx.onZoom} marks={marks}
      />
    </Suspense>
  );
}

interface BoundaryProps {
  children: ReactNode;
  resetKey: unknown;
}

/** PanelErrorBoundary keeps a panel that cannot be drawn from taking the board with it. */
class PanelErrorBoundary extends Component<BoundaryProps, { error: Error | null }> {
  state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  componentDidUpdate(prev: BoundaryProps) {
    if (prev.resetKey !== this.props.resetKey && this.state.error) {
      this.setState({ error: null });
    }
  }

  render() {
    return this.state.error ? <Crashed error={this.state.error} /> : this.props.children;
  }
}

function Crashed({ error }: { error: Error }) {
  return <Sentence text={useT()('panel.crashed', { reason: error.message })} />;
}
