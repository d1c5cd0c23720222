/** The server's own API: sign-in, who is signed in, overview, boards, data sources. */
import type { DataSource } from '../board/datasource';
import { request, setCsrfToken } from './http';

export interface User {
  id: number;
  login: string;
  name: string;
  email: string;
  orgRole: string;
  /** administrator says that the person administers the installation. */
  administrator?: boolean;
  csrfToken: string;
}

export interface Workspace {
  id: string;
  alias: string;
  arn: string;
  status: string;
  prometheusEndpoint: string;
  remoteWriteUrl: string;
  queryUrl: string;
}

export interface Overview {
  version: string;
  region: string;
  account: string;
  workspaces: Workspace[];
  source: { kind: 'cluster' | 'machine' | 'config'; name: string; detail: string };
}

export interface BoardHit {
  uid: string;
  title: string;
  url: string;
  type: string;
  tags: string[];
  folderTitle?: string;
  folderUid?: string;
  isStarred?: boolean;
}

export interface BoardAnswer {
  meta: Record<string, unknown>;
  dashboard: unknown;
}

/** fetchUser answers who is signed in and keeps the session's anti-forgery token for later requests. */
export async function fetchUser(signal?: AbortSignal): Promise<User> {
  const user = await request<User>('/api/user', { signal, expectUnauthorized: true });
  setCsrfToken(user.csrfToken ?? '');
  return user;
}

/** loginWithLink exchanges the one-time token of the login link for a session cookie. */
export function loginWithLink(token: string): Promise<unknown> {
  return request('/api/login/link', { json: { token }, expectUnauthorized: true });
}

export async function logout(): Promise<void> {
  const out = await request<{ redirectUri?: string }>('/api/logout', { method: 'POST' });
  if (out.redirectUri) {
    // Who came by an identity provider outside ends the session there, too.
    window.location.assign(out.redirectUri);
  }
  setCsrfToken('');
}

export function fetchOverview(signal?: AbortSignal): Promise<Overview> {
  return request('/api/mangru/overview', { signal });
}

export async function searchBoards(query: string, tags: readonly string[], signal?: AbortSignal, more: { starred?: boolean } = {}): Promise<BoardHit[]> {
  const params = new URLSearchParams({ query, type: 'dash-db' });
  if (more.starred) {
    params.set('starred', 'true');
  }
  tags.forEach((t) => params.append('tag', t));
  const hits = await request<BoardHit[] | null>(`/api/search?${params}`, { signal });
  return (hits ?? []).map((h) => ({ ...h, tags: h.tags ?? [] }));
}

export function fetchBoard(uid: string, signal?: AbortSignal): Promise<BoardAnswer> {
  return request(`/api/dashboards/uid/${encodeURIComponent(uid)}`, { signal });
}

export async function fetchDataSources(signal?: AbortSignal): Promise<DataSource[]> {
  return (await request<DataSource[] | null>('/api/datasources', { signal })) ?? [];
}

/** filterBoards keeps boards whose title holds every word and that carry every tag. */
export function filterBoards(boards: readonly BoardHit[], query: string, tags: readonly string[]): BoardHit[] {
  const words = query.toLowerCase().split(/\s+/).filter((w) => w !== '');
  return boards.filter((b) => words.every((w) => b.title.toLowerCase().includes(w)) && tags.every((tag) => b.tags.includes(tag)));
}
