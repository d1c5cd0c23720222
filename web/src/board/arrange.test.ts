import { describe, expect, it } from 'vitest';
import { clampPos, movePanel, nudge } from './arrange';
import type { PlacedPanel } from './layout';
import type { GridPos, Panel } from './model';

const at = (key: string, x: number, y: number, w: number, h: number) => ({ key, panel: { id: 1 } as Panel, scoped: new Map(), pos: { x, y, w, h } }) as PlacedPanel;
const places = (panels: readonly PlacedPanel[] | null) => Object.fromEntries((panels ?? []).map((p) => [p.key, [p.pos.x, p.pos.y, p.pos.w, p.pos.h].join(' ')]));
const to = (x: number, y: number, w: number, h: number): GridPos => ({ x, y, w, h });

describe('movePanel', () => {
  const three = [at('a', 0, 0, 12, 8), at('b', 12, 0, 12, 8), at('c', 0, 8, 24, 6)];

  it('pushes what is in the way down and closes gaps', () => {
    expect(places(movePanel(three, 'c', to(0, 0, 24, 6)))).toEqual({ c: '0 0 24 6', a: '0 6 12 8', b: '12 6 12 8' });
    expect(places(movePanel(three, 'a', to(12, 0, 12, 8)))).toEqual({ a: '12 0 12 8', b: '12 8 12 8', c: '0 16 24 6' });
  });

  it('lets a panel go up into the room that one moved down leaves', () => {
    const two = [at('a', 0, 0, 24, 8), at('b', 0, 8, 24, 8)];
    expect(places(movePanel(two, 'a', to(0, 8, 24, 8)))).toEqual({ b: '0 0 24 8', a: '0 8 24 8' });
  });

  it('sizes', () => {
    expect(places(movePanel(three, 'a', to(0, 0, 18, 8)))).toEqual({ a: '0 0 18 8', b: '12 8 12 8', c: '0 16 24 6' });
    expect(clampPos(to(20, -3, 40, 0))).toEqual(to(0, 0, 24, 1));
  });

  it('never leaves two panels on one another, whatever is moved where', () => {
    let seed = 7;
    const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    for (let round = 0; round < 200; round++) {
      let panels = Array.from({ length: 8 }, (_, i) => at(String(i), random(18), random(20), 1 + random(6), 1 + random(6)));
      for (let i = 0; i < 4; i++) {
        panels = movePanel(panels, String(random(8)), to(random(30), random(30), 1 + random(24), 1 + random(10)));
        expect(panels).toHaveLength(8);
        for (const a of panels) {
          expect(a.pos.x >= 0 && a.pos.x + a.pos.w <= 24).toBe(true);
          expect(panels.filter((b) => b !== a && a.pos.x < b.pos.x + b.pos.w && b.pos.x < a.pos.x + a.pos.w && a.pos.y < b.pos.y + b.pos.h && b.pos.y < a.pos.y + a.pos.h)).toEqual([]);
        }
      }
    }
  });
});

describe('nudge', () => {
  const three = [at('a', 0, 0, 12, 8), at('b', 12, 0, 12, 8), at('c', 0, 8, 12, 6)];

  it('moves by a column, and past the next panel', () => {
    expect(places(nudge(three, 'c', 1, 0)).c).toBe('1 8 12 6');
    expect(places(nudge(three, 'c', 0, -1)).c).toBe('0 0 12 6');
    expect(places(nudge(three, 'a', 0, 1))).toMatchObject({ a: '0 6 12 8', c: '0 0 12 6' });
  });

  it('says where there is no further', () => {
    expect(nudge(three, 'a', -1, 0)).toBeNull();
    expect(nudge(three, 'a', 0, -1)).toBeNull();
    expect(nudge(three, 'c', 0, 1)).toBeNull();
  });
});
