/** Where numbers come from: the targets behind a query's series, and targets that two jobs scrape at once. */
import { selectorsOf } from './diagnose';
import type { PrometheusApi } from './prometheus';

/** Origin is one target that feeds a query. */
export interface Origin {
  selector: string;
  job: string;
  instance: string;
  series: number;
  /** null when the target has no `up` now: it was removed, or the series come from a rule. */
  up: boolean | null;
  /** Epoch milliseconds of the last scrape, or null. */
  lastScrape: number | null;
}

/** origins asks, for each selector of a query, which targets its series come from and how those are. */
export async function origins(expr: string, api: PrometheusApi, timeMs: number, signal: AbortSignal): Promise<Origin[]> {
  const out: Origin[] = [];
  const [ups, scraped] = await Promise.all([vector('up', api, timeMs, signal), vector('timestamp(up)', api, timeMs, signal)]);
  const key = (l: Record<string, string>) => `${l.job ?? ''}\n${l.instance ?? ''}`;
  const upOf = new Map(ups.map((s) => [key(s.metric), s.value > 0]));
  const lastOf = new Map(scraped.map((s) => [key(s.metric), s.value * 1000]));
  for (const s of selectorsOf(expr).slice(0, 10)) {
    const counts = await vector(`count by (job, instance) (${s.text})`, api, timeMs, signal);
    for (const c of counts) {
      out.push({ selector: s.text, job: c.metric.job ?? '', instance: c.metric.instance ?? '', series: c.value, up: upOf.get(key(c.metric)) ?? null, lastScrape: lastOf.get(key(c.metric)) ?? null });
    }
  }
  return out;
}

/** Doubled is one metric that several jobs scrape from one target. */
export interface Doubled {
  metric: string;
  instance: string;
  jobs: string[];
}

/** doubledMetrics finds metrics of a query that come more than once from the same instance: whatever sums them counts them twice. */
export async function doubledMetrics(exprs: readonly string[], api: PrometheusApi, timeMs: number, signal: AbortSignal): Promise<Doubled | null> {
  const selectors = exprs.flatMap((e) => selectorsOf(e));
  // A query that chooses its job is right whatever other jobs scrape; every job has `up` of its own.
  const names = [...new Set(selectors.filter((s) => s.metric !== '' && !/^(up|ALERTS|scrape_)/.test(s.metric) && !s.metric.includes(':') && !s.matchers.some((m) => /^job\s*=[^~]/.test(m))).map((s) => s.metric))];
  if (names.length === 0) {
    return null;
  }
  const chosen = names.slice(0, 20).join('|');
  const twice = await vector(`topk(1, count by (__name__, instance) (count by (__name__, instance, job) ({__name__=~"${chosen}",instance!=""})) > 1)`, api, timeMs, signal);
  const first = twice[0]?.metric;
  if (!first) {
    return null;
  }
  const metric = first.__name__ ?? '';
  const instance = first.instance ?? '';
  const jobs = await vector(`count by (job) ({__name__="${metric}",instance=${JSON.stringify(instance)}})`, api, timeMs, signal);
  return jobs.length > 1 ? { metric, instance, jobs: jobs.map((j) => j.metric.job ?? '').sort() } : null;
}

async function vector(expr: string, api: PrometheusApi, timeMs: number, signal: AbortSignal): Promise<{ metric: Record<string, string>; value: number }[]> {
  const { data } = await api.instant(expr, timeMs, signal);
  return data.resultType === 'vector' ? data.result.map((s) => ({ metric: s.metric, value: Number(s.value?.[1] ?? NaN) })) : [];
}
