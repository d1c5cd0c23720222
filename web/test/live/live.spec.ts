/**
 * The UI against a running Mangru: MANGRU_UI is its address, MANGRU_LOGIN_TOKEN a fresh one-time token. MANGRU_BOARDS names the boards to
 * open, by uid and with commas (default: all); MANGRU_VALUES is a file that takes what their panels say, as JSON.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, open, settled, SHOTS, signIn, type Opened } from '../browser/harness.ts';

const base = process.env.MANGRU_UI?.replace(/\/$/, '') ?? '';
const token = process.env.MANGRU_LOGIN_TOKEN ?? '';
/** Boards whose panels must all have data, by uid; without it, every board. The others must open without errors all the same. */
const filled = process.env.MANGRU_BOARDS?.split(',');
/** A query that must have data: by default the one every scrape answers. */
const query = process.env.MANGRU_QUERY ?? 'scrape_samples_scraped';

describe.skipIf(base === '' || token === '')('a running server', () => {
  let browser: Browser;
  let o: Opened;
  let boards: { uid: string; title: string }[] = [];

  beforeAll(async () => {
    browser = await launch();
    o = await open(browser);
    await signIn(o.page, base, token);
    const all = (await (await o.context.request.get(`${base}/api/search?type=dash-db`)).json()) as typeof boards;
    boards = all.filter((b) => !filled || filled.includes(b.uid));
    expect(boards).toHaveLength(filled?.length ?? all.length);
  });
  afterAll(() => browser?.close());

  async function both(shoot: (scheme: 'dark' | 'light') => Promise<void>) {
    for (const scheme of ['dark', 'light'] as const) {
      await o.page.emulateMedia({ colorScheme: scheme });
      o.complaints.length = 0;
      await shoot(scheme);
      expect(o.complaints).toEqual([]);
    }
  }

  /** What the panels in view say: single values by title, tables by "table TITLE" with a row a line. */
  const spoken = () =>
    o.page.evaluate(() => {
      const said: Record<string, string> = {};
      for (const panel of document.querySelectorAll<HTMLElement>('[data-testid=panel]')) {
        const title = panel.querySelector('h2, h6, [data-testid*="header-title"]')?.textContent ?? '';
        const rows = [...panel.querySelectorAll('[role=row]')].map((r) =>
          [...r.querySelectorAll('[role=gridcell], [role=columnheader]')].map((c) => c.textContent).join(' | ')
        );
        if (panel.dataset.panelType === 'table') {
          said[`table ${title}`] = rows.join('\n');
        } else if (panel.dataset.panelType === 'stat') {
          said[title] = panel.querySelector('[data-testid=panel-value]')?.textContent ?? panel.innerText.replace(title, '').trim();
        }
      }
      return said;
    });

  it('uses a login link once', async () => {
    const second = await open(browser, 'dark', /401/);
    await second.page.goto(`${base}/login#token=${encodeURIComponent(token)}`);
    await second.page.getByRole('alert').first().waitFor();
    await second.context.close();
  });

  it('shows home with targets up', () =>
    both(async (scheme) => {
      await o.page.goto(`${base}/`);
      await o.page.getByText('Targets up').waitFor();
      await o.page.screenshot({ path: join(SHOTS, `live-home-${scheme}.png`), fullPage: true });
    }));

  it('draws a query in Explore as graph and table', () =>
    both(async (scheme) => {
      await o.page.goto(`${base}/explore?expr=${encodeURIComponent(query)}&from=now-15m&to=now`);
      await o.page.getByTestId('explore-graph').locator('canvas').waitFor();
      await o.page.getByTestId('explore-table').getByRole('row').nth(1).waitFor();
      await o.page.screenshot({ path: join(SHOTS, `live-explore-${scheme}.png`) });
    }));

  it('shows the same number as the API', async () => {
    const sources = (await (await o.context.request.get(`${base}/api/datasources`)).json()) as { uid: string }[];
    const time = Math.floor(Date.now() / 1000);
    const answer = await o.context.request.get(`${base}/api/datasources/proxy/uid/${sources[0]?.uid}/api/v1/query`, { params: { query: 'count(up)', time } });
    const want = ((await answer.json()) as { data: { result: { value: [number, string] }[] } }).data.result[0]?.value[1];
    await o.page.goto(`${base}/explore?expr=count(up)&kind=instant`);
    await o.page.getByTestId('explore-table').getByRole('gridcell', { name: want, exact: true }).waitFor();
  });

  it('opens every board with data in every panel it can see, no errors, in both themes', async () => {
    expect(boards.length).toBeGreaterThan(0);
    const values: Record<string, Record<string, string>> = {};
    for (const { uid, title } of boards) {
      await both(async (scheme) => {
        await o.page.setViewportSize({ width: 1440, height: 3000 });
        await o.page.goto(`${base}/d/${uid}?from=now-15m&to=now`);
        await settled(o.page);
        const failed = await o.page.locator('[data-testid=panel-state][data-state=error]').allInnerTexts();
        const empty = await o.page.locator('[data-testid=panel]:has([data-testid=panel-empty])').allInnerTexts();
        await o.page.screenshot({ path: join(SHOTS, `live-board-${uid}-${scheme}.png`) });
        expect({ title, failed, empty }).toEqual({ title, failed: [], empty: [] });
        values[uid] = await spoken();
      });
    }
    if (process.env.MANGRU_VALUES !== undefined) {
      writeFileSync(process.env.MANGRU_VALUES, JSON.stringify(values));
    }
  });
});
