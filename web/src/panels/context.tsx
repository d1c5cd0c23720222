/** What every panel of a page shares: variables, range, data sources, the query runner and where links lead. */
import type { DashboardCursorSync, TimeRange } from '@grafana/data';
import { createContext, useContext } from 'react';
import type { SectionLayout } from '../board/arrange';
import type { DataSource } from '../board/datasource';
import type { Scope } from '../board/interpolate';
import type { Annotation } from '../board/model';
import type { QueryRunner } from '../data/queries';

/** BoardEditing is what readers who may change a board can do to its panels. */
export interface BoardEditing {
  /** Panels show handles to move and size them by. */
  arranging: boolean;
  onEdit: (panelId: number) => void;
  onDuplicate: (panelId: number) => void;
  onRemove: (panelId: number) => void;
  onLayout: (layout: SectionLayout[]) => void;
  /** Names a row anew, or with null takes it away. */
  onRow: (rowId: number, title: string | null) => void;
}

export interface BoardContextValue {
  edit?: BoardEditing;
  boardTitle: string;
  boardUid: string;
  scope: Scope;
  sources: readonly DataSource[];
  range: TimeRange;
  timeZone: string;
  /** Grows with every refresh; panels ask again when it does. */
  tick: number;
  runner: QueryRunner;
  /** The board's annotation queries. */
  annotations?: readonly Annotation[];
  builtins: Readonly<Record<string, string>>;
  sync: DashboardCursorSync;
  syncScope: string;
  onZoom: (range: { from: number; to: number }) => void;
  onView: (panelId: number | null) => void;
  viewing: number | null;
  /** The address that opens Explore with these queries; from there a reader comes back to this board. */
  exploreUrl: (queries: readonly { expr: string; legend?: string }[], sourceUid: string) => string;
}

export const BoardContext = createContext<BoardContextValue | null>(null);

export function useBoardContext(): BoardContextValue {
  const value = useContext(BoardContext);
  if (!value) {
    throw new Error('a panel is drawn outside of a board');
  }
  return value;
}
