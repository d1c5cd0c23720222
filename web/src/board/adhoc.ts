/** Ad hoc filters as URLs hold them: `var-Filters=label|=|value`, once per filter, in Grafana's own escapes. */
import type { AdHocFilter } from './model';

const ESCAPES: readonly [string, string][] = [['|', '__gfp__'], ['#', '__gfh__'], [',', '__gfc__']];

/** encodeFilter writes a filter as one URL value. */
export function encodeFilter(f: AdHocFilter): string {
  return [f.key, f.operator, f.value].map((part) => ESCAPES.reduce((s, [c, e]) => s.replaceAll(c, e), part)).join('|');
}

/** decodeFilter reads one; null when it is none. */
export function decodeFilter(text: string): AdHocFilter | null {
  const [key = '', operator = '', value = ''] = text.split('|').map((part) => ESCAPES.reduce((s, [c, e]) => s.replaceAll(e, c), part));
  return key === '' || !OPERATORS.includes(operator) ? null : { key, operator, value };
}

/** The operators a reader can choose; those with a bar take several values, divided by bars. */
export const OPERATORS: readonly string[] = ['=', '!=', '=~', '!~', '=|', '!=|', '<', '>'];
