/** The pages about folders, permissions and the library: what is inside, move, delete with its name, who may do what, library panels made, used and unlinked. */
import type { Browser, Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOSTILE } from '../fake/prometheus.ts';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { AxeBuilder } from './axe.ts';
import { launch, open, SHOTS, signIn, type Opened } from './harness.ts';

interface Folder {
  uid: string;
  title: string;
  parentUid: string;
}

interface Grant {
  permission: string;
  isInherited: boolean;
  isServiceAccount: boolean;
  builtInRole?: string;
  team?: string;
  teamId?: number;
}

describe('folders', () => {
  let browser: Browser;
  let fake: FakeServer;
  let o: Opened;
  const folders: Folder[] = [{ uid: 'ops', title: 'Operations', parentUid: '' }, { uid: 'k8s', title: 'Kubernetes', parentUid: 'ops' }, { uid: 'sales', title: HOSTILE, parentUid: '' }];
  const boards = [{ uid: 'b1', title: 'Nodes', folderUid: 'k8s' }];
  let panels: Record<string, unknown>[] = [{ id: 1, type: 'stat', title: 'Load', gridPos: { x: 0, y: 0, w: 6, h: 4 }, targets: [{ refId: 'A', expr: 'node_load1' }] }];
  let grants: Grant[] = [
    { permission: 'Edit', isInherited: true, isServiceAccount: false, builtInRole: 'Editor' },
    { permission: 'View', isInherited: false, isServiceAccount: false, builtInRole: 'Viewer' },
  ];
  let library: Record<string, unknown>[] = [];
  const calls: string[] = [];

  const folderBody = (f: Folder) => {
    const parents: Folder[] = [];
    for (let up = folders.find((p) => p.uid === f.parentUid); up; up = folders.find((p) => p.uid === up?.parentUid)) {
      parents.unshift(up);
    }
    return { ...f, version: 1, description: '', canEdit: true, canAdmin: true, canDelete: true, parents };
  };
  const body = (r: Route) => r.request().postDataJSON() as Record<string, never>;

  async function folderRoute(r: Route) {
    const [uid = '', what = ''] = new URL(r.request().url()).pathname.split('/api/folders')[1]?.split('/').slice(1) ?? [];
    const method = r.request().method();
    calls.push(`${method} ${uid} ${what} ${r.request().postData() ?? ''}`.trim());
    const f = folders.find((x) => x.uid === uid);
    if (method === 'POST' && uid === '') {
      folders.push({ uid: 'new', title: body(r).title ?? '', parentUid: body(r).parentUid ?? '' });
      return r.fulfill({ json: {} });
    }
    if (!f) {
      return r.fulfill({ status: 404, json: { message: 'folder not found' } });
    }
    if (what === 'counts') {
      return r.fulfill({ json: { folder: 1, dashboard: 1, librarypanel: 0, alertrule: 2 } });
    }
    if (what === 'move') {
      f.parentUid = body(r).parentUid ?? '';
    } else if (method === 'PUT') {
      f.title = body(r).title ?? '';
    } else if (method === 'DELETE') {
      folders.splice(folders.indexOf(f), 1);
    }
    return r.fulfill({ json: folderBody(f) });
  }

  function searchRoute(r: Route) {
    const q = new URL(r.request().url()).searchParams;
    const inside = q.get('folderUIDs');
    const hits = [
      ...folders.map((f) => ({ uid: f.uid, title: f.title, type: 'dash-folder', tags: [], folderUid: f.parentUid || undefined })),
      ...boards.map((b) => ({ ...b, type: 'dash-db', tags: [], folderTitle: 'Kubernetes' })),
    ];
    return r.fulfill({ json: hits.filter((h) => (q.get('type') ?? h.type) === h.type && (inside === null || (h.folderUid ?? 'general') === inside)) });
  }

  function permissionRoute(r: Route) {
    const [, kind = '', id = ''] = new URL(r.request().url()).pathname.split('/api/access-control/folders/')[1]?.split('/') ?? [];
    if (r.request().method() === 'GET') {
      return r.fulfill({ json: grants });
    }
    const { permission } = body(r) as unknown as { permission: string };
    grants = grants.filter((g) => g.isInherited || (kind === 'builtInRoles' ? g.builtInRole !== id : String(g.teamId) !== id));
    if (permission !== '') {
      grants.push({ permission, isInherited: false, isServiceAccount: false, ...(kind === 'teams' ? { teamId: Number(id), team: 'crew' } : { builtInRole: id }) });
    }
    return r.fulfill({ json: {} });
  }

  function libraryRoute(r: Route) {
    const method = r.request().method();
    const used = () => panels.filter((p) => p.libraryPanel !== undefined).length;
    if (method === 'POST') {
      library = [{ uid: 'lib', version: 1, type: 'stat', description: '', ...body(r), meta: { folderName: 'Kubernetes', canEdit: true, updated: '' } }];
      return r.fulfill({ json: { result: library[0] } });
    }
    if (r.request().url().endsWith('/connections')) {
      return r.fulfill({ json: { result: used() > 0 ? [{ connectionUid: 'b1' }] : [] } });
    }
    if (method === 'DELETE') {
      library = [];
      return r.fulfill({ json: {} });
    }
    return r.fulfill({ json: { result: { elements: library.map((l) => ({ ...l, meta: { ...(l.meta as object), connectedDashboards: used() } })) } } });
  }

  beforeAll(async () => {
    browser = await launch();
    fake = await startFake();
    o = await open(browser, 'dark', /404 \/api\/folders\/none/);
    const route = (pattern: string, handler: (r: Route) => Promise<void> | void) => o.page.route(pattern, handler);
    await route('**/api/folders**', folderRoute);
    await route('**/api/folders/**', folderRoute);
    await route('**/api/search?**', searchRoute);
    await route('**/api/access-control/folders/**', permissionRoute);
    await route('**/api/library-elements**', libraryRoute);
    await route('**/api/library-elements/**', libraryRoute);
    await route('**/api/org/users/lookup', (r) => r.fulfill({ json: [{ userId: 4, login: 'ann' }] }));
    await route('**/api/teams/search**', (r) => r.fulfill({ json: { teams: [{ id: 7, name: 'crew' }] } }));
    await route('**/api/dashboards/uid/b1', (r) => r.fulfill({ json: { meta: { folderUid: 'k8s', canAdmin: true }, dashboard: { uid: 'b1', title: 'Nodes', panels } } }));
    await route('**/api/dashboards/db', (r) => {
      const sent = body(r) as unknown as { dashboard: { panels: Record<string, unknown>[] }; folderUid: string };
      calls.push(`save into ${sent.folderUid}`);
      panels = sent.dashboard.panels;
      return r.fulfill({ json: {} });
    });
    await signIn(o.page, fake.url, TOKEN);
  });
  afterAll(async () => {
    await browser?.close();
    await fake?.close();
  });

  it('shows the tree and what a folder holds, in both themes and languages', async () => {
    const page = o.page;
    for (const scheme of ['dark', 'light'] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.goto(`${fake.url}/dashboards/folders`);
      await page.getByRole('link', { name: 'Kubernetes' }).waitFor();
      await page.screenshot({ path: `${SHOTS}/folders-${scheme}.png` });
      expect(await new AxeBuilder(page).serious()).toEqual([]);
      await page.getByRole('link', { name: 'Kubernetes' }).click();
      await page.getByRole('link', { name: 'Nodes' }).waitFor();
      expect(await page.getByRole('navigation', { name: 'breadcrumbs' }).getByRole('link', { name: 'Operations' }).count()).toBe(1);
      await page.screenshot({ path: `${SHOTS}/folder-${scheme}.png` });
      expect(await new AxeBuilder(page).serious()).toEqual([]);
    }
    await page.getByRole('button', { name: '한국어' }).click();
    await page.getByRole('button', { name: '이 안에 새 폴더' }).waitFor();
    await page.screenshot({ path: `${SHOTS}/folder-ko.png` });
    await page.getByRole('button', { name: 'English' }).click();
    await page.goto(`${fake.url}/dashboards/f/none`);
    await page.getByText('This folder does not exist').waitFor();
    expect(await page.evaluate(() => '__xss' in window)).toBe(false);
  });

  it('makes, moves and deletes folders by keyboard', async () => {
    const page = o.page;
    await page.goto(`${fake.url}/dashboards/f/k8s`);
    await page.getByRole('button', { name: 'New folder in here' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('textbox', { name: 'Name' }).waitFor();
    await page.keyboard.type('Inner');
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'Inner' }).waitFor();
    expect(calls).toContain('POST   {"title":"Inner","parentUid":"k8s"}');

    await page.getByRole('button', { name: 'Move', exact: true }).first().click();
    await page.getByRole('combobox', { name: 'Into' }).focus();
    await page.keyboard.press('ArrowDown');
    await page.getByRole('option', { name: 'Top level' }).waitFor();
    expect(await page.getByRole('option', { name: /Kubernetes/ }).count(), 'not into itself').toBe(0);
    await page.getByRole('option', { name: 'Top level' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Move', exact: true }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(folders.find((f) => f.uid === 'k8s')?.parentUid).toBe('');

    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('alert rules: 2').waitFor();
    const dialog = page.getByRole('dialog');
    await page.screenshot({ path: `${SHOTS}/folder-delete.png` });
    expect(await dialog.getByRole('button', { name: 'Delete' }).isDisabled()).toBe(true);
    await dialog.getByRole('textbox').fill('Kubernetes');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    expect(folders.some((f) => f.uid === 'k8s'), 'Escape deletes nothing').toBe(true);
    await page.goto(`${fake.url}/dashboards/f/new`);
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await dialog.getByRole('textbox').fill('Inner');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/dashboards/f/k8s');
    expect(folders.some((f) => f.uid === 'new')).toBe(false);
  });

  it('shows and changes who may do what', async () => {
    const page = o.page;
    await page.goto(`${fake.url}/dashboards/f/k8s`);
    await page.getByRole('tab', { name: 'Permissions' }).click();
    await page.getByText('From the folder above').waitFor();
    await page.getByRole('combobox', { name: 'Choose whom' }).click();
    await page.getByRole('option', { name: 'Team crew' }).click();
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByRole('list', { name: 'Permissions' }).getByText('Team crew').waitFor();
    await page.screenshot({ path: `${SHOTS}/permissions-light.png` });
    expect(await new AxeBuilder(page).serious()).toEqual([]);
    await page.getByRole('button', { name: 'Take permission away from Everybody who is a viewer' }).click();
    await page.getByText('Everybody who is a viewer', { exact: true }).waitFor({ state: 'detached' });
    expect(grants.map((g) => `${g.builtInRole ?? g.team} ${g.permission}`)).toEqual(['Editor Edit', 'crew View']);
  });

  it('makes a library panel from a board, shows who uses it, unlinks it and deletes it', async () => {
    const page = o.page;
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.goto(`${fake.url}/library-panels`);
    await page.getByText('No library panel yet').waitFor();
    await page.getByRole('button', { name: 'New from a dashboard' }).click();
    await page.getByRole('combobox', { name: 'Dashboard' }).click();
    await page.getByRole('option', { name: /Nodes/ }).click();
    await page.getByRole('combobox', { name: 'Panel' }).click();
    await page.getByRole('option', { name: 'Load (stat)' }).click();
    await page.screenshot({ path: `${SHOTS}/library-new.png` });
    await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await page.getByText('Used by dashboards: 1').waitFor();
    expect(panels[0]?.libraryPanel).toEqual({ uid: 'lib', name: 'Load' });
    expect(library[0]?.model).toEqual({ type: 'stat', title: 'Load', targets: [{ refId: 'A', expr: 'node_load1' }] });
    await page.getByRole('button', { name: 'Dashboards that show it' }).click();
    await page.getByRole('button', { name: 'Unlink' }).waitFor();
    await page.screenshot({ path: `${SHOTS}/library-dark.png` });
    expect(await new AxeBuilder(page).serious()).toEqual([]);
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('Dashboards show it').waitFor();
    expect(await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).isDisabled()).toBe(true);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Unlink' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Unlink' }).click();
    await page.getByText('not used').waitFor();
    expect(panels[0]).not.toHaveProperty('libraryPanel');
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('No library panel yet').waitFor();
    expect(o.complaints).toEqual([]);
  });
});
