/** The administration pages on a real server: every tab, light and dark, Korean; a key made and deleted, a workspace made and deleted, a provider set up. */
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, open, SHOTS, signIn, type Opened } from '../browser/harness.ts';

const base = process.env.MANGRU_UI?.replace(/\/$/, '') ?? '';
const token = process.env.MANGRU_THIRD_TOKEN ?? '';

describe.skipIf(base === '' || token === '')('administration', () => {
  let browser: Browser;
  let admin: Opened;

  beforeAll(async () => {
    browser = await launch();
    admin = await open(browser, 'light');
    await signIn(admin.page, base, token);
  });
  afterAll(() => browser?.close());

  const shot = (page: Page, name: string) => page.screenshot({ path: join(SHOTS, `admin-${name}.png`) });

  it('makes and deletes a workspace of metrics', async () => {
    const { page } = admin;
    await page.getByRole('link', { name: 'Administration' }).click();
    await page.getByRole('row', { name: /default/ }).waitFor();
    await page.getByRole('button', { name: 'Create workspace' }).click();
    await page.getByRole('dialog').getByLabel('Alias').fill('second');
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    const row = page.getByRole('row', { name: /second/ });
    const id = (await row.locator('small').textContent()) ?? '';
    await shot(page, '01-metrics');
    await row.getByRole('button', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog');
    expect(await dialog.getByRole('button', { name: 'Delete', exact: true }).isDisabled()).toBe(true);
    await dialog.getByLabel(id).fill(id);
    await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  });

  it('makes a key, whose secret is shown once', async () => {
    const { page } = admin;
    await page.getByRole('link', { name: 'Access keys' }).click();
    await page.getByRole('button', { name: 'Create user' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('ci');
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    const row = page.getByRole('row', { name: /^ci/ });
    await row.getByRole('button', { name: 'Create access key' }).click();
    const text = (await page.getByRole('dialog').locator('pre').textContent()) ?? '';
    const [, id = '', secret = ''] = /: (\S+)\n.*: (\S+)/.exec(text) ?? [];
    expect(secret.length).toBeGreaterThan(30);
    await page.getByRole('button', { name: 'I kept it' }).click();
    await row.getByText(id).waitFor();
    expect(await page.content()).not.toContain(secret);
    await shot(page, '02-keys');
    await row.getByRole('button', { name: 'Deactivate' }).click();
    await row.getByText('inactive').waitFor();
    await row.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await row.getByText(id).waitFor({ state: 'hidden' });
  });

  it('sets up an identity provider, which the sign-in page then has', async () => {
    const { page } = admin;
    await page.getByRole('link', { name: 'Sign-in providers' }).click();
    await page.getByRole('button', { name: 'Add provider' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Id, as it is in addresses').fill('corp');
    await dialog.getByLabel('Name').fill('Corp');
    await dialog.getByLabel('Issuer URL').fill('http://127.0.0.1:9/realms/corp');
    await dialog.getByLabel('Client ID').fill('mangru');
    await dialog.getByLabel('Client secret').fill('not-to-be-seen');
    await dialog.getByLabel(/^Groups/).fill('/ops = SRE');
    await shot(page, '03-provider');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('row', { name: /Corp/ }).getByText('/api/outside/corp/callback').waitFor();
    expect(await page.content()).not.toContain('not-to-be-seen');
    const other = await open(browser, 'dark', /401/);
    await other.page.goto(`${base}/login`);
    await other.page.getByRole('link', { name: 'Sign in with Corp' }).waitFor();
    await shot(other.page, '04-sign-in');
    // Nothing listens there: the page says so and is still of use.
    await other.page.getByRole('link', { name: 'Sign in with Corp' }).click();
    await other.page.getByText(/cannot be reached/).waitFor();
    await other.page.getByLabel('Password').waitFor();
    await other.context.close();
    await page.getByRole('row', { name: /Corp/ }).getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByText('There is nothing here yet.').waitFor();
  });

  it('shows roles, policies, clusters and what was done, in both languages', async () => {
    const { page } = admin;
    await page.getByRole('link', { name: 'Policies' }).click();
    const row = page.getByRole('row', { name: /AmazonPrometheusRemoteWriteAccess/ });
    await row.getByRole('button', { name: 'Show' }).click();
    await row.getByText('aps:RemoteWrite').waitFor();
    await shot(page, '05-policies');
    for (const name of ['Roles', 'Clusters']) {
      await page.getByRole('link', { name, exact: true }).click();
      await page.getByText(/There is nothing here yet|Who may take it on/).waitFor();
    }
    await page.getByRole('link', { name: 'Audit log' }).click();
    await page.getByLabel('Search').fill('createaccesskey');
    await page.getByRole('row', { name: /iam:CreateAccessKey ci/ }).waitFor();
    await page.getByRole('button', { name: '한국어' }).click();
    await page.getByRole('link', { name: '감사 로그' }).first().waitFor();
    await shot(page, '06-audit-ko');
    await page.getByRole('button', { name: 'English' }).click();
    expect(admin.complaints).toEqual([]);
  });
});
