/** What the browser tests share: Chromium, a signed-in page, and the rule that nothing may appear in the console. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

export const SHOTS = process.env.MANGRU_SHOTS ?? join(import.meta.dirname, '../../../out/web-screenshots');

export function launch(): Promise<Browser> {
  mkdirSync(SHOTS, { recursive: true });
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS });
}

export interface Opened {
  context: BrowserContext;
  page: Page;
  /** Console errors and warnings, uncaught errors and failed loads, as they come. */
  complaints: string[];
}

/** open makes a fresh browser profile; answers the test expects to fail are named in `expected`. */
export async function open(browser: Browser, colorScheme: 'dark' | 'light' = 'dark', expected: RegExp = /$^/): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, colorScheme, locale: 'en-US', timezoneId: 'UTC' });
  const page = await context.newPage();
  const complaints: string[] = [];
  const note = (s: string) => {
    if (!expected.test(s)) {
      complaints.push(s);
    }
  };
  page.on('console', (m) => ['error', 'warning'].includes(m.type()) && !m.text().startsWith('Failed to load resource') && note(`${m.type()}: ${m.text()}`));
  page.on('pageerror', (e) => note(`uncaught: ${e.message}`));
  page.on('response', (r) => r.status() >= 400 && note(`${r.status()} ${new URL(r.url()).pathname}`));
  return { context, page, complaints };
}

/** signIn uses the one-time link as a person would. */
export async function signIn(page: Page, base: string, token: string): Promise<void> {
  await page.goto(`${base}/login#token=${encodeURIComponent(token)}`);
  await page.waitForURL((u) => !u.pathname.startsWith('/login'));
}

/** settled waits until every panel that was asked for has its answer drawn. */
export async function settled(page: Page): Promise<void> {
  await page.waitForSelector('[data-testid=panel-state], [data-testid=explore-stats]');
  await page.waitForFunction(() => {
    const inView = (e: Element) => {
      const r = e.getBoundingClientRect();
      return r.top < window.innerHeight && r.bottom > 0;
    };
    const states = [...document.querySelectorAll<HTMLElement>('[data-testid=panel-state]')].filter(inView);
    const queried = states.filter((s) => s.dataset.state !== 'done' && s.dataset.state !== 'error');
    return queried.every((s) => s.dataset.state === 'idle' && s.dataset.queries === '0');
  });
}
