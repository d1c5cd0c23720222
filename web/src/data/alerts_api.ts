/** Rules, alerts and silences behind a data source: Prometheus' rules API and Alertmanager's API, version 2. */
import { PrometheusApi, type Labels } from './prometheus';
import { request } from './http';

export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  health: string;
  lastError?: string;
  lastEvaluation?: string;
  evaluationTime?: number;
  /** Seconds that a condition must hold. */
  duration?: number;
  state?: 'firing' | 'pending' | 'inactive' | 'unknown';
  labels?: Labels;
  annotations?: Record<string, string>;
  alerts?: { labels: Labels; state: string; activeAt?: string; value: string }[];
}

export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  rules: Rule[];
  lastEvaluation?: string;
  evaluationTime?: number;
}

export interface ManagedAlert {
  fingerprint: string;
  labels: Labels;
  annotations: Record<string, string>;
  startsAt: string;
  status: { state: 'active' | 'suppressed' | 'unprocessed'; silencedBy: string[]; inhibitedBy: string[] };
  receivers: { name: string }[];
}

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

export interface Silence {
  id: string;
  comment: string;
  createdBy: string;
  startsAt: string;
  endsAt: string;
  matchers: Matcher[];
  status: { state: 'active' | 'pending' | 'expired' };
}

export interface ManagerStatus {
  config?: { original?: string };
  versionInfo?: { version?: string };
  uptime?: string;
}

const manager = (source: string) => `/api/alertmanager/${encodeURIComponent(source)}/api/v2`;

export async function fetchRules(source: string, signal?: AbortSignal): Promise<RuleGroup[]> {
  const answer = await request<{ data?: { groups?: RuleGroup[] | null } }>(`/api/prometheus/${encodeURIComponent(source)}/api/v1/rules`, { signal });
  return answer.data?.groups ?? [];
}

export async function fetchManagedAlerts(source: string, signal?: AbortSignal): Promise<ManagedAlert[]> {
  return (await request<ManagedAlert[] | null>(`${manager(source)}/alerts`, { signal })) ?? [];
}

export async function fetchSilences(source: string, signal?: AbortSignal): Promise<Silence[]> {
  return (await request<Silence[] | null>(`${manager(source)}/silences`, { signal })) ?? [];
}

export function createSilence(source: string, silence: Omit<Silence, 'id' | 'status'>): Promise<{ silenceID: string }> {
  return request(`${manager(source)}/silences`, { json: silence });
}

export function expireSilence(source: string, id: string): Promise<unknown> {
  return request(`${manager(source)}/silence/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

export function fetchManagerStatus(source: string, signal?: AbortSignal): Promise<ManagerStatus> {
  return request(`${manager(source)}/status`, { signal });
}

/** Episode is a stretch of time in which an alert was in one state. */
export interface Episode {
  labels: Labels;
  state: string;
  from: number;
  to: number;
  /** It lasted to the end of what was asked for. */
  open: boolean;
}

/** episodesOf reads the history of alerts out of the series that rules write of themselves, the newest first. */
export function episodesOf(series: readonly { metric: Labels; values?: readonly [number, string][] }[], stepMs: number, end: number): Episode[] {
  const out: Episode[] = [];
  for (const { metric, values = [] } of series) {
    const { alertstate: state = '', ...labels } = metric;
    delete labels.__name__;
    let last: Episode | null = null;
    for (const [seconds] of values) {
      const at = seconds * 1000;
      if (last && at - last.to <= stepMs * 1.5) {
        last.to = at;
      } else {
        last = { labels, state, from: at, to: at, open: false };
        out.push(last);
      }
    }
    if (last && end - last.to <= stepMs * 1.5) {
      last.open = true;
    }
  }
  return out.sort((a, b) => b.from - a.from || (a.labels.alertname ?? '').localeCompare(b.labels.alertname ?? ''));
}

const HISTORY_STEP = 60_000;

export async function fetchHistory(source: string, hours: number, now: number, signal?: AbortSignal): Promise<Episode[]> {
  const step = Math.max(HISTORY_STEP, Math.ceil((hours * 3_600_000) / 10_000 / HISTORY_STEP) * HISTORY_STEP);
  const answer = await new PrometheusApi(source).range('ALERTS', now - hours * 3_600_000, now, step, signal);
  return answer.data.resultType === 'matrix' ? episodesOf(answer.data.result, step, now) : [];
}

/** parseMatcher reads name="value" and its kin; quotes may be left out. */
export function parseMatcher(text: string): Matcher | null {
  const m = /^\s*([a-zA-Z_][\w.]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"]*?))\s*$/.exec(text);
  if (!m) {
    return null;
  }
  const value = m[3] === undefined ? (m[4] ?? '') : m[3].replace(/\\(.)/g, '$1');
  return { name: m[1] ?? '', value, isRegex: (m[2] ?? '').endsWith('~'), isEqual: !(m[2] ?? '').startsWith('!') };
}

export function matcherText(m: Matcher): string {
  return `${m.name}${m.isEqual ? (m.isRegex ? '=~' : '=') : m.isRegex ? '!~' : '!='}"${m.value}"`;
}
