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
      const axe = (window as unknown as { axe: { run: (options: object) => Promise<{ violations: unknown[] }> } }).axe;
      return (await axe.run({ resultTypes: ['violations'] })).violations;
    });
    return (findings as Finding[])
      .filter((f) => f.impact === 'serious' || f.impact === 'critical')
      .flatMap((f) => f.nodes.slice(0, 5).map((n) => `${f.id}: ${n.html.slice(0, 240)}`));
  }
}
