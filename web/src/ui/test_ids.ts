/**
 * Stands in for @grafana/e2e-selectors at build time: names of elements for Grafana's own tests, for every version since its eighth. A name
 * here is the last part of its path, with the value it was asked for: `Panel.title('CPU')` is "title CPU".
 */
type Name = { (...values: unknown[]): string; [part: string]: Name };

function name(path: string): Name {
  return new Proxy(() => '', {
    get: (_t, key) => (key === Symbol.toPrimitive || key === 'toString' ? () => path : typeof key === 'symbol' ? undefined : name(key)),
    apply: (_t, _this, values: unknown[]) => [path, ...values.map(String)].join(' '),
  }) as unknown as Name;
}

export const Components = name('components');
export const selectors = { components: Components, pages: name('pages') };
