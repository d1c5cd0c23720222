/** Panels of every type, what they confess, and hostile texts wherever a board or a series can put them. */
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HOSTILE } from '../fake/prometheus.ts';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { launch, open, settled, SHOTS, signIn, type Opened } from './harness.ts';

let browser: Browser;
let fake: FakeServer;
let o: Opened;

beforeAll(async () => {
  browser = await launch();
  fake = await startFake();
  fake.releaseSlow();
  o = await open(browser, 'dark');
  await o.page.setViewportSize({ width: 1440, height: 2400 });
  await signIn(o.page, fake.url, TOKEN);
});
afterAll(async () => {
  await browser?.close();
  await fake?.close();
});
beforeEach(() => {
  fake.everything = false;
  fake.doubled = false;
  fake.requests.length = 0;
  o.complaints.length = 0;
});

const panel = (id: number, type: string, exprs: string[], more: object = {}) => ({
  id, type, title: `${type} ${id}`, gridPos: { x: ((id - 1) % 3) * 8, y: Math.floor((id - 1) / 3) * 8, w: 8, h: 8 },
  targets: exprs.map((expr, i) => ({ refId: 'ABC'[i], expr, legendFormat: '{{pod}}' })), ...more,
});

async function show(board: object, query = '') {
  fake.extra.set('own', { title: 'Own', schemaVersion: 39, time: { from: 'now-1h', to: 'now' }, ...board });
  await o.page.goto(`${fake.url}/d/own?refresh=${query}`);
  await settled(o.page);
  return o.page;
}

it('draws every type', async () => {
  fake.everything = true;
  const table = (expr: string) => ({ targets: [{ refId: 'A', expr, format: 'table', instant: true, range: false }] });
  const page = await show({
    panels: [
      panel(1, 'timeseries', ['sum by (pod) (x)']), panel(2, 'stat', ['x']), panel(3, 'gauge', ['x']), panel(4, 'bargauge', ['x']), panel(5, 'table', [], table('x')),
      panel(6, 'piechart', ['sum by (pod) (x)']), panel(7, 'heatmap', [], { targets: [{ refId: 'A', expr: 'sum by (le) (x)', format: 'heatmap', legendFormat: '{{le}}' }] }),
      panel(8, 'state-timeline', ['sum by (pod) (x)']), panel(9, 'status-history', ['sum by (pod) (x)'], { interval: '5m' }), panel(10, 'barchart', [], table('sum by (pod) (x)')),
      panel(11, 'histogram', ['x']), panel(12, 'text', [], { options: { mode: 'markdown', content: '# Hello' } }), panel(13, 'alertlist', []),
      panel(14, 'dashlist', [], { options: { showSearch: true, showStarred: false } }), panel(15, 'logs', ['x']),
    ],
  });
  const at = (id: number) => page.locator(`[data-panel-id="${id}"]`);
  await Promise.all([
    at(1).locator('canvas').waitFor(), at(5).getByRole('gridcell').first().waitFor(), at(6).getByRole('img', { name: /alpha: .*%/ }).waitFor(), at(7).locator('canvas').waitFor(),
    at(8).getByRole('img', { name: /alpha, beta|beta, alpha/ }).waitFor(), at(9).locator('canvas').waitFor(), at(10).getByRole('img', { name: /alpha/ }).first().waitFor(),
    at(11).locator('rect').first().waitFor(), at(12).getByRole('heading', { name: 'Hello' }).waitFor(), at(13).getByText('NodeDown').waitFor(), at(14).getByRole('link').first().waitFor(),
  ]);
  await at(15).getByText('Panels of type "logs" cannot be drawn here.').waitFor();
  await at(15).getByRole('button', { name: 'Show as table' }).click();
  await at(15).getByRole('gridcell').first().waitFor();
  await page.screenshot({ path: join(SHOTS, 'types-dark.png') });
  expect(o.complaints).toEqual([]);
});

it('keeps hostile texts inert wherever they stand', async () => {
  const url = 'javascript:window.__xss=1';
  const links = [{ title: HOSTILE, url }];
  const page = await show({
    title: HOSTILE, links: [{ type: 'link', title: HOSTILE, url }],
    templating: { list: [{ name: 'v', label: HOSTILE, type: 'custom', query: HOSTILE.replace(/,/g, ''), current: { text: HOSTILE, value: HOSTILE } }] },
    panels: [
      panel(1, 'timeseries', ['hostile_metric'], { title: HOSTILE, description: HOSTILE, links, fieldConfig: { defaults: { displayName: HOSTILE, links, unit: HOSTILE } } }),
      panel(2, 'text', [], { options: { mode: 'markdown', content: `${HOSTILE} [x](${url}) <script>window.__xss=1</script> $v` } }),
      panel(3, 'text', [], { options: { mode: 'html', content: `${HOSTILE}<svg onload="window.__xss=1"><a xlink:href="${url}">y</a></svg><iframe srcdoc="<script>parent.__xss=1</script>"></iframe><a href="${url}">z</a>` } }),
      panel(4, 'table', [], { targets: [{ refId: 'A', expr: 'hostile_metric', format: 'table', instant: true, range: false }], fieldConfig: { defaults: { links } } }),
      panel(5, 'stat', ['hostile_metric'], { options: { textMode: 'name' }, fieldConfig: { defaults: { links } } }),
      panel(6, 'bargauge', ['hostile_metric']), panel(7, 'piechart', ['hostile_metric']), panel(8, 'state-timeline', ['hostile_metric']), panel(9, 'alertlist', []),
      panel(10, 'gauge', ['hostile_metric'], { fieldConfig: { defaults: { noValue: HOSTILE, mappings: [{ type: 'range', options: { from: -1e9, to: 1e9, result: { text: HOSTILE } } }] } } }),
    ],
  });
  await page.locator('[data-panel-id="9"]').getByText('onerror').waitFor();
  await page.locator('[data-panel-id="1"] .u-over').hover({ position: { x: 60, y: 60 } });
  expect(await page.evaluate(() => (window as { __xss?: number }).__xss)).toBeUndefined();
  expect(await page.evaluate(() => [...document.querySelectorAll('a')].filter((a) => /^\s*javascript:/i.test(a.getAttribute('href') ?? a.getAttribute('xlink:href') ?? '')).length)).toBe(0);
  expect(await page.locator('[data-testid=panel] :is(script, iframe[srcdoc], [onerror], [onload])').count()).toBe(0);
});

describe('the truth', () => {
  it('names two jobs that scrape one target, once per board', async () => {
    fake.doubled = true;
    const page = await show({ panels: [panel(1, 'timeseries', ['sum(node_load1)'])] });
    await page.getByRole('button', { name: /Jobs kubernetes-pods, node-exporter both scrape node_load1 from 10.1.101.166:9100/ }).click();
    await page.waitForURL(/explore\?expr=count\+by/);
  });

  it('adds ad hoc filters to every query and keeps them in the URL', async () => {
    const filters = { name: 'Filters', type: 'adhoc', datasource: { type: 'prometheus', uid: 'ws' } };
    const page = await show({ templating: { list: [filters] }, panels: [panel(1, 'timeseries', ['sum(rate(node_network_receive_bytes_total[5m]))'])] }, `&var-Filters=${encodeURIComponent('job|=|node-exporter')}`);
    await expect.poll(() => fake.requests.some((r) => r.query === 'sum(rate(node_network_receive_bytes_total{job="node-exporter"}[5m]))')).toBe(true);
    expect(fake.requests.some((r) => r.query === 'sum(rate(node_network_receive_bytes_total[5m]))')).toBe(false);
    await page.getByRole('button', { name: 'Remove filter job = node-exporter' }).click();
    await expect.poll(() => fake.requests.some((r) => r.query === 'sum(rate(node_network_receive_bytes_total[5m]))')).toBe(true);
  });

  it('shows where numbers come from, what queries cost, and the same numbers as the API', async () => {
    const page = await show({ panels: [panel(1, 'stat', ['sum(up)'], { fieldConfig: { defaults: { unit: 'none', decimals: 0 } } })] });
    const answered = await page.evaluate(async () => {
      const csrf = ((await (await fetch('/api/user')).json()) as { csrfToken: string }).csrfToken;
      const body = new URLSearchParams({ query: 'sum(up)', time: String(Date.now() / 1000) });
      const r = (await (await fetch('/api/datasources/proxy/uid/ws/api/v1/query', { method: 'POST', body, headers: { 'X-CSRF-Token': csrf } })).json()) as { data: { result: { value: [number, string] }[] } };
      return r.data.result[0]?.value[1] ?? '';
    });
    await expect.poll(() => page.locator('[data-panel-id="1"]').innerText()).toContain(answered);
    await page.locator('[data-panel-id="1"] section').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem', { name: 'Where it comes from' }).click();
    await page.getByRole('columnheader', { name: 'Last scrape' }).waitFor();
    await page.getByRole('tab', { name: 'Statistics' }).click();
    await page.getByRole('columnheader', { name: 'Points' }).waitFor();
    expect(o.complaints).toEqual([]);
  });
});
