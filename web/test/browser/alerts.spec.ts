/** The pages about alerts: rules with their state and errors, what is active, silences made and ended, and the history. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOSTILE } from '../fake/prometheus.ts';
import { startFake, TOKEN, type FakeServer } from '../fake/server.ts';
import { AxeBuilder } from './axe.ts';
import { launch, open, SHOTS, signIn, type Opened } from './harness.ts';

const GROUPS = [
  {
    name: 'nodes', file: 'platform', interval: 60, rules: [
      { type: 'alerting', name: 'NodeDown', query: 'up{job="node-exporter"} == 0', health: 'ok', state: 'firing', duration: 300, lastEvaluation: new Date().toISOString(), evaluationTime: 0.0021, labels: { severity: 'critical' }, annotations: { summary: HOSTILE }, alerts: [{ labels: { alertname: 'NodeDown', instance: '10.1.1.9:9100' }, state: 'firing', activeAt: new Date(Date.now() - 600_000).toISOString(), value: '0' }] },
      { type: 'alerting', name: 'Broken', query: 'sum(a) / on(x) b', health: 'err', state: 'unknown', lastError: 'many-to-many matching not allowed', lastEvaluation: '0001-01-01T00:00:00Z', labels: {}, alerts: [] },
      { type: 'recording', name: 'node:load:avg', query: 'avg(node_load1)', health: 'ok', lastEvaluation: new Date().toISOString(), evaluationTime: 0.001 },
    ],
  },
];

const ACTIVE = [{ fingerprint: 'f1', labels: { alertname: 'NodeDown', instance: '10.1.1.9:9100' }, annotations: { summary: 'gone' }, startsAt: new Date(Date.now() - 600_000).toISOString(), status: { state: 'active', silencedBy: [], inhibitedBy: [] }, receivers: [{ name: 'team' }] }];

interface Stored {
  id: string;
  endsAt: string;
  comment: string;
  createdBy: string;
  startsAt: string;
  matchers: unknown[];
  status: { state: string };
}

describe('alerts', () => {
  let browser: Browser;
  let fake: FakeServer;
  let o: Opened;
  const silences: Stored[] = [];

  beforeAll(async () => {
    browser = await launch();
    fake = await startFake();
    o = await open(browser);
    await o.page.route('**/api/prometheus/*/api/v1/rules', (r) => r.fulfill({ json: { status: 'success', data: { groups: GROUPS } } }));
    await o.page.route('**/api/alertmanager/*/api/v2/**', (r) => {
      const path = new URL(r.request().url()).pathname.split('/api/v2/')[1] ?? '';
      if (path === 'alerts') {
        return r.fulfill({ json: ACTIVE });
      }
      if (path === 'status') {
        return r.fulfill({ json: { config: { original: 'route:\n  receiver: team\nreceivers:\n- name: team\n' } } });
      }
      if (path === 'silences' && r.request().method() === 'POST') {
        expect(r.request().headers()['x-csrf-token']).not.toBe('');
        silences.push({ ...(r.request().postDataJSON() as Stored), id: `s${silences.length}`, status: { state: 'active' } });
        return r.fulfill({ json: { silenceID: silences.at(-1)?.id } });
      }
      if (path.startsWith('silence/')) {
        silences.filter((s) => path.endsWith(s.id)).forEach((s) => (s.status.state = 'expired'));
        return r.fulfill({ status: 200, body: '' });
      }
      return r.fulfill({ json: silences });
    });
    await o.page.route('**/api/v1/query_range', async (r) => {
      if (new URLSearchParams(r.request().postData() ?? '').get('query') !== 'ALERTS') {
        return r.continue();
      }
      const now = Math.floor(Date.now() / 1000);
      const values = Array.from({ length: 5 }, (_, i) => [now - (4 - i) * 60, '1']);
      return r.fulfill({ json: { status: 'success', data: { resultType: 'matrix', result: [{ metric: { __name__: 'ALERTS', alertname: 'NodeDown', alertstate: 'firing', job: 'a' }, values }] } } });
    });
    await signIn(o.page, fake.url, TOKEN);
  });
  afterAll(async () => {
    await browser?.close();
    await fake?.close();
  });

  it('shows rules with state, error and last evaluation, in both themes', async () => {
    const page = o.page;
    for (const scheme of ['dark', 'light'] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.goto(`${fake.url}/alerts`);
      await page.getByText('many-to-many matching not allowed').waitFor();
      await page.screenshot({ path: `${SHOTS}/alerts-rules-${scheme}.png` });
      expect(await new AxeBuilder(page).serious()).toEqual([]);
    }
    expect(await page.getByTestId('alert-rule').count()).toBe(3);
    expect(await page.getByText('never evaluated').count()).toBe(1);
    await page.getByRole('radio', { name: 'firing' }).check({ force: true });
    expect(await page.getByTestId('alert-rule').count()).toBe(1);
    expect(await page.evaluate(() => '__xss' in window)).toBe(false);
  });

  it('moves nothing for who asked for less motion', async () => {
    await o.page.emulateMedia({ reducedMotion: 'reduce' });
    const longest = await o.page.evaluate(() => Math.max(...[...document.querySelectorAll('*')].flatMap((e) => getComputedStyle(e).transitionDuration.split(',').map((d) => parseFloat(d)))));
    expect(longest).toBeLessThan(0.001);
    await o.page.emulateMedia({ reducedMotion: 'no-preference' });
  });

  it('makes a silence from an active alert and ends it', async () => {
    const page = o.page;
    await page.goto(`${fake.url}/alerts?tab=active`);
    await page.getByRole('button', { name: 'Silence', exact: true }).click();
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('Say why').waitFor();
    await page.getByRole('textbox', { name: 'Why' }).fill('maintenance');
    await page.screenshot({ path: `${SHOTS}/alerts-silence.png` });
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    expect(silences[0]).toMatchObject({ comment: 'maintenance', matchers: [{ name: 'alertname', value: 'NodeDown', isRegex: false, isEqual: true }, { name: 'instance', value: '10.1.1.9:9100', isRegex: false, isEqual: true }] });
    await page.getByRole('tab', { name: 'Silences' }).click();
    await page.getByTestId('silence').waitFor();
    await page.screenshot({ path: `${SHOTS}/alerts-silences.png` });
    await page.getByRole('button', { name: 'Expire' }).click();
    await page.getByText('There are no silences.').waitFor();
    await page.getByLabel('Show expired').check();
    await page.getByTestId('silence').waitFor();
  });

  it('shows the history and the definition', async () => {
    const page = o.page;
    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText(/since 20/).waitFor();
    await page.getByRole('tab', { name: 'Notifications' }).click();
    await page.getByText('receiver: team').waitFor();
    expect(o.complaints).toEqual([]);
  });
});
