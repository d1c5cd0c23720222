/** The board as it is being edited, with the way back and forth through its changes. */
import { useCallback, useReducer } from 'react';
import { migrateBoard } from '../board/migrate';
import type { Json } from './board_json';

export interface Draft {
  /** null while nothing is changed. */
  value: Json | null;
  problem: string;
  change: (next: Json) => void;
  discard: () => void;
  undo: (() => void) | null;
  redo: (() => void) | null;
}

interface State {
  past: (Json | null)[];
  now: Json | null;
  future: (Json | null)[];
  problem: string;
  at: number;
}

type Step = { kind: 'change'; next: Json; at: number } | { kind: 'undo' } | { kind: 'redo' } | { kind: 'discard' } | { kind: 'bad'; problem: string };

/** Changes that follow each other within this time, such as letters typed, are undone together. */
const TOGETHER_MS = 600;
const MAX_STEPS = 200;

export function stepDraft(s: State, step: Step): State {
  switch (step.kind) {
    case 'change': {
      const together = step.at - s.at < TOGETHER_MS && s.past.length > 0;
      return { past: together ? s.past : [...s.past, s.now].slice(-MAX_STEPS), now: step.next, future: [], problem: '', at: step.at };
    }
    case 'undo':
      return s.past.length === 0 ? s : { past: s.past.slice(0, -1), now: s.past.at(-1) ?? null, future: [s.now, ...s.future], problem: '', at: 0 };
    case 'redo':
      return s.future.length === 0 ? s : { past: [...s.past, s.now], now: s.future[0] ?? null, future: s.future.slice(1), problem: '', at: 0 };
    case 'discard':
      return s.now === null ? s : { past: [...s.past, s.now], now: null, future: [], problem: '', at: 0 };
    case 'bad':
      return { ...s, problem: step.problem };
  }
}

export function useDraft(first: () => Json | null): Draft {
  const [s, step] = useReducer(stepDraft, undefined, (): State => ({ past: [], now: first(), future: [], problem: '', at: 0 }));
  const change = useCallback((next: Json) => {
    try {
      migrateBoard(next);
      step({ kind: 'change', next, at: Date.now() });
    } catch (err) {
      // JSON that is no board is not drawn; the text stays in the editor.
      step({ kind: 'bad', problem: err instanceof Error ? err.message : String(err) });
    }
  }, []);
  return {
    value: s.now, problem: s.problem, change, discard: useCallback(() => step({ kind: 'discard' }), []),
    undo: s.past.length > 0 ? () => step({ kind: 'undo' }) : null, redo: s.future.length > 0 ? () => step({ kind: 'redo' }) : null,
  };
}
