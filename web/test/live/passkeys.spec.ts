/**
 * Passkeys in a browser with an authenticator of its own: registered, used alone, as a second factor and to show again who it is, removed. Then
 * the same by keyboard alone where it matters. MANGRU_SECOND_TOKEN signs the administrator in once.
 */
import { join } from 'node:path';
import type { Browser, CDPSession, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, open, SHOTS, signIn, type Opened } from '../browser/harness.ts';

// Browsers have passkeys at names, not at addresses.
const base = process.env.MANGRU_UI?.replace(/\/$/, '').replace('127.0.0.1', 'localhost') ?? '';
const token = process.env.MANGRU_SECOND_TOKEN ?? '';
const PASSWORD = 'Qz4!teller-gruen';

describe.skipIf(base === '' || token === '')('passkeys', () => {
  let browser: Browser;
  let admin: Opened;
  let cdp: CDPSession;
  let authenticator = '';

  beforeAll(async () => {
    browser = await launch();
    admin = await open(browser, 'dark', /401|403/);
    cdp = await admin.context.newCDPSession(admin.page);
    await cdp.send('WebAuthn.enable');
    const made = await cdp.send('WebAuthn.addVirtualAuthenticator', {
      options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
    authenticator = made.authenticatorId;
    await signIn(admin.page, base, token);
  });
  afterAll(() => browser?.close());

  const shot = (page: Page, name: string) => page.screenshot({ path: join(SHOTS, `passkeys-${name}.png`) });
  const out = async (page: Page) => {
    await page.getByRole('button', { name: /^Sign out \(/ }).click();
    await page.waitForURL(/\/login/);
  };
  const toAccount = async (page: Page) => {
    await page.goto(`${base}/account`);
    await page.getByRole('heading', { name: 'Second factor' }).waitFor();
  };

  it('is registered, with recovery codes for the day it is lost', async () => {
    const { page } = admin;
    await toAccount(page);
    await page.getByLabel('New password', { exact: true }).fill(PASSWORD);
    await page.getByLabel('New password, again').fill(PASSWORD);
    await page.getByRole('button', { name: 'Set password' }).click();
    await page.getByText('The password was changed.').waitFor();
    await page.getByLabel('Name, such as the phone it is on').fill('laptop');
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByRole('heading', { name: 'Recovery codes' }).waitFor();
    await shot(page, '01-registered');
    await page.getByRole('button', { name: 'I kept them' }).click();
    const item = page.getByRole('listitem').filter({ hasText: 'laptop' });
    await item.getByText('passkey', { exact: true }).waitFor();
    expect((await cdp.send('WebAuthn.getCredentials', { authenticatorId: authenticator })).credentials).toHaveLength(1);
    // The same authenticator is not registered twice.
    await page.getByLabel('Name, such as the phone it is on').fill('again');
    await page.getByRole('button', { name: 'Add a passkey' }).click();
    await page.getByText(/No passkey was used/).waitFor();
  });

  it('signs in alone, by keyboard', async () => {
    const { page } = admin;
    await out(page);
    await shot(page, '02-sign-in');
    const button = page.getByRole('button', { name: 'Sign in with a passkey' });
    await button.focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(`${base}/`);
    await page.getByRole('button', { name: /^Sign out \(/ }).waitFor();
  });

  it('is the second factor after a password', async () => {
    const { page } = admin;
    await out(page);
    await page.getByLabel('User name or e-mail').fill('admin');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('button', { name: 'Use a passkey' }).waitFor();
    await shot(page, '03-second-factor');
    await page.getByRole('button', { name: 'Use a passkey' }).click();
    await page.waitForURL(`${base}/`);
  });

  it('is refused where its user was not verified, and says so', async () => {
    const { page } = admin;
    await out(page);
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId: authenticator, isUserVerified: false });
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.getByText(/No passkey was used|not accepted/).waitFor();
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId: authenticator, isUserVerified: true });
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.waitForURL(`${base}/`);
  });

  it('is removed, and signs nobody in then', async () => {
    const { page } = admin;
    await toAccount(page);
    const item = page.getByRole('listitem').filter({ hasText: 'laptop' });
    await item.getByRole('button', { name: 'Remove' }).click();
    await page.getByText(/None yet\./).waitFor();
    await out(page);
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.getByText('The passkey was not accepted.').waitFor();
    await shot(page, '04-removed');
    expect(admin.complaints).toEqual([]);
  });
});
