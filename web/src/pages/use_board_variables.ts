/** Resolves a board's variables: on load, when a reader picks a value, and when the range moves. */
import type { TimeRange } from '@grafana/data';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type { DataSource } from '../board/datasource';
import type { Board } from '../board/model';
import { resolveVariables, urlValues, type Fetcher, type Resolved } from '../board/variables';
import { variableFetcher } from '../data/variable_source';

interface Input {
  board: Board;
  sources: readonly DataSource[];
  range: TimeRange;
  wanted: ReadonlyMap<string, readonly string[]>;
  /** Called with the values that were chosen when they differ from those wanted, so that the URL can follow. */
  onSettled: (values: Map<string, string[]>) => void;
}

interface Variables {
  /** null until resolved for the first time: panels must not ask with half their variables. */
  resolved: Resolved[] | null;
  change: (name: string, values: string[]) => void;
}

export function useBoardVariables({ board, sources, range, wanted, onSettled }: Input): Variables {
  const [resolved, setResolved] = useState<Resolved[] | null>(null);
  const cache = useRef(new Map<string, Promise<string[]>>());
  const settled = useRef('');
  const settle = useRef(onSettled);
  settle.current = onSettled;
  const wantedKey = keyOf(wanted);
  // Definitions change while a board is edited; most edits leave them alone.
  const definitions = useMemo(() => JSON.stringify(board.variables), [board.variables]);
  useEffect(() => {
    const rangeMs = { from: range.from.valueOf(), to: range.to.valueOf() };
    const id = `${rangeMs.from}-${rangeMs.to} ${definitions}`;
    if (settled.current === `${id} ${wantedKey}`) {
      return;
    }
    const controller = new AbortController();
    resolveVariables(board.variables, {
      sources,
      wanted,
      keepUnknown: settled.current === '',
      rangeMs: rangeMs.to - rangeMs.from,
      builtins: { builtins: { __range: `${Math.round((rangeMs.to - rangeMs.from) / 1000)}s` }, range: rangeMs },
      fetch: cached(variableFetcher(sources, rangeMs), cache.current),
      signal: controller.signal,
    }).then(
      (next) => {
        const values = urlValues(next);
        settled.current = `${id} ${keyOf(values)}`;
        setResolved((prev) => (prev && same(prev, next) ? prev : next));
        if (keyOf(values) !== wantedKey) {
          settle.current(values);
        }
      },
      (err: unknown) => {
        if (!controller.signal.aborted) {
          throw err;
        }
      }
    );
    return () => controller.abort();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- wantedKey stands for wanted, definitions for the board
  }, [definitions, sources, range, wantedKey]);
  const change = useCallback(
    (name: string, values: string[]) => {
      if (resolved) {
        settle.current(urlValues(resolved).set(name, values));
      }
    },
    [resolved]
  );
  return { resolved, change };
}

function keyOf(values: ReadonlyMap<string, readonly string[]>): string {
  return JSON.stringify([...values].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** cached keeps the answers of variables that need not follow the time range. */
function cached(fetch: Fetcher, cache: Map<string, Promise<string[]>>): Fetcher {
  return (v, query, scope, signal) => {
    if (v.refresh === 2) {
      return fetch(v, query, scope, signal);
    }
    const key = JSON.stringify([v.name, query, v.datasource]);
    const known = cache.get(key);
    if (known) {
      return known;
    }
    // A shared answer must outlive the run that asked for it first.
    const answer = fetch(v, query, scope, new AbortController().signal);
    cache.set(key, answer);
    answer.catch(() => cache.delete(key));
    return answer;
  };
}

/** same tells whether nothing a reader could see has changed, so that a refresh does not redraw the board. */
function same(a: readonly Resolved[], b: readonly Resolved[]): boolean {
  const view = (r: readonly Resolved[]) => JSON.stringify(r.map((x) => [x.definition, x.value.value, x.options, x.error]));
  return view(a) === view(b);
}
