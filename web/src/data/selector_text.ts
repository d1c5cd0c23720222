/** Writes selectors from chosen labels and values. */

/** selectorText writes a metric and the values chosen of its labels as a selector; several values become a regular expression. */
export function selectorText(metric: string, chosen: ReadonlyMap<string, readonly string[]>): string {
  const quoted = JSON.stringify;
  const classic = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(metric);
  const matchers = [...chosen].flatMap(([label, values]) => {
    const name = /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) ? label : quoted(label);
    if (values.length === 0) {
      return [];
    }
    return values.length === 1 ? [`${name}=${quoted(values[0])}`] : [`${name}=~${quoted(values.map(escapeRegex).join('|'))}`];
  });
  // Metrics whose name is no identifier stand inside the braces.
  const parts = classic ? matchers : [quoted(metric), ...matchers];
  return `${classic ? metric : ''}${parts.length > 0 ? `{${parts.join(',')}}` : ''}`;
}

function escapeRegex(s: string): string {
  return s.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** suggestion is what one usually asks of a metric of a type: counters by their growth, histograms by a quantile. */
export function suggestion(selector: string, metric: string, type: string): string {
  if (metric.endsWith('_bucket')) {
    return `histogram_quantile(0.95, sum by (le) (rate(${selector}[$__rate_interval])))`;
  }
  return type === 'counter' || /_(total|count|sum)$/.test(metric) ? `rate(${selector}[$__rate_interval])` : selector;
}
