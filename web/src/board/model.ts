/**
 * The board model: what a Grafana dashboard is after migration. Everything past `migrate.ts` reads these types and never the
 * imported JSON, so old forms are handled in one place. Pure data; nothing here touches the network or the DOM.
 */
import type { DataTransformerConfig, FieldConfigSource } from '@grafana/data';

/** DataSourceRef names where a panel or target reads from, in any of the forms boards use. */
export interface DataSourceRef {
  type?: string;
  uid?: string;
}

/** GridPos places a panel on the 24-column grid; one unit of height is 30 px plus an 8 px gap. */
export interface GridPos {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** Target is one query of a panel. */
export interface Target {
  refId: string;
  expr: string;
  legendFormat: string;
  format: 'time_series' | 'table' | 'heatmap';
  /** Both may be set: Grafana's "Both" asks for a range and an instant result. */
  range: boolean;
  instant: boolean;
  interval: string;
  intervalFactor: number;
  hide: boolean;
  datasource: DataSourceRef | null;
  /** The panel whose answer is shown again, for the source `-- Dashboard --`. */
  panelId?: number;
  withTransforms?: boolean;
}

/** PanelLink is a link in a panel's header or a board's toolbar. */
export interface PanelLink {
  title: string;
  url: string;
  targetBlank: boolean;
}

/** Panel is one visualisation with its queries. */
export interface Panel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: GridPos;
  datasource: DataSourceRef | null;
  targets: Target[];
  interval: string;
  maxDataPoints: number | null;
  timeFrom: string;
  timeShift: string;
  hideTimeOverride: boolean;
  transparent: boolean;
  options: Record<string, unknown>;
  fieldConfig: FieldConfigSource;
  transformations: DataTransformerConfig[];
  links: PanelLink[];
  repeat: string;
  repeatDirection: 'h' | 'v';
  maxPerRow: number;
}

/** Row groups panels under a title; its panels are queried only while it is open. */
export interface Row {
  id: number;
  title: string;
  collapsed: boolean;
  repeat: string;
}

/** Section is a row (or the part above the first one) with its panels. */
export interface Section {
  row: Row | null;
  panels: Panel[];
}

export type VariableType = 'query' | 'custom' | 'constant' | 'textbox' | 'datasource' | 'interval' | 'adhoc' | 'unsupported';

export interface VariableOption {
  text: string;
  value: string;
}

/** Variable is the definition of one template variable; its value lives in VariableValue. */
export interface Variable {
  name: string;
  type: VariableType;
  originalType: string;
  label: string;
  description: string;
  /** 0 shows label and value, 1 hides the label, 2 hides the variable. */
  hide: number;
  query: string;
  datasource: DataSourceRef | null;
  regex: string;
  sort: number;
  /** 0 never, 1 on load, 2 when the time range changes. */
  refresh: number;
  multi: boolean;
  includeAll: boolean;
  allValue: string;
  current: { text: string[]; value: string[] };
  options: VariableOption[];
  auto: boolean;
  autoCount: number;
  autoMin: string;
  regexApplyTo: 'value' | 'text';
  /** Whether a reader may type a value that is no option. */
  allowCustomValue: boolean;
  /** The stored filters of an ad hoc variable. */
  filters: AdHocFilter[];
}

/** AdHocFilter is one matcher a reader adds to every query of a data source. */
export interface AdHocFilter {
  key: string;
  /** One of = != =~ !~ < > and their multi-value relatives =| !=|. */
  operator: string;
  value: string;
}

/** Annotation is one query whose results are marked on every time axis. */
export interface Annotation {
  name: string;
  enable: boolean;
  hide: boolean;
  builtIn: boolean;
  color: string;
  datasource: DataSourceRef | null;
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
  tagKeys: string[];
  useValueForTime: boolean;
  tags: string[];
  /** The panels meant: those of panelIds, or all but those; an empty list means all. */
  exclude: boolean;
  panelIds: number[];
}

/** BoardLink is a link of the board's toolbar: one URL, or every board carrying the tags. */
export interface BoardLink {
  title: string;
  type: 'link' | 'dashboards';
  url: string;
  tags: string[];
  includeVars: boolean;
  keepTime: boolean;
  targetBlank: boolean;
}

/** Board is a whole migrated dashboard. */
export interface Board {
  uid: string;
  title: string;
  description: string;
  tags: string[];
  schemaVersion: number;
  time: { from: string; to: string };
  timezone: string;
  weekStart: string;
  fiscalYearStartMonth: number;
  refresh: string;
  refreshIntervals: string[];
  /** Ends relative ranges this long before now, where samples arrive late. */
  nowDelay: string;
  /** 0 no shared cursor, 1 shared crosshair, 2 shared tooltip. */
  graphTooltip: number;
  variables: Variable[];
  annotations: Annotation[];
  sections: Section[];
  links: BoardLink[];
  /** Inputs an exported board asks for; their `${DS_X}` references stand for the default data source. */
  inputs: string[];
  /** What migration could not carry over, one sentence each. */
  notes: string[];
  /** The modern JSON the model was read from: what an editor changes and what is exported. */
  json: Record<string, unknown>;
  /** The JSON as it was imported. */
  original: unknown;
}

/** ALL is the value Grafana keeps for "every option". */
export const ALL = '$__all';

/** allPanels lists every panel of a board, in sections' order. */
export function allPanels(board: Board): Panel[] {
  return board.sections.flatMap((s) => s.panels);
}
