/** The UI alone, against the fake server: states, keyboard, hostile texts, both themes. Nothing here needs Go. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AxeBuilder } from './axe.ts';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { launch, open, settled, SHOTS, signIn, type Opened } from './harness.ts';

let browser: Browser;
let fake: FakeServer;
let o: Opened;

beforeAll(async () => {
  if (!existsSync(join(import.meta.dirname, '../../dist/index.html'))) {
    throw new Error('the UI is not built: run npm run build first');
  }
  browser = await launch();
});
afterAll(() => browser?.close());

beforeEach(async () => {
  fake = await startFake();
});
afterEach(async () => {
  await o?.context.close();
  await fake.close();
});

async function signedIn(path = '/', scheme: 'dark' | 'light' = 'dark', expected?: RegExp) {
  o = await open(browser, scheme, expected);
  await signIn(o.page, fake.url, TOKEN);
  await o.page.goto(fake.url + path);
  return o.page;
}

/** openMenu works as a keyboard does: the panel takes the focus, the next stop is its menu. */
async function openMenu(page: Page, panel: Locator) {
  await panel.locator('section').focus();
  await page.keyboard.press('Tab');
  await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? '')).toContain('Menu for panel');
  await page.keyboard.press('Enter');
}

const queries = () => fake.requests.filter((r) => r.path.endsWith('/query_range') || r.path.endsWith('/query'));

describe('sign-in', () => {
  it('sends people to the sign-in page and back to where they wanted, without the token in the address', async () => {
    o = await open(browser, 'dark', /401 \/api\/user/);
    const { page } = o;
    await page.goto(`${fake.url}/d/nodes?var-node=x`);
    await page.waitForURL(/\/login\?redirectTo=/);
    await page.getByText('mangru login-link').waitFor();
    await page.screenshot({ path: join(SHOTS, 'login-dark.png') });
    await page.evaluate((t) => (window.location.hash = `token=${t}`), TOKEN);
    await page.waitForURL(/\/d\/nodes/);
    expect(page.url()).not.toContain(TOKEN);
    expect(fake.requests.every((r) => !r.query.includes(TOKEN))).toBe(true);
    expect(o.complaints).toEqual([]);
  });

  it('explains a link that was used before', async () => {
    o = await open(browser, 'dark', /401/);
    await o.page.goto(`${fake.url}/login#token=old`);
    await o.page.getByText('the link has expired or was used').waitFor();
    expect(o.page.url()).not.toContain('old');
  });

  it('signs out', async () => {
    const page = await signedIn('/', 'dark', /401/);
    await page.getByRole('button', { name: /Sign out/ }).click();
    await page.waitForURL(/\/login/);
  });
});

describe('home', () => {
  it('shows the state at a glance, addresses and boards', async () => {
    const page = await signedIn('/');
    await page.getByRole('heading', { name: 'Watching cluster eks-workshop' }).waitFor();
    await page.getByText('Down: kubelet 10.1.1.9:10250').waitFor();
    await page.getByRole('link', { name: /Node \(Groups\)/ }).waitFor();
    expect(await page.getByRole('button', { name: /^Copy: / }).count()).toBeGreaterThanOrEqual(8);
    await page.screenshot({ path: join(SHOTS, 'home-dark.png'), fullPage: true });
    expect(o.complaints).toEqual([]);
  });

  it('helps while no data has arrived', async () => {
    fake.empty = true;
    const page = await signedIn('/');
    await page.getByText('No sample has arrived').waitFor();
  });

  it('speaks Korean', async () => {
    const page = await signedIn('/');
    await page.getByRole('button', { name: '한국어' }).click();
    await page.getByRole('heading', { name: '클러스터 eks-workshop 관찰 중' }).waitFor();
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('ko');
    await page.reload();
    await page.getByRole('heading', { name: '다음 단계' }).waitFor();
  });
});

describe('boards', () => {
  it('searches', async () => {
    const page = await signedIn('/dashboards');
    await page.getByText('3 dashboards').waitFor();
    await page.getByPlaceholder('Search dashboards').fill('eks');
    await page.getByText('1 dashboard', { exact: true }).waitFor();
    expect(page.url()).toContain('query=eks');
  });

  it.each(['nodes', 'cluster'] as const)('draws %s in both themes', async (uid) => {
    for (const scheme of ['dark', 'light'] as const) {
      const page = await signedIn(`/d/${uid}`, scheme);
      await settled(page);
      expect(await page.locator('[data-testid=panel-state][data-state=error]').count()).toBe(0);
      await page.screenshot({ path: join(SHOTS, `${uid}-${scheme}.png`) });
      expect(o.complaints).toEqual([]);
      await o.context.close();
    }
  });

  it('asks only for what is visible and open, identical queries once, and again on refresh', async () => {
    fake.extra.set('twins', { title: 'Twins', panels: [0, 1, 2].map((i) => ({ id: i + 1, type: 'timeseries', title: `t${i}`, gridPos: { x: i * 8, y: 0, w: 8, h: 8 }, targets: [{ refId: 'A', expr: 'node_load1' }] })).concat([{ id: 9, type: 'timeseries', title: 'below', gridPos: { x: 0, y: 200, w: 8, h: 60 }, targets: [{ refId: 'A', expr: 'node_load5' }] } as never]) });
    let page = await signedIn('/d/cluster');
    await settled(page);
    expect(queries().some((q) => q.query.includes('container_cpu_usage'))).toBe(false);
    await page.getByRole('button', { name: /Pods of All/ }).press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=panel-state][data-state=done]').length >= 7);
    expect(queries().some((q) => q.query.includes('container_cpu_usage'))).toBe(true);
    await o.context.close();
    fake.requests.length = 0;
    page = await signedIn('/d/twins');
    await settled(page);
    expect(queries().filter((q) => q.query === 'node_load1')).toHaveLength(1);
    await page.getByRole('button', { name: /Refresh/ }).first().click();
    await expect.poll(() => queries().filter((q) => q.query === 'node_load1').length).toBe(2);
  });

  it('holds its state in the URL: variables in their order, range, a panel alone', async () => {
    const page = await signedIn('/d/nodes?var-nodegroup=spot&from=now-15m&to=now');
    await settled(page);
    expect(new URL(page.url()).searchParams.getAll('var-node')).toEqual(['$__all']);
    const load = queries().filter((q) => q.query.startsWith('node_load1'));
    expect(load.at(-1)?.query).toBe('node_load1{node=~"ip-10-1-102-227\\\\.ec2\\\\.internal"}');
    await page.getByText('Last 15 minutes').waitFor();
    await page.goto(`${fake.url}/d/nodes?viewPanel=5`);
    await settled(page);
    expect(await page.getByTestId('panel').count()).toBe(1);
    await page.keyboard.press('Escape');
    await page.waitForURL((u) => !u.search.includes('viewPanel'));
  });

  it('zooms by dragging', async () => {
    const page = await signedIn('/d/nodes');
    await settled(page);
    const over = page.locator('[data-panel-id="1"] .u-over');
    const box = (await over.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.25, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.75, box.y + 20, { steps: 5 });
    await page.mouse.up();
    await page.waitForURL(/from=\d{13}&to=\d{13}/);
    const p = new URL(page.url()).searchParams;
    const minutes = (Number(p.get('to')) - Number(p.get('from'))) / 60_000;
    expect(minutes).toBeGreaterThan(28);
    expect(minutes).toBeLessThan(32);
  });

  it('shows a tooltip and hides series from the legend', async () => {
    const page = await signedIn('/d/nodes');
    await settled(page);
    const panel = page.locator('[data-panel-id="8"]');
    const box = (await panel.locator('.u-over').boundingBox())!;
    await page.mouse.move(box.x + 100, box.y + 60);
    await page.mouse.move(box.x + 120, box.y + 62);
    // A tooltip of one series appears near a line, and where the lines are depends on the time of day: the chart marks them at the cursor.
    const point = (await panel.locator('.u-cursor-pt').first().boundingBox())!;
    await page.mouse.move(point.x + point.width / 2, point.y + point.height / 2, { steps: 3 });
    await page.locator('#grafana-portal-container').getByText(/^10\.1\.10\d\.166:9100/).first().waitFor();
    await page.mouse.move(5, 5);
    const item = panel.locator('button', { hasText: '10.1.101.166:9100' });
    await item.click();
    await panel.locator('button', { hasText: '10.1.102.166:9100' }).click({ modifiers: ['Control'] });
    await expect.poll(() => panel.locator('[class*="LegendLabelDisabled"]').allInnerTexts()).toEqual(['10.1.103.166:9100']);
    expect(o.complaints).toEqual([]);
  });

  it('opens the panel menu by keyboard: inspect and explore', async () => {
    const page = await signedIn('/d/nodes');
    await settled(page);
    const panel = page.locator('[data-panel-id="8"]');
    await openMenu(page, panel);
    await page.getByRole('menuitem', { name: 'Inspect data' }).click();
    await page.getByRole('button', { name: 'Download CSV' }).waitFor();
    await page.getByRole('tab', { name: 'Queries' }).click();
    await page.getByText('node_load1{node=~').waitFor();
    await page.keyboard.press('Escape');
    await openMenu(page, panel);
    await page.getByRole('menuitem', { name: 'Explore' }).click();
    await page.waitForURL(/\/explore\?expr=node_load1/);
    expect(o.complaints).toEqual([]);
  });

  it('says it when a board does not exist', async () => {
    const page = await signedIn('/d/none', 'dark', /404/);
    await page.getByText('There is no dashboard with this id.').waitFor();
  });
});

describe('panel states', () => {
  it('says why there is nothing, keeps hostile texts inert, and shows what is slow as loading', async () => {
    const page = await signedIn('/d/states', 'dark', /^400 /);
    for (const text of [
      'No metric "not_there_total" in this workspace within this time range.',
      '"node_load1" is there, but no series has node="nowhere".',
      /Query A failed: .*unclosed left parenthesis/,
      'Panels of type "nodeGraph" cannot be drawn here.',
      'The data source "cloudwatch" of query A is not supported here.',
    ]) {
      await page.getByText(text).first().waitFor();
    }
    await page.locator('[data-panel-id="7"], [data-testid=panel]').first().waitFor();
    await page.getByText('<img src=x onerror="window.__xss=1">').first().waitFor();
    const slow = page.locator('[data-testid=panel]', { hasText: 'Slow' }).getByTestId('panel-state');
    await slow.scrollIntoViewIfNeeded();
    await expect.poll(() => slow.getAttribute('data-state')).toBe('loading');
    fake.releaseSlow();
    await expect.poll(() => slow.getAttribute('data-state')).toBe('done');
    await page.screenshot({ path: join(SHOTS, 'states-dark.png') });
    expect(await page.locator('a', { hasText: /^x$/ }).getAttribute('href')).toBe('');
    expect(await page.evaluate(() => (window as { __xss?: number }).__xss)).toBeUndefined();
    expect(o.complaints).toEqual([]);
  });

  it('lets people try a failed query again', async () => {
    const page = await signedIn('/d/states', 'dark', /^400 /);
    const retry = page.getByRole('button', { name: 'Try again' });
    await retry.waitFor();
    const before = queries().filter((q) => q.query === 'sum(up').length;
    await retry.click();
    await expect.poll(() => queries().filter((q) => q.query === 'sum(up').length).toBe(before + 1);
  });
});

describe('explore', () => {
  it('completes, runs, draws graph and table, and keeps the query in the URL', async () => {
    const page = await signedIn('/explore');
    const editor = page.getByRole('textbox', { name: 'PromQL query' });
    await editor.click();
    await page.keyboard.type('node_netw');
    await page.getByRole('option', { name: /node_network_receive_bytes_total/ }).click();
    await page.keyboard.press('Shift+Enter');
    await page.waitForURL(/expr=node_network_receive_bytes_total/);
    await page.getByTestId('explore-graph').locator('canvas').waitFor();
    await page.getByTestId('explore-table').getByText('10.1.101.166:9100').waitFor();
    await page.getByText(/^3 series, \d+ ms, step/).waitFor();
    // However many labels there are, the value must be in sight.
    const table = (await page.getByTestId('explore-table').boundingBox())!;
    const value = (await page.getByTestId('explore-table').getByRole('gridcell').nth(1).boundingBox())!;
    expect(value.x + value.width).toBeLessThanOrEqual(table.x + table.width);
    await page.screenshot({ path: join(SHOTS, 'explore-dark.png') });
    expect(queries().every((q) => q.method === 'POST' && q.csrf !== '')).toBe(true);
    await page.goBack();
    await page.getByText('Write a PromQL query').waitFor();
    expect(o.complaints).toEqual([]);
  });

  it('shows errors and empty answers clearly', async () => {
    const page = await signedIn('/explore?expr=sum(up', 'dark', /^400 /);
    await page.getByText('unclosed left parenthesis').first().waitFor();
    await page.goto(`${fake.url}/explore?expr=nothing_here`);
    await page.getByText('No metric "nothing_here"').waitFor();
  });
});

describe('for everyone', () => {
  it('remembers the theme a person chose', async () => {
    const page = await signedIn('/', 'light');
    const scheme = () => page.evaluate(() => document.documentElement.style.colorScheme);
    expect(await scheme()).toBe('light');
    await page.getByRole('button', { name: 'Switch to dark theme' }).click();
    expect(await scheme()).toBe('dark');
    await page.reload();
    await page.getByRole('button', { name: 'Switch to light theme' }).waitFor();
    expect(await scheme()).toBe('dark');
  });

  it('reaches content by keyboard', async () => {
    const page = await signedIn('/dashboards');
    await page.getByText('3 dashboards').waitFor();
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to content');
  });

  it.each(['/', '/dashboards', '/d/nodes', '/d/cluster', '/explore?expr=up'])('has no serious accessibility finding on %s', async (path) => {
    for (const scheme of ['dark', 'light'] as const) {
      const page = await signedIn(path, scheme);
      await (path.startsWith('/d/') ? settled(page) : page.waitForLoadState('networkidle'));
      expect(await new AxeBuilder(page).serious()).toEqual([]);
      await o.context.close();
    }
  });

  it('fits a narrow screen', async () => {
    const page = await signedIn('/d/nodes');
    await page.setViewportSize({ width: 390, height: 800 });
    await settled(page);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    await page.screenshot({ path: join(SHOTS, 'nodes-narrow.png') });
  });
});
