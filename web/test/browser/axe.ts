/** Findings in components of @grafana/ui that cannot be changed from here, by rule, with the reason they are not serious in fact. */
const KNOWN: Record<string, RegExp> = {
  // The legend's buttons carry their state as label, the series' name is their visible text; the refresh picker spells "10s" out.
  'label-content-name-mismatch': /LegendLabel|Choose refresh time interval/,
};

/** Runs axe on a page and answers its serious findings in a form a failed test can print. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

interface Finding {
  id: string;
  impact: string;
  nodes: { html: string }[];
}

export class AxeBuilder {
  private readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  async serious(): Promise<string[]> {
    // Playwright evaluates in the page's own world, which the page's Content-Security-Policy does not forbid.
    await this.page.evaluate(readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
    const findings = await this.page.evaluate(async () => {
      const drawn = (id: string, target: unknown) => id === 'color-contrast' && document.querySelector(String(target))?.closest('[data-panel-type]');
      const axe = (window as unknown as { axe: { run: (options: object) => Promise<{ violations: { id: string; nodes: { target: unknown[] }[] }[] }> } }).axe;
      const { violations } = await axe.run({ resultTypes: ['violations'] });
      // Colours inside a panel are thresholds and palettes its author chose; Grafana draws the same.
      return violations.map((v) => ({ ...v, nodes: v.nodes.filter((n) => !drawn(v.id, n.target[0])) }));
    });
    return (findings as unknown as Finding[])
      .map((f) => ({ ...f, nodes: f.nodes.filter((n) => !KNOWN[f.id]?.test(n.html)) }))
      .filter((f) => f.impact === 'serious' || f.impact === 'critical')
      .flatMap((f) => f.nodes.slice(0, 5).map((n) => `${f.id}: ${n.html.slice(0, 240)}`));
  }
}
