import { expect, it } from 'vitest';
import { stepDraft } from './use_draft';

it('goes back and forth, and takes quick changes together', () => {
  const type = (title: string, at: number) => ({ kind: 'change', next: { title }, at }) as const;
  let s = [type('a', 1000), type('ab', 1100), type('abc', 5000)].reduce(stepDraft, { past: [], now: null, future: [], problem: '', at: 0 } as Parameters<typeof stepDraft>[0]);
  const titles: unknown[] = [];
  for (const kind of ['undo', 'undo', 'undo', 'redo', 'redo', 'redo', 'undo', 'discard', 'undo'] as const) {
    s = stepDraft(s, { kind });
    titles.push(s.now?.title ?? null);
  }
  expect(titles).toEqual(['ab', null, null, 'ab', 'abc', 'abc', 'ab', null, 'ab']);
  expect(stepDraft(s, type('x', 9000)).future).toEqual([]);
});
