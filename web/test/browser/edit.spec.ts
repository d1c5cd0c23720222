/** Making, arranging, editing, saving and importing a board against the fake server, as a person does it. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { AxeBuilder } from './axe.ts';
import { launch, open, settled, SHOTS, signIn, type Opened } from './harness.ts';

interface Board {
  title: string;
  panels: { id: number; title?: string; type: string; gridPos: { x: number; y: number; w: number; h: number } }[];
  [key: string]: unknown;
}

let browser: Browser;
let fake: FakeServer;
let o: Opened;
let page: Page;
let saved: { dashboard: Board; message: string }[];

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());
beforeEach(async () => {
  fake = await startFake();
  o = await open(browser, 'dark');
  page = o.page;
  saved = [];
  await page.route('**/api/user', async (r) => {
    const a = await r.fetch();
    await r.fulfill({ response: a, json: { ...((await a.json()) as object), orgRole: 'Editor' } });
  });
  await page.route('**/api/search?type=dash-folder**', (r) => r.fulfill({ json: [{ uid: 'team', title: 'Team' }] }));
  await page.route('**/api/dashboards/db', (r) => {
    saved.push(r.request().postDataJSON() as (typeof saved)[number]);
    return r.fulfill({ json: { uid: 'new1', version: 1, url: '/dashboards' } });
  });
  await page.route('**/api/dashboards/uid/mine', (r) => r.fulfill({ json: { meta: { canSave: true, canEdit: true }, dashboard: mine() } }));
  await signIn(page, fake.url, TOKEN);
});
afterEach(async () => {
  await o?.context.close();
  await fake.close();
});

const panel = (id: number, title: string, x: number, y: number, w: number, h: number) => ({ id, type: 'timeseries', title, gridPos: { x, y, w, h }, targets: [{ refId: 'A', expr: 'node_load1' }], fieldConfig: { defaults: {}, overrides: [] }, options: {} });

function mine(): Board {
  return {
    uid: 'mine', title: 'Mine', schemaVersion: 41, time: { from: 'now-1h', to: 'now' }, templating: { list: [] }, annotations: { list: [] },
    panels: [panel(1, 'Left', 0, 0, 12, 6), panel(2, 'Right', 12, 0, 12, 6), { id: 3, type: 'row', title: 'More', gridPos: { x: 0, y: 6, w: 24, h: 1 } }, panel(4, 'Below', 0, 7, 24, 6)],
  };
}

async function save(message = ''): Promise<Board> {
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox', { name: 'What changed' }).fill(message);
  await dialog.getByRole('button', { name: 'Save', exact: true }).click();
  await expect.poll(() => saved.length).toBe(1);
  return saved[0]!.dashboard;
}

const place = (b: Board, id: number) => {
  const g = b.panels.find((p) => p.id === id)?.gridPos;
  return g && [g.x, g.y, g.w, g.h].join(' ');
};

test('a board is made, saved and imported', async () => {
  await page.route('**/api/mangru/catalogue', (r) => r.fulfill({ json: [{ id: 1860, title: 'Node exporter, in full', description: 'Processor, memory, disks.' }] }));
  await page.route('**/api/gnet/dashboards/*', (r) => r.fulfill({ json: { json: { title: 'From the catalogue', panels: [], schemaVersion: 41, __inputs: [{ name: 'DS_PROMETHEUS', type: 'datasource', pluginId: 'prometheus' }] } } }));
  await page.goto(`${fake.url}/dashboards`);
  await page.getByRole('button', { name: 'New dashboard' }).click();
  await page.getByRole('button', { name: 'Add panel' }).click();
  await page.getByRole('textbox', { name: /PromQL query A/ }).click();
  await page.keyboard.type('node_load1');
  await page.keyboard.press('Shift+Enter');
  await page.getByTestId('panel').locator('canvas').first().waitFor();
  await page.screenshot({ path: join(SHOTS, 'edit-panel.png') });
  await page.getByRole('button', { name: 'Back to dashboard' }).click();
  expect(JSON.stringify(await save())).toContain('"expr":"node_load1"');
  await page.waitForURL('**/dashboards');
  await page.goto(`${fake.url}/dashboard/import`);
  await page.getByRole('button', { name: 'Load: Node exporter, in full' }).click();
  await page.getByText('DS_PROMETHEUS').waitFor();
  await page.screenshot({ path: join(SHOTS, 'edit-import.png') });
  expect(o.complaints).toEqual([]);
});

test('panels are moved and sized by pointer and keyboard, undone and done again', async () => {
  await page.goto(`${fake.url}/d/mine`);
  await settled(page);
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  const move = (title: string) => page.getByRole('button', { name: `Move ${title}: arrow keys` });
  // Dragged into the row below, then sized.
  const from = (await move('Right').boundingBox())!;
  const row = (await page.getByTestId('arranged-section').nth(1).boundingBox())!;
  await page.mouse.move(from.x + 5, from.y + 5);
  await page.mouse.down();
  await page.mouse.move(from.x + 5, row.y + 60, { steps: 8 });
  await page.screenshot({ path: join(SHOTS, 'edit-drag.png') });
  await page.mouse.up();
  await expect.poll(() => page.getByTestId('arranged-section').nth(1).locator('[data-cell]').count()).toBe(2);
  const corner = (await page.getByRole('button', { name: 'Size of Left: arrow keys' }).boundingBox())!;
  await page.mouse.move(corner.x + 12, corner.y + 12);
  await page.mouse.down();
  await page.mouse.move(corner.x + 400, corner.y + 50, { steps: 8 });
  await page.mouse.up();
  // With the keyboard the focus stays on the handle.
  await move('Below').focus();
  await page.keyboard.press('ArrowUp');
  await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Move Below: arrow keys');
  await page.getByRole('button', { name: 'Size of Below: arrow keys' }).focus();
  await page.keyboard.press('ArrowLeft');
  await page.getByText('23 wide', { exact: false }).waitFor();
  await page.keyboard.press('Control+z');
  await page.getByRole('button', { name: /^Redo/ }).click();
  expect(await new AxeBuilder(page).serious()).toEqual([]);
  await page.screenshot({ path: join(SHOTS, 'edit-arranged.png') });
  const board = await save('moved');
  expect(saved[0]?.message).toBe('moved');
  const [left] = board.panels;
  expect(left?.gridPos.w).toBeGreaterThan(16);
  expect(board.panels.map((p) => p.id)).toEqual(expect.arrayContaining([1, 2, 3, 4]));
  expect(board.panels.findIndex((p) => p.id === 2)).toBeGreaterThan(board.panels.findIndex((p) => p.id === 3));
  expect(place(board, 4)?.split(' ')[2]).toBe('23');
  expect(o.complaints).toEqual([]);
});

test('a panel\'s options are searched and drawn at once, and the save dialog lists the changes', async () => {
  await page.goto(`${fake.url}/d/mine?editPanel=1`);
  await page.getByTestId('panel-editor').waitFor();
  await settled(page);
  await page.getByPlaceholder('Search options').fill('legend mode');
  await page.getByRole('combobox', { name: 'Legend mode' }).click();
  await page.getByRole('option', { name: 'table' }).click();
  await page.getByTestId('panel').locator('table').waitFor();
  await page.getByPlaceholder('Search options').fill('unit');
  await page.getByRole('combobox', { name: 'Unit', exact: true }).fill('percent (0.0');
  await page.keyboard.press('Enter');
  await page.getByText('Misc / Percent (0.0-1.0)').first().waitFor();
  await page.getByPlaceholder('Search options').fill('');
  await page.getByText('Thresholds', { exact: true }).click();
  await page.getByRole('button', { name: 'Add threshold' }).click();
  expect(await new AxeBuilder(page).serious()).toEqual([]);
  await page.screenshot({ path: join(SHOTS, 'edit-options.png') });
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText(/^\d+ changes$/).click();
  await page.getByText('panels[0].options.legend').first().waitFor();
  await page.screenshot({ path: join(SHOTS, 'edit-diff.png') });
  await page.getByRole('dialog').getByRole('button', { name: 'Save', exact: true }).click();
  await expect.poll(() => saved.length).toBe(1);
  const text = JSON.stringify(saved[0]?.dashboard);
  expect(text).toContain('"unit":"percentunit"');
  expect(text).toContain('"displayMode":"table"');
  expect(o.complaints).toEqual([]);
});

test('variables, annotations and links have forms', async () => {
  await page.goto(`${fake.url}/d/mine`);
  await settled(page);
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByRole('tab', { name: 'Variables' }).click();
  await page.getByRole('button', { name: 'Add variable' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('node');
  await page.getByRole('textbox', { name: 'Query' }).fill('label_values(node_load1, node)');
  await page.getByRole('checkbox', { name: 'Several values' }).check();
  await page.getByText(/^3 values: ip-10-1/).waitFor();
  await page.screenshot({ path: join(SHOTS, 'edit-variables.png') });
  await page.getByRole('tab', { name: 'Annotations' }).click();
  await page.getByRole('button', { name: 'Add annotation' }).click();
  await page.getByRole('textbox', { name: 'Query' }).fill('changes(up[1m]) > 0');
  await page.getByRole('tab', { name: 'Links' }).click();
  await page.getByRole('button', { name: 'Add link' }).click();
  await page.getByRole('textbox', { name: 'Address' }).fill('/d/nodes');
  await page.getByRole('textbox', { name: 'Title' }).fill('Nodes');
  await page.getByRole('button', { name: 'Close' }).first().click();
  await page.getByRole('link', { name: 'Nodes' }).waitFor();
  const board = await save();
  expect(board).toMatchObject({ templating: { list: [{ name: 'node', multi: true, query: 'label_values(node_load1, node)' }] }, links: [{ url: '/d/nodes', type: 'link' }], annotations: { list: [{ expr: 'changes(up[1m]) > 0' }] } });
  expect(o.complaints).toEqual([]);
});

test('changing the language keeps what is not saved, and the step back', async () => {
  await page.goto(`${fake.url}/d/mine?editPanel=1`);
  await page.getByTestId('panel-editor').waitFor();
  await settled(page);
  await page.getByRole('textbox', { name: 'Title', exact: true }).fill('Not saved yet');
  await page.getByText('Not saved yet').first().waitFor();
  await page.getByRole('button', { name: '한국어' }).click();
  await page.getByRole('button', { name: '저장', exact: true }).waitFor();
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('ko');
  await page.getByRole('button', { name: 'English' }).click();
  expect(await page.getByRole('textbox', { name: 'Title', exact: true }).inputValue()).toBe('Not saved yet');
  await page.getByRole('button', { name: /^Undo/ }).click();
  await expect.poll(() => page.getByRole('textbox', { name: 'Title', exact: true }).inputValue()).toBe('Left');
  expect(o.complaints).toEqual([]);
});
