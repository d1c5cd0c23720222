/** Explore against the fake server: several queries, history, the metric browser, explanations, and the ways from and to boards. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { AxeBuilder } from './axe.ts';
import { launch, open, SHOTS, signIn, settled, type Opened } from './harness.ts';

let browser: Browser;
let fake: FakeServer;
let o: Opened;
let page: Page;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());
beforeEach(async () => {
  fake = await startFake();
  o = await open(browser, 'dark');
  page = o.page;
  await signIn(page, fake.url, TOKEN);
});
afterEach(async () => {
  await o?.context.close();
  await fake.close();
});

const sent = () => fake.requests.filter((r) => r.path.endsWith('/query_range')).map((r) => r.query);
const exprs = () => new URL(page.url()).searchParams.getAll('expr');

describe('explore', () => {
  it('runs several queries into one graph and a table each, hides and removes them, and tells all of it in the address', async () => {
    await page.goto(`${fake.url}/explore?expr=node_load1&expr=node_load5&legend=one&legend=`);
    await page.getByTestId('explore-graph').locator('canvas').waitFor();
    expect(await page.getByTestId('explore-table').count()).toBe(2);
    await page.getByTestId('explore-graph').getByText('one', { exact: true }).first().waitFor();
    await page.getByRole('button', { name: 'Hide query A' }).click();
    await expect.poll(() => page.getByTestId('explore-table').count()).toBe(1);
    expect(new URL(page.url()).searchParams.get('hide')).toBe('A');
    await page.getByRole('button', { name: 'Remove query A' }).click();
    await expect.poll(exprs).toEqual(['node_load5']);
    await page.getByRole('button', { name: 'Add query' }).click();
    await page.getByRole('textbox', { name: 'PromQL query B' }).click();
    await page.keyboard.type('up');
    await page.keyboard.press('Shift+Enter');
    await expect.poll(exprs).toEqual(['node_load5', 'up']);
    await expect.poll(sent).toContain('up');
    await page.screenshot({ path: join(SHOTS, 'explore-queries.png'), fullPage: true });
    expect(await new AxeBuilder(page).serious()).toEqual([]);
    expect(o.complaints).toEqual([]);
  });

  it('says when one of several queries fails and shows the others', async () => {
    o.complaints.length = 0;
    await page.goto(`${fake.url}/explore?expr=node_load1&expr=sum(up`);
    await page.getByText('Query B failed').waitFor();
    await page.getByTestId('explore-graph').locator('canvas').waitFor();
  });

  it('keeps what was run: searched, starred, run again', async () => {
    await page.goto(`${fake.url}/explore?expr=node_load1`);
    await page.getByRole('textbox', { name: 'PromQL query' }).click();
    await page.keyboard.press('Control+a');
    await page.keyboard.type('sum(up)');
    await page.getByRole('button', { name: 'Run query' }).click();
    await expect.poll(() => fake.history.length).toBe(1);
    await page.goto(`${fake.url}/explore`);
    await page.getByRole('button', { name: 'History' }).click();
    await page.getByTestId('past-query').getByText('sum(up)').waitFor();
    await page.getByRole('button', { name: 'Star', exact: true }).click();
    await page.getByRole('button', { name: 'Remove star' }).waitFor();
    expect(fake.history[0]?.starred).toBe(true);
    await page.screenshot({ path: join(SHOTS, 'explore-history.png') });
    await page.getByPlaceholder('Search in queries').fill('nothing like it');
    await page.getByText('No query matches.').waitFor();
    await page.getByPlaceholder('Search in queries').fill('SUM');
    await page.getByRole('button', { name: 'Run: sum(up)' }).click();
    await expect.poll(exprs).toEqual(['sum(up)']);
    expect(o.complaints).toEqual([]);
  });

  it('finds a metric by its description and makes a query of labels', async () => {
    await page.goto(`${fake.url}/explore`);
    await page.getByRole('button', { name: 'Metrics' }).click();
    await page.getByPlaceholder('Search metrics').fill('help receive');
    await page.getByRole('button', { name: /node_network_receive_bytes_total/ }).click();
    await page.getByRole('button', { name: 'nodegroup' }).click();
    await page.getByRole('checkbox', { name: 'spot' }).check();
    await page.getByTestId('made-query').getByText('node_network_receive_bytes_total{nodegroup="spot"}').waitFor();
    await page.screenshot({ path: join(SHOTS, 'explore-metrics.png') });
    await page.getByRole('button', { name: 'As rate per second' }).click();
    await expect.poll(exprs).toEqual(['rate(node_network_receive_bytes_total{nodegroup="spot"}[$__rate_interval])']);
    await page.getByTestId('explore-graph').locator('canvas').waitFor();
    expect(o.complaints).toEqual([]);
  });

  it('explains what each part does and where it becomes empty, in English and Korean', async () => {
    await page.goto(`${fake.url}/explore?expr=${encodeURIComponent('sum by (nodegroup) (rate(node_cpu_seconds_total{mode="idle"}[5m])) / scalar(not_there)')}`);
    await page.getByRole('button', { name: 'Explain query A' }).click();
    const box = page.getByTestId('explain');
    await box.getByText('The sum, for each nodegroup.').waitFor();
    await box.getByText('The series of node_cpu_seconds_total with mode="idle".').waitFor();
    await expect.poll(() => box.locator('tbody tr').count()).toBe(7);
    await box.getByText('From here on there is nothing').waitFor();
    expect(await box.locator('tr', { hasText: 'From here on there is nothing' }).locator('code').innerText()).toBe('not_there');
    await expect.poll(() => fake.requests.map((r) => r.query)).toContain('count(rate(node_cpu_seconds_total{mode="idle"}[5m]))');
    await page.screenshot({ path: join(SHOTS, 'explore-explain.png'), fullPage: true });
    await page.getByRole('button', { name: '한국어' }).click();
    // What was open stays open.
    await page.getByText('nodegroup별 합계입니다.').waitFor();
    expect(o.complaints).toEqual([]);
  });

  it('goes from a panel to Explore and back, and from Explore onto a board', async () => {
    await page.goto(`${fake.url}/d/nodes?var-nodegroup=spot`);
    await settled(page);
    const address = page.url();
    await page.locator('[data-panel-id="8"] section').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem', { name: 'Explore' }).click();
    await page.getByRole('button', { name: 'Back to dashboard' }).click();
    await page.waitForURL((u) => u.pathname === '/d/nodes');
    expect(new URL(page.url()).search).toBe(new URL(address).search);
    await page.route('**/api/dashboards/uid/cluster', async (r) => {
      const answer = await r.fetch();
      await r.fulfill({ response: answer, json: { ...((await answer.json()) as object), meta: { canSave: true, canEdit: true } } });
    });
    await page.goto(`${fake.url}/explore?expr=node_load5&legend=load`);
    await page.getByRole('button', { name: 'Add to dashboard' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Kubernetes EKS Cluster' }).click();
    await page.waitForURL(/\/d\/cluster/);
    await page.getByTestId('panel').getByText('New panel').waitFor();
    await page.getByRole('button', { name: 'Save', exact: true }).waitFor();
    expect(o.complaints).toEqual([]);
  });
});
