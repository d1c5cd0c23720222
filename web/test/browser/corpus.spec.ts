/**
 * Opens published boards in the UI, with every row unfolded, against the fake server: whatever they hold, nothing may crash. Runs when
 * MANGRU_CORPUS names a folder of dashboard JSON; it takes some minutes.
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
    for (let n = await folded.count(); n > 0; n--) {
      await folded.first().click();
    }
    await settled(o.page);
    expect(await o.page.getByText('could not be drawn').allInnerTexts()).toEqual([]);
    expect(o.complaints).toEqual([]);
  });
});
