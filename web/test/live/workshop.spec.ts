/**
 * A person's way from nobody to an administrator with a board, as the workshop has it: added, invited by mail, verified, assigned to a
 * workspace, made its administrator, signed in there, a signed data source, a board. MANGRU_MAILS is the folder with the mails that arrived.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, open, SHOTS, signIn, type Opened } from '../browser/harness.ts';

const base = process.env.MANGRU_UI?.replace(/\/$/, '') ?? '';
const mails = process.env.MANGRU_MAILS ?? '';
const env = (name: string) => process.env[name] ?? '';
const PASSWORD = 'Kx7#vorhang-blau';

interface Mail {
  to: string;
  subject: string;
  text: string;
}

/** linkOf waits for a mail with a link to a page and returns the link. */
async function linkOf(page: 'accept' | 'verify'): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    for (const name of readdirSync(mails)) {
      const mail = JSON.parse(readFileSync(join(mails, name), 'utf8')) as Mail;
      const link = new RegExp(`http\\S+/${page}#token=\\S+`).exec(mail.text)?.[0];
      if (link && mail.to === 'ann@example.com') {
        return link;
      }
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`no mail with a link to /${page} came`);
}

describe.skipIf(base === '' || mails === '')('the workshop', () => {
  let browser: Browser;
  let admin: Opened;
  let ann: Opened;
  let workspace = '';

  beforeAll(async () => {
    browser = await launch();
    admin = await open(browser);
    // Who is not signed in yet is told so, and a workspace without a role for one too.
    ann = await open(browser, 'dark', /401|403/);
    await signIn(admin.page, base, env('MANGRU_LOGIN_TOKEN'));
  });
  afterAll(() => browser?.close());

  const shot = (page: Page, name: string) => page.screenshot({ path: join(SHOTS, `workshop-${name}.png`) });

  it('adds a user and sends invitation and verification', async () => {
    const { page } = admin;
    await page.goto(`${base}/people`);
    await page.getByRole('button', { name: 'Add person' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('User name').fill('ann');
    await dialog.getByLabel('E-mail', { exact: true }).fill('ann@example.com');
    await dialog.getByLabel('E-mail, again').fill('ann@example.com');
    await dialog.getByLabel('First name').fill('Ann');
    await dialog.getByLabel('Last name').fill('Lee');
    await shot(page, '01-add-user');
    await dialog.getByRole('button', { name: 'Add person' }).click();
    const row = page.getByRole('row', { name: /ann@example\.com/ });
    await row.getByText('not verified').waitFor();
    await row.getByRole('button', { name: 'Send invitation' }).click();
    await page.getByText('A mail is on its way.').waitFor();
    await row.getByRole('button', { name: 'Send verification link' }).click();
    await linkOf('verify');
  });

  it('lets her choose a password and verify her address', async () => {
    const { page } = ann;
    await page.goto(await linkOf('accept'));
    await page.getByText('For Ann Lee (ann)').waitFor();
    await page.getByLabel('New password', { exact: true }).fill(PASSWORD);
    await page.getByLabel('New password, again').fill(PASSWORD);
    await shot(page, '02-new-password');
    await page.getByRole('button', { name: 'Set password' }).click();
    await page.waitForURL(`${base}/`);
    await page.goto(await linkOf('verify'));
    await page.getByRole('button', { name: 'Verify your address' }).click();
    await page.getByText('ann@example.com is verified.').waitFor();
    await shot(page, '03-verified');
    await admin.page.goto(`${base}/people`);
    await admin.page.getByRole('row', { name: /ann@example\.com/ }).getByText('verified', { exact: true }).waitFor();
  });

  it('creates a workspace with Identity Center, and assigns her', async () => {
    const { page } = admin;
    await page.goto(`${base}/workspaces`);
    await page.getByRole('button', { name: 'Create workspace' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Workspace name').fill('eks-workshop');
    expect(await dialog.getByLabel('AWS IAM Identity Center').isChecked()).toBe(true);
    expect(await dialog.getByLabel('Amazon Managed Service for Prometheus').isChecked()).toBe(true);
    await shot(page, '04-create-workspace');
    await dialog.getByRole('button', { name: 'Create workspace' }).click();
    await page.waitForURL(/\/workspaces\/g-[0-9a-f]{10}$/);
    workspace = `${base}/w/${page.url().split('/').pop()}`;
    await page.getByText('Nobody is assigned yet.').waitFor();
    // She is signed in, and not in this workspace.
    await ann.page.goto(`${workspace}/`);
    await ann.page.getByText('You have no role in this workspace').waitFor();
    await shot(ann.page, '05-no-role');

    await page.getByRole('button', { name: 'Assign new user or group' }).click();
    await page.getByRole('dialog').getByLabel('Ann Lee (ann)').check();
    await shot(page, '06-assign');
    await page.getByRole('button', { name: 'Assign users and groups' }).click();
    const row = page.getByRole('row', { name: /Ann Lee/ });
    await row.getByText('viewer', { exact: true }).waitFor();
    await ann.page.goto(`${workspace}/`);
    await ann.page.getByRole('link', { name: 'Dashboards' }).first().waitFor();
    expect(await ann.page.getByRole('link', { name: 'Data sources' }).count()).toBe(0);
    // Made an administrator, she is one in the session that she has.
    await row.getByRole('button', { name: 'Make admin' }).click();
    await row.getByText('admin', { exact: true }).waitFor();
    await shot(page, '07-admin');
    await ann.page.reload();
    await ann.page.getByRole('link', { name: 'Data sources' }).waitFor();
  });

  it('signs her in at the address of the workspace', async () => {
    const fresh = await open(browser, 'light', /401/);
    await admin.page.getByRole('link', { name: workspace }).waitFor();
    await fresh.page.goto(`${workspace}/dashboards`);
    await fresh.page.getByRole('button', { name: 'Sign in with AWS IAM Identity Center' }).click();
    await fresh.page.getByLabel('User name or e-mail').fill('ann@example.com');
    await fresh.page.getByLabel('Password').fill(PASSWORD);
    await shot(fresh.page, '08-sign-in');
    await fresh.page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await fresh.page.waitForURL(`${workspace}/dashboards`);
    await fresh.page.getByRole('link', { name: 'Data sources' }).waitFor();
    await shot(fresh.page, '09-signed-in');
    expect(fresh.complaints).toEqual([]);
    await ann.context.close();
    ann = fresh;
  });

  it('reads the metrics through a signed data source', async () => {
    const { page } = ann;
    await page.getByRole('link', { name: 'Data sources' }).click();
    await page.getByRole('button', { name: 'Add data source' }).click();
    await page.getByRole('button', { name: 'Prometheus', exact: true }).click();
    await page.waitForURL(/\/datasources\/edit\//);
    const test = async (expected: RegExp) => {
      await page.getByRole('button', { name: 'Save & test' }).click();
      await page.getByText(expected).waitFor();
    };
    await page.getByLabel('URL').fill(env('MANGRU_QUERY_URL'));
    await page.getByLabel('SigV4 auth').check();
    await page.getByLabel('Authentication provider').selectOption('keys');
    await page.getByLabel('Access key ID').fill(env('MANGRU_ACCESS_KEY'));
    await page.getByLabel('Secret access key').fill(`${env('MANGRU_SECRET_KEY')}x`);
    await page.getByLabel('Default region').fill('us-east-1');
    // The URL as it is copied from the console has the path of a query in it; then the key is typed wrongly.
    ann.complaints.length = 0;
    await test(/Set the URL to http:\/\/127\.0\.0\.1:\d+\/workspaces\/ws-/);
    await page.getByLabel('URL').fill(env('MANGRU_QUERY_URL').replace(/api\/v1\/query$/, ''));
    await test(/The secret access key does not belong to the access key/);
    await shot(page, '10-save-test-fails');
    expect(ann.complaints.every((c) => c.startsWith('400 ') && c.endsWith('/health'))).toBe(true);
    ann.complaints.length = 0;
    const secret = page.getByLabel('Secret access key').locator('xpath=ancestor::*[self::span][1]');
    await secret.getByRole('button', { name: 'Reset' }).click();
    await page.getByLabel('Secret access key').fill(env('MANGRU_SECRET_KEY'));
    await test(/Data source is working/);
    await shot(page, '11-save-test');
    expect(await page.content()).not.toContain(env('MANGRU_SECRET_KEY'));
    await page.goto(`${workspace}/explore?expr=up&from=now-15m&to=now`);
    await page.getByTestId('explore-table').getByRole('row').nth(1).waitFor();
    expect(ann.complaints).toEqual([]);
  });

  it('imports board 13548', async () => {
    const { page } = ann;
    await page.goto(`${workspace}/dashboard/import`);
    await page.getByPlaceholder('13548').fill('13548');
    await page.getByRole('button', { name: 'Load', exact: true }).first().click();
    await page.getByRole('button', { name: 'Import', exact: true }).click();
    await page.waitForURL((u) => u.pathname.startsWith(`${new URL(workspace).pathname}/d/`));
    await page.getByTestId('panel').first().waitFor();
    await shot(page, '12-board');
    expect(ann.complaints).toEqual([]);
    expect(admin.complaints).toEqual([]);
  });
});
