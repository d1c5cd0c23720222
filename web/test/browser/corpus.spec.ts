/**
 * Opens published boards in the UI against the fake server, where every query has an answer: nothing may crash, and nearly every panel
 * is of a type that is drawn. Runs when MANGRU_CORPUS names a folder of dashboard JSON; with MANGRU_UNFOLD=1 every row is opened as well. It
 * takes some minutes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { launch, open, settled, signIn, type Opened } from './harness.ts';

const folder = process.env.MANGRU_CORPUS ?? '';
const files = folder === '' ? [] : readdirSync(folder).filter((f) => f.endsWith('.json'));

describe.skipIf(files.length === 0)('published boards', () => {
  let browser: Browser;
  let fake: FakeServer;
  let o: Opened;
  const counted = { panels: 0, unknown: 0, boards: 0, whole: 0 };

  beforeAll(async () => {
    browser = await launch();
    fake = await startFake();
    fake.everything = true;
    fake.releaseSlow();
    // Logos that boards fetch from elsewhere are blocked, as they should be.
    o = await open(browser, 'dark', /Loading the image '.*' violates/);
    await o.page.setViewportSize({ width: 1440, height: 4000 });
    await signIn(o.page, fake.url, TOKEN);
  });
  afterAll(async () => {
    await browser?.close();
    await fake?.close();
  });

  it.each(files)('%s', async (file) => {
    const uid = file.replace(/\.json$/, '').replaceAll('.', '-');
    fake.extra.set(uid, JSON.parse(readFileSync(join(folder, file), 'utf8')));
    o.complaints.length = 0;
    await o.page.goto(`${fake.url}/d/${encodeURIComponent(uid)}?refresh=`);
    await o.page.waitForSelector('[data-testid=panel], h2 button[aria-expanded]');
    // Unfolding a row takes it out of the list, so the first one is always the next.
    const folded = o.page.locator('h2 button[aria-expanded=false]');
    for (let n = process.env.MANGRU_UNFOLD ? await folded.count() : 0; n > 0; n--) {
      await folded.first().click();
    }
    await settled(o.page);
    expect(await o.page.getByText('could not be drawn').allInnerTexts()).toEqual([]);
    expect(o.complaints).toEqual([]);
    const unknown = await o.page.getByText(/^Panels of type .* cannot be drawn here/).count();
    counted.panels += await o.page.getByTestId('panel').count();
    counted.unknown += unknown;
    counted.boards += 1;
    counted.whole += unknown === 0 ? 1 : 0;
  });

  it('draws at least 98 of 100 panels and 90 of 100 boards', () => {
    expect(counted.unknown / Math.max(1, counted.panels)).toBeLessThanOrEqual(0.02);
    expect(counted.whole / Math.max(1, counted.boards)).toBeGreaterThanOrEqual(0.9);
  });
});
