/** Which component draws a panel type. Each is a script of its own, loaded when a board first shows such a panel. */
import { lazy, type ComponentType } from 'react';
import type { VisualProps } from './visuals/types';

type Visual = ComponentType<VisualProps>;

const timeline = lazy(() => import('./visuals/state_timeline'));
const bars = lazy(() => import('./visuals/bar_chart'));

export const VISUALS: Readonly<Record<string, Visual>> = {
  timeseries: lazy(() => import('./visuals/time_series')),
  stat: lazy(() => import('./visuals/stat')),
  gauge: lazy(() => import('./visuals/gauge')),
  bargauge: lazy(() => import('./visuals/bar_gauge')),
  table: lazy(() => import('./visuals/table')),
  text: lazy(() => import('./visuals/text')),
  piechart: lazy(() => import('./visuals/pie')),
  heatmap: lazy(() => import('./visuals/heatmap')),
  'state-timeline': timeline,
  'status-history': timeline,
  barchart: bars,
  histogram: bars,
  alertlist: lazy(() => import('./visuals/alert_list')),
  dashlist: lazy(() => import('./visuals/board_list')),
};

/** Types that draw without a query of their own. */
export const WITHOUT_QUERIES: ReadonlySet<string> = new Set(['text', 'alertlist', 'dashlist']);
