/** What the PromQL editor's completion asks: metric names, labels, help texts, from one data source. Answers are kept for a minute. */
import type { PrometheusClient } from '@prometheus-io/codemirror-promql';
import { EqlRegex, EqlSingle, Neq, NeqRegex } from '@prometheus-io/lezer-promql';
import { PrometheusApi, type Range } from './prometheus';

type Matchers = Parameters<PrometheusClient['labelValues']>[2];

const KEEP_MS = 60_000;

export class PromqlClient implements PrometheusClient {
  private readonly api: PrometheusApi;
  private readonly range: () => Range;
  private readonly kept = new Map<string, { at: number; answer: Promise<unknown> }>();

  constructor(sourceUid: string, range: () => Range) {
    this.api = new PrometheusApi(sourceUid);
    this.range = range;
  }

  labelNames(metricName = ''): Promise<string[]> {
    return this.keep(`names ${metricName}`, [], () => this.api.labelNames(metricName, this.range()));
  }

  labelValues(labelName: string, metricName = '', matchers: Matchers = []): Promise<string[]> {
    const match = selector(metricName, matchers.filter((m) => m.name !== labelName));
    return this.keep(`values ${labelName} ${match}`, [], () => this.api.labelValues(labelName, match, this.range()));
  }

  metricNames(): Promise<string[]> {
    return this.labelValues('__name__');
  }

  metricMetadata(): Promise<Record<string, { type: string; help: string }[]>> {
    return this.keep('metadata', {}, () => this.api.metadata());
  }

  async series(metricName: string, matchers: Matchers = [], labelName = ''): Promise<Map<string, string>[]> {
    const match = selector(metricName, matchers.filter((m) => m.name !== labelName));
    const found = await this.keep(`series ${match}`, [], () => this.api.series(match, this.range(), 1000));
    return found.map((labels) => new Map(Object.entries(labels)));
  }

  flags(): Promise<Record<string, string>> {
    return Promise.resolve({});
  }

  /** keep shares answers; completion that fails offers nothing rather than disturb the person typing. */
  private keep<V>(key: string, nothing: V, ask: () => Promise<V>): Promise<V> {
    const known = this.kept.get(key);
    if (known && Date.now() - known.at < KEEP_MS) {
      return known.answer as Promise<V>;
    }
    const answer = ask().catch(() => {
      this.kept.delete(key);
      return nothing;
    });
    this.kept.set(key, { at: Date.now(), answer });
    return answer;
  }
}

const OPERATORS: Record<number, string> = { [EqlSingle]: '=', [EqlRegex]: '=~', [Neq]: '!=', [NeqRegex]: '!~' };

/** selector writes what the person typed so far as a selector; matchers still without a value are left out. */
function selector(metric: string, matchers: NonNullable<Matchers>): string {
  const parts = matchers.filter((m) => m.name !== '' && m.value !== '').map((m) => `${m.name}${OPERATORS[m.type] ?? '='}${JSON.stringify(m.value)}`);
  return parts.length === 0 ? metric : `${metric}{${parts.join(',')}}`;
}
