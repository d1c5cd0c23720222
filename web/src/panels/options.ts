/** Reading a panel's options, which come from boards of every age and may hold anything. */

/** oneOf takes a value if it is among the allowed ones. */
export function oneOf<V>(value: unknown, allowed: readonly V[], fallback: V): V {
  return allowed.find((a) => a === value) ?? fallback;
}

export function bool(value: unknown, fallback: boolean): boolean {
  return typeof value === 'boolean' ? value : fallback;
}

export function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : fallback;
}
