/** What every visualisation gets: frames that had their options applied, room to draw in, and what the panels of a page share. */
import type { DashboardCursorSync, DataFrame, FieldConfigSource, InterpolateFunction, TimeRange } from '@grafana/data';
import { LegendDisplayMode, SortOrder, TooltipDisplayMode, type VizLegendOptions } from '@grafana/schema';
import { oneOf } from '../options';
import { obj, str, strings } from '../../board/json';
import type { Panel } from '../../board/model';
import type { Mark } from '../../ui/viz/marks';

export interface VisualProps {
  panel: Panel;
  frames: DataFrame[];
  fieldConfig: FieldConfigSource;
  width: number;
  height: number;
  range: TimeRange;
  timeZone: string;
  replace: InterpolateFunction;
  sync: DashboardCursorSync;
  syncScope: string;
  onZoom: (range: { from: number; to: number }) => void;
  /** Annotations to mark on the time axis. */
  marks?: readonly Mark[];
}

/** legendOptions reads a legend in today's form, with Grafana's defaults. */
export function legendOptions(raw: unknown): VizLegendOptions {
  const l = obj(raw);
  const hidden = l.showLegend === false || l.displayMode === 'hidden';
  return {
    showLegend: !hidden,
    displayMode: l.displayMode === 'table' ? LegendDisplayMode.Table : LegendDisplayMode.List,
    placement: l.placement === 'right' ? 'right' : 'bottom',
    calcs: strings(l.calcs),
    ...(str(l.sortBy) === '' ? {} : { sortBy: str(l.sortBy), sortDesc: l.sortDesc === true }),
    ...(typeof l.width === 'number' ? { width: l.width } : {}),
  };
}

/** tooltipOptions reads a tooltip's mode and order. */
export function tooltipOptions(raw: unknown): { mode: TooltipDisplayMode; sort: SortOrder; hideZeros: boolean; maxHeight?: number } {
  const o = obj(raw);
  return {
    mode: oneOf(o.mode, [TooltipDisplayMode.Single, TooltipDisplayMode.Multi, TooltipDisplayMode.None], TooltipDisplayMode.Single),
    sort: oneOf(o.sort, [SortOrder.None, SortOrder.Ascending, SortOrder.Descending], SortOrder.None),
    hideZeros: o.hideZeros === true,
    ...(typeof o.maxHeight === 'number' ? { maxHeight: o.maxHeight } : {}),
  };
}

/** noValueText is what a panel shows in place of a value when its options name one. */
export function noValueText(panel: Panel): string {
  return str(panel.fieldConfig.defaults.noValue);
}

