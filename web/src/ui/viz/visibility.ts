/** Which series of a chart are shown after a click in its legend. */

/**
 * nextVisible follows Grafana: a click shows one series alone, the same click again shows all, with Ctrl (append) it adds or takes
 * away. null stands for all.
 */
export function nextVisible(names: readonly string[], visible: ReadonlySet<string> | null, picked: readonly string[], append: boolean): ReadonlySet<string> | null {
  if (!append) {
    const alone = visible !== null && visible.size === picked.length && picked.every((p) => visible.has(p));
    return alone ? null : new Set(picked);
  }
  const next = new Set(visible ?? names);
  for (const p of picked) {
    if (!next.delete(p)) {
      next.add(p);
    }
  }
  return next.size === 0 || next.size === names.length ? null : next;
}
