/**
 * Stands in for zod at build time. @grafana/data describes theme files with it, which this UI never reads; the descriptions are made when
 * its modules load, so they need something that can be asked for anything and answers itself.
 */
interface Anything {
  (...args: unknown[]): Anything;
  [part: string]: Anything;
}

const anything: Anything = new Proxy(() => anything, { get: (_t, key) => (typeof key === 'symbol' ? undefined : anything), apply: () => anything }) as unknown as Anything;

export const array = anything;
export const boolean = anything;
export const int = anything;
export const literal = anything;
export const number = anything;
export const object = anything;
export const string = anything;
export const union = anything;
export { anything as enum };
