/** The time series chart: Grafana's own plot, legend and tooltip, with series hiding, zoom by dragging and a shared crosshair. */
import {
  compareArrayValues, compareDataFrameStructures, DashboardCursorSync, EventBusSrv, getFieldDisplayName, type DataFrame, type LinkModel, type TimeRange,
} from '@grafana/data';
import { SortOrder, TooltipDisplayMode, type VizLegendOptions } from '@grafana/schema';
import {
  getFieldDisplayItems, getFieldDisplayLinks, isTooltipScrollable, PanelContextProvider, SeriesVisibilityChangeMode, TimeSeries, TooltipPlugin2, VizTooltipColorIndicator,
  VizTooltipColorPlacement, VizTooltipContent, VizTooltipFooter, VizTooltipHeader, VizTooltipWrapper, type PanelContext,
} from '@grafana/ui';
import { useMemo, useRef, useState } from 'react';
import { MarkList } from './mark_list';
import { drawMarks, marksAt, type Mark } from './marks';
import { nextVisible } from './visibility';

export interface TimeSeriesVizProps {
  frames: DataFrame[];
  width: number;
  height: number;
  timeRange: TimeRange;
  timeZone: string;
  legend: VizLegendOptions;
  tooltip: { mode: TooltipDisplayMode; sort: SortOrder; maxHeight?: number; hideZeros?: boolean };
  sync: DashboardCursorSync;
  syncScope: string;
  onZoom: (range: { from: number; to: number }) => void;
  marks?: readonly Mark[];
}

const HOVER_ONE = 0;
const HOVER_ALL = 1;

/** TimeSeriesViz draws frames that had their field options applied. */
export function TimeSeriesViz(props: TimeSeriesVizProps) {
  const { frames, legend, tooltip } = props;
  const [visible, setVisible] = useState<ReadonlySet<string> | null>(null);
  const [sort, setSort] = useState<{ by: string; desc: boolean } | null>(null);
  const shown = useMemo(() => hideSeries(frames, visible), [frames, visible]);
  const structureRev = useStructureRev(shown);
  const names = useMemo(() => seriesNames(frames), [frames]);
  const context = usePanelContextValue(names, visible, setVisible, setSort, props.sync, props.syncScope);
  const marks = useRef<readonly Mark[]>(NO_MARKS);
  marks.current = props.marks ?? NO_MARKS;
  const marked = useRef(new WeakSet<object>());
  const legendOptions = useMemo(() => (sort ? { ...legend, sortBy: sort.by, sortDesc: sort.desc } : legend), [legend, sort]);
  return (
    <PanelContextProvider value={context}>
      <TimeSeries
        frames={shown}
        structureRev={structureRev}
        timeRange={props.timeRange}
        timeZone={props.timeZone}
        width={props.width}
        height={props.height}
        legend={legendOptions}
        options={tooltip}
      >
        {(config, aligned) => {
          // The chart makes a new config only when its structure changes; each gets the marks once.
          if (!marked.current.has(config)) {
            marked.current.add(config);
            drawMarks(config, () => marks.current);
          }
          return (
          <TooltipPlugin2
            config={config}
            hoverMode={(tooltip.mode === TooltipDisplayMode.Single ? HOVER_ONE : HOVER_ALL) as never}
            queryZoom={props.onZoom}
            syncMode={props.sync}
            syncScope={props.syncScope}
            render={(_u, dataIdxs, seriesIdx, isPinned) =>
              tooltip.mode === TooltipDisplayMode.None ? null : (
                <SeriesTooltip frame={aligned} dataIdxs={dataIdxs} seriesIdx={seriesIdx} isPinned={isPinned} tooltip={tooltip} marks={marks.current} />
              )
            }
          />
          );
        }}
      </TimeSeries>
    </PanelContextProvider>
  );
}

interface TooltipProps {
  frame: DataFrame;
  dataIdxs: Array<number | null>;
  seriesIdx: number | null;
  isPinned: boolean;
  tooltip: TimeSeriesVizProps['tooltip'];
  marks: readonly Mark[];
}

function SeriesTooltip({ frame, dataIdxs, seriesIdx, isPinned, tooltip, marks }: TooltipProps) {
  const x = frame.fields[0];
  if (!x) {
    return null;
  }
  const at = dataIdxs[0] ?? 0;
  const items = getFieldDisplayItems(
    frame.fields, x, dataIdxs, seriesIdx, tooltip.mode, tooltip.sort,
    (f) => !f.config.custom?.hideFrom?.tooltip && !f.config.custom?.hideFrom?.viz, tooltip.hideZeros
  );
  const time = x.display?.(x.values[at]).text ?? '';
  const near = marksAt(marks, Number(x.values[at]), spacing(x.values));
  const links = isPinned && seriesIdx !== null ? linksOf(frame, seriesIdx, dataIdxs[seriesIdx] ?? null) : [];
  return (
    <VizTooltipWrapper>
      <VizTooltipHeader item={{ label: '', value: time, colorIndicator: VizTooltipColorIndicator.series, colorPlacement: VizTooltipColorPlacement.hidden }} isPinned={isPinned} />
      <VizTooltipContent items={items} isPinned={isPinned} scrollable={isTooltipScrollable({ mode: tooltip.mode, maxHeight: tooltip.maxHeight ?? 400 })} maxHeight={tooltip.maxHeight ?? 400} />
      <MarkList marks={near} />
      {links.length > 0 && <VizTooltipFooter dataLinks={links} />}
    </VizTooltipWrapper>
  );
}

function spacing(times: readonly number[]): number {
  const [first = 0] = times;
  return times.length > 1 ? ((times[times.length - 1] ?? first) - first) / (times.length - 1) : 0;
}

/** The data links of one point; a tooltip shows them once it is pinned by a click. */
function linksOf(frame: DataFrame, seriesIdx: number, row: number | null): LinkModel[] {
  const field = frame.fields[seriesIdx];
  return field && row !== null ? getFieldDisplayLinks(field, row) : [];
}

const NO_MARKS: readonly Mark[] = [];

function seriesNames(frames: DataFrame[]): string[] {
  return frames.flatMap((frame) => frame.fields.slice(1).map((f) => getFieldDisplayName(f, frame, frames)));
}

/** hideSeries marks all but the picked series as hidden; null shows every one. */
function hideSeries(frames: DataFrame[], visible: ReadonlySet<string> | null): DataFrame[] {
  if (!visible) {
    return frames;
  }
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((f, i) => {
      if (i === 0 || visible.has(getFieldDisplayName(f, frame, frames))) {
        return f;
      }
      const custom = { ...f.config.custom, hideFrom: { ...f.config.custom?.hideFrom, viz: true } };
      return { ...f, config: { ...f.config, custom } };
    }),
  }));
}

function useStructureRev(frames: DataFrame[]): number {
  const ref = useRef({ frames, rev: 1 });
  if (ref.current.frames !== frames) {
    const same = compareArrayValues(ref.current.frames, frames, compareDataFrameStructures);
    ref.current = { frames, rev: same ? ref.current.rev : ref.current.rev + 1 };
  }
  return ref.current.rev;
}

function usePanelContextValue(
  names: string[],
  visible: ReadonlySet<string> | null,
  setVisible: (v: ReadonlySet<string> | null) => void,
  setSort: (update: (prev: { by: string; desc: boolean } | null) => { by: string; desc: boolean } | null) => void,
  sync: DashboardCursorSync,
  syncScope: string
): PanelContext {
  const eventBus = useMemo(() => new EventBusSrv(), []);
  return useMemo<PanelContext>(
    () => ({
      eventBus,
      eventsScope: syncScope,
      sync: () => sync,
      onToggleSeriesVisibility: (label, mode) => {
        const picked = label === null ? [] : Array.isArray(label) ? label : [label];
        setVisible(picked.length === 0 ? null : nextVisible(names, visible, picked, mode === SeriesVisibilityChangeMode.AppendToSelection));
      },
      onToggleLegendSort: (by) => setSort((prev) => (prev?.by !== by ? { by, desc: true } : prev.desc ? { by, desc: false } : null)),
    }),
    [eventBus, names, visible, setVisible, setSort, sync, syncScope]
  );
}
