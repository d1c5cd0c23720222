/** The Prometheus HTTP API of one data source, reached through the server's proxy. */
import { request, type RequestOptions } from './http';

export type Sample = [number, string];
export type Labels = Record<string, string>;

export interface MatrixSeries {
  metric: Labels;
  values?: Sample[];
}

export interface VectorSample {
  metric: Labels;
  value?: Sample;
}

/** QueryData is the `data` member of an answer to query and query_range. */
export type QueryData =
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'scalar' | 'string'; result: Sample };

export interface QueryAnswer {
  data: QueryData;
  warnings: string[];
  infos: string[];
}

/** QueryStats is what the server says a query cost: its evaluation's time and the samples it read. */
export interface QueryStats {
  ms: number;
  samples: number;
}

interface Envelope<T> {
  status: string;
  data: T;
  warnings?: string[];
  infos?: string[];
}

/** Alert is one active alert of the rules API. */
export interface Alert {
  labels: Labels;
  annotations?: Labels;
  state: string;
  activeAt?: string;
  value?: string;
}

/** Range bounds metadata look-ups, in epoch milliseconds. */
export interface Range {
  from: number;
  to: number;
}

export class PrometheusApi {
  private readonly base: string;

  constructor(uid: string) {
    this.base = `/api/datasources/proxy/uid/${encodeURIComponent(uid)}/api/v1`;
  }

  async instant(query: string, timeMs: number, signal?: AbortSignal): Promise<QueryAnswer> {
    return this.query('query', { query, time: seconds(timeMs) }, signal);
  }

  /** measured is instant with the server's own account of what the query cost; null where it gives none. */
  async measured(query: string, timeMs: number, signal?: AbortSignal): Promise<{ data: QueryData; stats: QueryStats | null }> {
    const { data } = await this.query('query', { query, time: seconds(timeMs), stats: 'true' }, signal);
    const stats = (data as { stats?: { timings?: { evalTotalTime?: number }; samples?: { totalQueryableSamples?: number } } }).stats;
    const took = stats?.timings?.evalTotalTime;
    return { data, stats: took === undefined ? null : { ms: took * 1000, samples: stats?.samples?.totalQueryableSamples ?? 0 } };
  }

  async range(query: string, startMs: number, endMs: number, stepMs: number, signal?: AbortSignal): Promise<QueryAnswer> {
    return this.query('query_range', { query, start: seconds(startMs), end: seconds(endMs), step: seconds(stepMs) }, signal);
  }

  labelNames(match: string, range: Range | null, signal?: AbortSignal): Promise<string[]> {
    return this.get(`labels`, match, range, {}, signal);
  }

  labelValues(label: string, match: string, range: Range | null, signal?: AbortSignal): Promise<string[]> {
    return this.get(`label/${encodeURIComponent(escapeLabelName(label))}/values`, match, range, {}, signal);
  }

  series(match: string, range: Range | null, limit: number, signal?: AbortSignal): Promise<Labels[]> {
    return this.get('series', match, range, limit > 0 ? { limit: String(limit) } : {}, signal);
  }

  async metadata(signal?: AbortSignal): Promise<Record<string, { type: string; help: string }[]>> {
    return (await request<Envelope<Record<string, { type: string; help: string }[]>>>(`${this.base}/metadata`, { signal })).data ?? {};
  }

  /** alerts lists what is pending or firing now. */
  async alerts(signal?: AbortSignal): Promise<Alert[]> {
    return (await request<Envelope<{ alerts: Alert[] | null }>>(`${this.base}/alerts`, { signal })).data?.alerts ?? [];
  }

  private async query(path: string, form: Record<string, string>, signal?: AbortSignal): Promise<QueryAnswer> {
    const options: RequestOptions = { form: new URLSearchParams(form), signal };
    const answer = await request<Envelope<QueryData>>(`${this.base}/${path}`, options);
    return { data: answer.data, warnings: answer.warnings ?? [], infos: answer.infos ?? [] };
  }

  private async get<T>(path: string, match: string, range: Range | null, extra: Record<string, string>, signal?: AbortSignal): Promise<T[]> {
    const params = new URLSearchParams(extra);
    if (match !== '') {
      params.set('match[]', match);
    }
    if (range) {
      params.set('start', seconds(range.from));
      params.set('end', seconds(range.to));
    }
    const query = params.toString();
    const answer = await request<Envelope<T[] | null>>(`${this.base}/${path}${query === '' ? '' : `?${query}`}`, { signal });
    return answer.data ?? [];
  }
}

function seconds(ms: number): string {
  return String(ms / 1000);
}

/** escapeLabelName writes a label name that is not a classic identifier in the form Prometheus takes in a path. */
export function escapeLabelName(name: string): string {
  if (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) {
    return name;
  }
  return `U__${[...name].map((c) => (c === '_' ? '__' : /[a-zA-Z0-9]/.test(c) ? c : `_${(c.codePointAt(0) ?? 0).toString(16)}_`)).join('')}`;
}
