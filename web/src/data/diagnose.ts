/** Finds out why a query answered nothing, so that an empty panel can say it in one sentence. */
import { parser } from '@prometheus-io/lezer-promql';
import type { PrometheusApi, Range } from './prometheus';

/** Selector is one vector selector of a query. */
export interface Selector {
  metric: string;
  text: string;
  matchers: string[];
}

/** Reason is why a query is empty; the UI turns it into a sentence. */
export type Reason =
  | { kind: 'no-metric'; metric: string }
  /** The metric has samples, at other times than these. */
  | { kind: 'other-time'; metric: string }
  | { kind: 'no-match'; metric: string; matcher: string }
  /** A list variable without values stands in the query: `()` matches nothing but an absent label. */
  | { kind: 'no-options'; label: string }
  | { kind: 'no-combination'; metric: string }
  | { kind: 'no-value' };

/** selectorsOf lists the vector selectors of a PromQL expression. */
export function selectorsOf(expr: string): Selector[] {
  const out = new Map<string, Selector>();
  parser.parse(expr).iterate({
    enter: (node) => {
      if (node.name !== 'VectorSelector') {
        return;
      }
      const text = expr.slice(node.from, node.to);
      const name = node.node.getChild('Identifier');
      const matchers: string[] = [];
      node.node.cursor().iterate((n) => {
        if (/^(Unquoted|Quoted)?LabelMatcher$/.test(n.name)) {
          matchers.push(expr.slice(n.from, n.to));
        }
      });
      out.set(text, { metric: name ? expr.slice(name.from, name.to) : '', text, matchers });
    },
  });
  return [...out.values()];
}

/** Everything a data source can hold; it clips the ends to what it keeps. */
const ALL_TIME: Range = { from: 0, to: 4_102_444_800_000 };

/** diagnose asks the data source, selector by selector, what is there. */
export async function diagnose(expr: string, api: PrometheusApi, range: Range, signal: AbortSignal): Promise<Reason> {
  const there = async (match: string, when: Range | null = range) => (await api.series(match, when, 1, signal)).length > 0;
  const absent = async (metric: string): Promise<Reason> => ({ kind: (await there(metric, ALL_TIME)) ? 'other-time' : 'no-metric', metric });
  for (const s of selectorsOf(expr)) {
    const label = emptyList(s);
    if (label !== '' && (s.metric === '' || (await there(s.metric)))) {
      return { kind: 'no-options', label };
    }
    if (await there(s.text)) {
      continue;
    }
    if (s.metric === '') {
      return absent(s.text);
    }
    if (!(await there(s.metric))) {
      return absent(s.metric);
    }
    for (const m of s.matchers) {
      if (!(await there(`${s.metric}{${m}}`))) {
        return { kind: 'no-match', metric: s.metric, matcher: m };
      }
    }
    return { kind: 'no-combination', metric: s.metric };
  }
  return { kind: 'no-value' };
}

/** emptyList finds the label that is compared with a list variable of no values. */
function emptyList(s: Selector): string {
  return s.matchers.map((m) => /^"?([^"=~!]+)"?\s*=~\s*"[^"]*\(\)[^"]*"$/.exec(m)?.[1]?.trim()).find((l) => l !== undefined) ?? '';
}
