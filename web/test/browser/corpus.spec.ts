/**
 * Published boards, opened against a real server that has the last hour of a recorded cluster. Each panel must have its title and either something
 * drawn from its data or a sentence why not; nothing may crash or complain. By default these are the boards of test/boards and every twelfth of
 * ../shared/dashboards beside the checkout; MANGRU_CORPUS names a folder whose boards are all opened, MANGRU_UNFOLD=1 unfolds their rows too. MANGRU_REPORT is a file that takes what every panel said.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, canFill, startFilled, type Filled } from './filled.ts';
import { launch, open, settled, SHOTS, signIn, type Opened } from './harness.ts';
import { facts, rawPanels, type RawBoard, type Said } from './panel_facts.ts';

const SHARED = resolve(import.meta.dirname, '../../../../shared/dashboards');
const FORMS = resolve(import.meta.dirname, '../boards');
const PAGES = 2;
/** Height of what is read at once, less than the window by what stands around the board. */
const SCREEN = 5500;

function boardsIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((f) => f.endsWith('.json')).sort().map((f) => join(folder, f)) : [];
}

const corpus = process.env.MANGRU_CORPUS;
const files = canFill ? [...boardsIn(FORMS), ...(corpus === undefined ? boardsIn(SHARED).filter((_, i) => i % 12 === 0) : boardsIn(corpus))] : [];

/** blank: nothing is drawn, and no sentence says why. */
function blank(p: Said): boolean {
  return !p.drawn && p.error === '' && p.text === '' && p.empty === '';
}

/** waiting: it is blank still, or has not yet found out why it is empty. */
function waiting(p: Said): boolean {
  return blank(p) || p.empty === 'No data.';
}

/** readAll reads a board screen by screen, as panels ask for data only while they are in sight, and what is drawn appears a moment after its data. */
async function readAll(page: Page): Promise<Said[]> {
  const read: Said[] = [];
  for (let top = 0, all = SCREEN; top < all; top += SCREEN) {
    all = await page.evaluate((y) => {
      const main = document.querySelector('#content') as HTMLElement;
      main.scrollTop = y;
      return main.scrollHeight;
    }, top);
    await settled(page);
    const until = performance.now() + 10_000;
    for (let wait = true; wait; ) {
      (await facts(page)).forEach((p, i) => (read[i] = !read[i] || waiting(read[i]) ? p : read[i]));
      wait = performance.now() < until && read.some((p) => p.inView && waiting(p));
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
  }
  return read;
}

interface Opening {
  file: string;
  took: number;
  complaints: string[];
  panels: Said[];
  problems: string[];
}

describe.skipIf(files.length === 0)('published boards on recorded data', () => {
  let browser: Browser;
  let server: Filled;
  let first: Opened;
  let metrics: ReadonlySet<string>;
  const openings: Opening[] = [];

  beforeAll(async () => {
    browser = await launch();
    server = await startFilled();
    // Logos that boards fetch from elsewhere are blocked, as they should be.
    first = await open(browser, 'dark', /Loading the image '.*' violates/);
    await signIn(first.page, server.url, server.token);
    const [source] = await call<{ uid: string }[]>(first.context.request, server.url, 'GET', '/api/datasources');
    const names = await call<{ data: string[] }>(first.context.request, server.url, 'GET', `/api/datasources/proxy/uid/${source?.uid}/api/v1/label/__name__/values`);
    metrics = new Set(names.data);
    const queue = files.map((file, i) => ({ file, uid: `corpus-${i}` }));
    await Promise.all(Array.from({ length: PAGES }, async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        openings.push(await openBoard(next.file, next.uid, String(source?.uid)));
      }
    }));
  }, corpus === undefined ? 600_000 : 3_600_000);
  afterAll(async () => {
    if (process.env.MANGRU_REPORT !== undefined) {
      writeFileSync(process.env.MANGRU_REPORT, JSON.stringify(openings, null, 1));
    }
    await browser?.close();
    await server?.close();
  });

  async function openBoard(file: string, uid: string, source: string): Promise<Opening> {
    const began = performance.now();
    const raw = JSON.parse(readFileSync(file, 'utf8')) as RawBoard;
    const inputs = (raw.__inputs ?? []).map((i) => ({ ...i, value: i.type === 'datasource' ? source : (i.value ?? '') }));
    await call(first.context.request, server.url, 'POST', '/api/dashboards/import', { dashboard: { ...raw, uid, id: null, title: `${raw.title} (${uid})` }, inputs, overwrite: true });
    const page = await first.context.newPage();
    const complaints: string[] = [];
    page.on('console', (m) => ['error', 'warning'].includes(m.type()) && !/Failed to load resource|Loading the image '.*' violates/.test(m.text()) && complaints.push(m.text()));
    page.on('pageerror', (e) => complaints.push(`uncaught: ${e.message}`));
    try {
      await page.setViewportSize({ width: 1440, height: 6000 });
      await page.goto(`${server.url}/d/${uid}?from=${server.from}&to=${server.to}&refresh=`);
      await page.waitForSelector('[data-testid=panel], h2 button[aria-expanded]');
      if (process.env.MANGRU_UNFOLD) {
        // Unfolding a row takes it out of the list, so the first one is always the next.
        const folded = page.locator('h2 button[aria-expanded=false]');
        for (let n = await folded.count(); n > 0; n--) {
          await folded.first().click();
        }
      }
      const panels = await readAll(page);
      if (process.env.MANGRU_SHOTS !== undefined) {
        await page.screenshot({ path: join(SHOTS, `corpus-${file.split('/').at(-1)?.replace(/\.json$/, '')}.png`), clip: { x: 0, y: 0, width: 1440, height: 2400 } });
      }
      return { file, took: Math.round(performance.now() - began), complaints, panels, problems: problemsOf(raw, panels) };
    } catch (err) {
      return { file, took: Math.round(performance.now() - began), complaints, panels: [], problems: [`not opened: ${String(err).slice(0, 300)}`] };
    } finally {
      await page.close();
    }
  }

  /** problemsOf compares what the panels say with what the board's JSON asks for. */
  function problemsOf(raw: RawBoard, panels: readonly Said[]): string[] {
    const out: string[] = [];
    for (const p of panels) {
      const where = `panel ${p.id} ${p.type} "${p.title}"`;
      if (p.crashed) {
        out.push(`${where}: crashed: ${p.text}`);
      } else if (p.unknown) {
        out.push(`${where}: unknown type`);
      } else if (p.error !== '') {
        out.push(`${where}: ${p.error}`);
      } else if (p.missingMetric !== '' && metrics.has(p.missingMetric)) {
        out.push(`${where}: says that ${p.missingMetric} does not exist, but it does`);
      } else if (blank(p)) {
        out.push(`${where}: neither drawn nor a sentence`);
      }
    }
    const titles = new Set(panels.map((p) => p.title));
    for (const p of rawPanels(raw)) {
      const title = (p.title ?? '').trim().replace(/\s+/g, ' ');
      if (title !== '' && !title.includes('$') && !titles.has(title)) {
        out.push(`panel ${p.id} "${title}": its title is not on the board`);
      }
    }
    return out;
  }

  it('opens every board without a complaint of the browser', () => {
    expect(openings.filter((o) => o.complaints.length > 0).map((o) => [o.file, o.complaints.slice(0, 3)])).toEqual([]);
    expect(openings).toHaveLength(files.length);
  });

  it('has data in every panel of the old forms', () => {
    const forms = openings.find((o) => o.file.endsWith('typical-old-forms.json'));
    expect(forms?.panels.filter((p) => !p.drawn).map((p) => [p.title, p.text])).toEqual([]);
    const said = (title: string) => forms?.panels.find((p) => p.title === title)?.text ?? '';
    expect(said('Up')).toContain('ALL UP');
    expect(said('Load')).toMatch(/\d\.\d\d/);
    expect(said('Full')).toMatch(/\d%/);
    expect(said('Memory')).toMatch(/total.*GiB/);
    expect(said('Processor')).toMatch(/busy .*%/);
    expect(said('Pods by namespace')).toMatch(/default.*kube-system/);
    expect(forms?.panels.map((p) => p.title)).toEqual(expect.arrayContaining(['Working set of kube-system', 'Working set of default']));
  });

  it('draws at least 98 of 100 panels and 90 of 100 boards', () => {
    const panels = openings.reduce((n, o) => n + o.panels.length, 0);
    const bad = openings.flatMap((o) => o.problems.map((p) => `${o.file.split('/').at(-1)}: ${p}`));
    const whole = openings.filter((o) => o.problems.length === 0).length;
    const data = openings.reduce((n, o) => n + o.panels.filter((p) => p.drawn).length, 0);
    console.log(`${openings.length} boards, ${whole} without a problem; ${panels} panels, ${data} with data, ${bad.length} problems`);
    expect(panels).toBeGreaterThan(files.length);
    expect(data).toBeGreaterThan(files.length);
    expect(bad.length / panels, bad.join('\n')).toBeLessThanOrEqual(0.02);
    expect(whole / openings.length, bad.join('\n')).toBeGreaterThanOrEqual(0.9);
  });
});
