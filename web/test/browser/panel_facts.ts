/** What the panels of an open board say, read from the page, and what their JSON asks for. */
import type { Page } from 'playwright-core';

/** Said is one panel as a person sees it. */
export interface Said {
  id: number;
  type: string;
  title: string;
  state: string;
  inView: boolean;
  /** Something was drawn from data, or the panel needs none. */
  drawn: boolean;
  crashed: boolean;
  unknown: boolean;
  /** Why a query failed. */
  error: string;
  /** The sentence of a panel without data. */
  empty: string;
  /** The metric that the sentence says is not there. */
  missingMetric: string;
  text: string;
}

/** facts reads every panel that is on the page. */
export async function facts(page: Page): Promise<Said[]> {
  return page.evaluate(() => {
    const clean = (s: string | null | undefined) => (s ?? '').trim().replace(/\s+/g, ' ');
    return [...document.querySelectorAll<HTMLElement>('[data-testid=panel]')].map((panel) => {
      const state = panel.querySelector<HTMLElement>('[data-testid=panel-state]');
      const title = clean(panel.querySelector('h2, h6, [data-testid*="header-title"]')?.textContent);
      const empty = clean(panel.querySelector('[data-testid=panel-empty] [role=status] span')?.textContent);
      const sentence = clean(panel.querySelector('[role=status] span')?.textContent);
      const text = clean(panel.innerText).replace(title, '').trim();
      const crashed = sentence.includes('could not be drawn');
      const unknown = /^Panels of type .* cannot be drawn here/.test(sentence);
      return {
        inView: panel.getBoundingClientRect().top < window.innerHeight && panel.getBoundingClientRect().bottom > 0,
        id: Number(panel.dataset.panelId), type: panel.dataset.panelType ?? '', title, state: state?.dataset.state ?? '',
        drawn: sentence === '' && (panel.querySelector('canvas, table, img, [role=grid], svg.chart, [data-testid=panel-content] *') !== null || text !== ''),
        crashed, unknown, error: state?.dataset.state === 'error' ? sentence || 'a query failed' : '', empty,
        missingMetric: /^No metric "([^"]+)" in this workspace/.exec(empty)?.[1] ?? '', text: text.slice(0, 600),
      };
    });
  });
}

export interface RawPanel {
  id?: number;
  type?: string;
  title?: string;
  collapsed?: boolean;
  panels?: RawPanel[];
}

export interface RawBoard {
  title?: string;
  panels?: RawPanel[] | null;
  rows?: ({ collapse?: boolean; panels?: RawPanel[] } | null)[] | null;
  __inputs?: { name: string; type: string; pluginId?: string; value?: string }[];
}

/** rawPanels lists the panels of a board's JSON that are not in a collapsed row. */
export function rawPanels(board: RawBoard): RawPanel[] {
  const own = (board.panels ?? []).filter((p) => p.type !== 'row');
  const ofRows = (board.rows ?? []).flatMap((r) => (r?.collapse ? [] : (r?.panels ?? [])));
  return [...own, ...ofRows].filter((p) => p.type !== 'row');
}
