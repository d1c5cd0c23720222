/** Reading untyped JSON: every reader answers a value of its type whatever it is given, so a broken board cannot throw. */

export type Json = Record<string, unknown>;

export function isObject(v: unknown): v is Json {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}

export function obj(v: unknown): Json {
  return isObject(v) ? v : {};
}

export function list(v: unknown): unknown[] {
  return Array.isArray(v) ? v : [];
}

export function objects(v: unknown): Json[] {
  return list(v).filter(isObject);
}

/** str reads text; numbers and booleans become their text, everything else the fallback. */
export function str(v: unknown, fallback = ''): string {
  if (typeof v === 'string') {
    return v;
  }
  return typeof v === 'number' || typeof v === 'boolean' ? String(v) : fallback;
}

/** num reads a number, also from text such as "100", because boards store both. */
export function num(v: unknown, fallback: number): number {
  if (typeof v === 'number') {
    return Number.isFinite(v) ? v : fallback;
  }
  if (typeof v === 'string' && v.trim() !== '') {
    const n = Number(v);
    return Number.isFinite(n) ? n : fallback;
  }
  return fallback;
}

/** optNum is num without a fallback. */
export function optNum(v: unknown): number | undefined {
  const n = num(v, NaN);
  return Number.isNaN(n) ? undefined : n;
}

export function strings(v: unknown): string[] {
  if (Array.isArray(v)) {
    return v.map((x) => str(x)).filter((x) => x !== '');
  }
  const s = str(v);
  return s === '' ? [] : [s];
}

/** without answers a copy that lacks the named keys. */
export function without(o: Json, ...keys: string[]): Json {
  return Object.fromEntries(Object.entries(o).filter(([k]) => !keys.includes(k)));
}
