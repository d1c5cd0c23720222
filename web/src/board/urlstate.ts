/** The part of a board's state that its URL holds, in Grafana's own parameters, so that links keep working both ways. */
import { ALL, type Board } from './model';
import { readTimeZone } from './timerange';

export interface BoardUrlState {
  from: string;
  to: string;
  refresh: string;
  timezone: string;
  /** The id of the panel shown alone, or null. */
  viewPanel: number | null;
  vars: ReadonlyMap<string, readonly string[]>;
}

/** readBoardUrl reads the state, taking the board's own settings for what the URL leaves out. */
export function readBoardUrl(params: URLSearchParams, board: Pick<Board, 'time' | 'refresh' | 'timezone'>): BoardUrlState {
  const vars = new Map<string, string[]>();
  for (const [key, value] of params) {
    if (key.startsWith('var-')) {
      const name = key.slice(4);
      vars.set(name, [...(vars.get(name) ?? []), value === 'All' ? ALL : value]);
    }
  }
  const view = /^(?:panel-)?(\d+)$/.exec(params.get('viewPanel') ?? '')?.[1];
  return {
    from: params.get('from') ?? board.time.from,
    to: params.get('to') ?? board.time.to,
    refresh: params.get('refresh') ?? board.refresh,
    timezone: readTimeZone(params.get('timezone') ?? board.timezone),
    viewPanel: view === undefined ? null : Number(view),
    vars,
  };
}

/** writeVariables replaces the `var-` parameters of a URL; other parameters stay as they are. */
export function writeVariables(params: URLSearchParams, values: ReadonlyMap<string, readonly string[]>): URLSearchParams {
  const next = new URLSearchParams();
  for (const [k, v] of params) {
    if (!k.startsWith('var-')) {
      next.append(k, v);
    }
  }
  for (const [name, list] of values) {
    for (const v of list.length === 0 ? [''] : list) {
      next.append(`var-${name}`, v);
    }
  }
  return next;
}
