/** Calls about data sources: their settings, whose secrets go in and never come back. */
import { ApiError, request } from '../data/http';

export interface SourceSettings {
  uid?: string;
  name: string;
  type: string;
  url: string;
  access: string;
  isDefault: boolean;
  basicAuth: boolean;
  basicAuthUser: string;
  jsonData: Record<string, unknown>;
  /** Secrets that are set; they are shown by name only. */
  secureJsonFields?: Record<string, boolean>;
  /** Secrets to set; an empty one is taken away. */
  secureJsonData?: Record<string, string>;
  version?: number;
  readOnly?: boolean;
}

export const fetchSources = () => request<(SourceSettings & { uid: string; typeName: string })[]>('/api/datasources');
export const fetchSource = (uid: string) => request<SourceSettings & { uid: string }>(`/api/datasources/uid/${encodeURIComponent(uid)}`);
export const addSource = (s: SourceSettings) => request<{ datasource: SourceSettings & { uid: string } }>('/api/datasources', { json: s });
export const saveSource = (s: SourceSettings & { uid: string }) =>
  request<{ datasource: SourceSettings & { uid: string } }>(`/api/datasources/uid/${encodeURIComponent(s.uid)}`, { method: 'PUT', json: s });
export const deleteSource = (uid: string) => request<unknown>(`/api/datasources/uid/${encodeURIComponent(uid)}`, { method: 'DELETE' });

export interface Health {
  status: 'OK' | 'ERROR';
  message: string;
  details?: { advice?: string };
}

/** testSource is the second half of "Save & test"; a source that does not work is an answer, no failure of the call. */
export async function testSource(uid: string): Promise<Health> {
  try {
    return await request<Health>(`/api/datasources/uid/${encodeURIComponent(uid)}/health`);
  } catch (err) {
    if (err instanceof ApiError && err.status === 400) {
      return { status: 'ERROR', message: err.message, details: { advice: err.advice } };
    }
    throw err;
  }
}

/** fresh is a data source of a type before anything is filled in. */
export function fresh(type: string, taken: readonly string[]): SourceSettings {
  let name = type === 'alertmanager' ? 'Alertmanager' : 'Prometheus';
  for (let i = 1, base = name; taken.includes(name); i++) {
    name = `${base}-${i}`;
  }
  const jsonData: Record<string, unknown> = type === 'alertmanager' ? { implementation: 'prometheus' } : { httpMethod: 'POST' };
  if (type === 'grafana-amazonprometheus-datasource') {
    Object.assign(jsonData, { sigV4Auth: true, sigV4AuthType: 'keys' });
  }
  return { name, type, url: '', access: 'proxy', isDefault: taken.length === 0, basicAuth: false, basicAuthUser: '', jsonData };
}
