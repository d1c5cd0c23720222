/** Puts ad hoc filters into PromQL: every vector selector of the query gets the matchers, found by the grammar and not by looks. */
import { parser } from '@prometheus-io/lezer-promql';
import type { AdHocFilter } from '../board/model';

/** injectFilters answers the query with the filters in each of its selectors. A query that cannot be parsed comes back as it was. */
export function injectFilters(expr: string, filters: readonly AdHocFilter[]): string {
  const matchers = filters.map(matcher).filter((m) => m !== '');
  if (matchers.length === 0) {
    return expr;
  }
  const edits: { at: number; text: string }[] = [];
  let broken = false;
  parser.parse(expr).iterate({
    enter: (node) => {
      broken ||= node.type.isError;
      if (node.name !== 'VectorSelector') {
        return;
      }
      const text = expr.slice(node.from, node.to);
      const added = matchers.filter((m) => !text.includes(m)).join(',');
      const braces = node.node.getChild('LabelMatchers');
      if (added === '') {
        return;
      }
      if (!braces) {
        edits.push({ at: node.to, text: `{${added}}` });
        return;
      }
      const inside = expr.slice(braces.from + 1, braces.to - 1).trim();
      edits.push({ at: braces.to - 1, text: inside === '' || inside.endsWith(',') ? added : `,${added}` });
    },
  });
  if (broken) {
    return expr;
  }
  return edits.sort((a, b) => b.at - a.at).reduce((s, e) => s.slice(0, e.at) + e.text + s.slice(e.at), expr);
}

function matcher(f: AdHocFilter): string {
  const name = /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(f.key) ? f.key : quoted(f.key);
  switch (f.operator) {
    case '=|':
    case '!=|':
      return `${name}${f.operator === '=|' ? '=~' : '!~'}${quoted(f.value.split('|').map((v) => v.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'))}`;
    case '=':
    case '!=':
    case '=~':
    case '!~':
      return `${name}${f.operator}${quoted(f.value)}`;
    default:
      // Labels are text: less and more have no matcher in PromQL.
      return '';
  }
}

function quoted(s: string): string {
  return `"${s.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;
}
