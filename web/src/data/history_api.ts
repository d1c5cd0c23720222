/** The queries a person ran, kept by the server for that person alone. */
import { request } from './http';

export interface PastQuery {
  uid: string;
  datasourceUid: string;
  /** Seconds since 1970. */
  createdAt: number;
  comment: string;
  starred: boolean;
  queries: { refId?: string; expr?: string; legendFormat?: string }[];
}

export interface HistoryFilter {
  text: string;
  sourceUid: string;
  starred: boolean;
  limit: number;
}

/** fetchHistory lists past queries, newest first, and how many there are in all. */
export async function fetchHistory(filter: HistoryFilter, signal?: AbortSignal): Promise<{ total: number; list: PastQuery[] }> {
  const params = new URLSearchParams({ searchString: filter.text, sort: 'time-desc', limit: String(filter.limit), page: '1' });
  if (filter.sourceUid !== '') {
    params.set('datasourceUid', filter.sourceUid);
  }
  if (filter.starred) {
    params.set('onlyStarred', 'true');
  }
  const { result } = await request<{ result: { totalCount: number; queryHistory: PastQuery[] | null } }>(`/api/query-history?${params}`, { signal });
  return { total: result.totalCount, list: result.queryHistory ?? [] };
}

export function rememberQueries(datasourceUid: string, queries: { refId: string; expr: string; legendFormat: string }[]): Promise<unknown> {
  return request('/api/query-history', { json: { datasourceUid, queries } });
}

export function starQuery(uid: string, on: boolean): Promise<unknown> {
  return request(`/api/query-history/star/${encodeURIComponent(uid)}`, { method: on ? 'POST' : 'DELETE' });
}

export function commentQuery(uid: string, comment: string): Promise<unknown> {
  return request(`/api/query-history/${encodeURIComponent(uid)}`, { method: 'PATCH', json: { comment } });
}

export function forgetQuery(uid: string): Promise<unknown> {
  return request(`/api/query-history/${encodeURIComponent(uid)}`, { method: 'DELETE' });
}
