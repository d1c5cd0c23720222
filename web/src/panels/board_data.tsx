/** What the panels of one board share beyond its context: annotations in view, other panels to read from, and what was found out about metrics. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import type { PlacedSection } from '../board/layout';
import type { Annotation, Panel } from '../board/model';
import type { Doubled } from '../data/provenance';
import type { Mark } from '../ui/viz/marks';
import { useBoardContext } from './context';

export interface BoardData {
  panelById: (id: number) => Panel | undefined;
  /** marksOf gives the annotations meant for a panel. */
  marksOf: (panelId: number) => readonly Mark[];
  annotations: { name: string; on: boolean; toggle: () => void }[];
  /** Answers are kept per metrics for as long as the board is open. */
  doubled: Map<string, Promise<Doubled | null>>;
}

const NO_MARKS: readonly Mark[] = [];

const Context = createContext<BoardData>({ panelById: () => undefined, marksOf: () => NO_MARKS, annotations: [], doubled: new Map() });

export function useBoardData(): BoardData {
  return useContext(Context);
}

/** The order of switching on and off is the board's; a reader's choice lasts while the board is open. */
export function BoardDataProvider({ sections, children }: { sections: readonly PlacedSection[]; children: ReactNode }) {
  const ctx = useBoardContext();
  const all = useMemo(() => (ctx.annotations ?? []).filter((a) => !a.builtIn && a.expr !== ''), [ctx.annotations]);
  const [toggled, setToggled] = useState<ReadonlyMap<string, boolean>>(new Map());
  const active = useMemo(() => all.filter((a) => toggled.get(a.name) ?? a.enable), [all, toggled]);
  const events = useEvents(active);
  const doubled = useMemo(() => new Map<string, Promise<Doubled | null>>(), []);
  const value = useMemo<BoardData>(() => {
    const panels = new Map(sections.flatMap((s) => s.panels.map((p) => [p.panel.id, p.panel])));
    const marks = new Map<number, readonly Mark[]>();
    return {
      doubled,
      panelById: (id) => panels.get(id),
      marksOf: (id) => {
        const known = marks.get(id);
        if (known) {
          return known;
        }
        const own = events.filter(({ of }) => meant(of, id)).flatMap(({ marks: m }) => m);
        marks.set(id, own.length === 0 ? NO_MARKS : own);
        return own.length === 0 ? NO_MARKS : own;
      },
      annotations: all.filter((a) => !a.hide).map((a) => {
        const on = toggled.get(a.name) ?? a.enable;
        return { name: a.name, on, toggle: () => setToggled((t) => new Map(t).set(a.name, !on)) };
      }),
    };
  }, [sections, events, all, toggled, doubled]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

function meant(a: Annotation, panelId: number): boolean {
  return a.panelIds.length === 0 ? true : a.panelIds.includes(panelId) !== a.exclude;
}

interface Events {
  of: Annotation;
  marks: Mark[];
}

const NONE: Events[] = [];

/** useEvents asks for the annotations that are on, and again with every refresh; the former ones stay until the next are there. */
function useEvents(active: readonly Annotation[]): Events[] {
  const ctx = useBoardContext();
  const [events, setEvents] = useState<Events[]>(NONE);
  useEffect(() => {
    if (active.length === 0) {
      setEvents(NONE);
      return;
    }
    const controller = new AbortController();
    const range = { from: ctx.range.from.valueOf(), to: ctx.range.to.valueOf() };
    void (async () => {
      const { fetchEvents } = await import('../data/annotations');
      const found = await Promise.allSettled(active.map((a) => fetchEvents(a, { scope: ctx.scope, sources: ctx.sources, range, signal: controller.signal })));
      if (!controller.signal.aborted) {
        setEvents(found.flatMap((f, i) => (f.status === 'fulfilled' && active[i] ? [{ of: active[i], marks: f.value }] : [])));
      }
    })();
    return () => controller.abort();
  }, [active, ctx.range, ctx.scope, ctx.sources, ctx.tick]);
  return events;
}
