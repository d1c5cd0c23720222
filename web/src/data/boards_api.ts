/** What editing needs of the server: saving, versions, stars, folders, imports. */
import { request } from './http';

type Json = Record<string, unknown>;

export interface Saved {
  uid: string;
  version: number;
  url: string;
}

export interface SaveOptions {
  message: string;
  folderUid: string;
  overwrite: boolean;
}

export function saveBoard(dashboard: Json, options: SaveOptions): Promise<Saved> {
  return request('/api/dashboards/db', { json: { dashboard, ...options } });
}

export function deleteBoard(uid: string): Promise<unknown> {
  return request(`/api/dashboards/uid/${encodeURIComponent(uid)}`, { method: 'DELETE' });
}

export interface BoardVersion {
  version: number;
  created: string;
  createdBy: string;
  message: string;
}

export async function fetchVersions(uid: string, signal?: AbortSignal): Promise<BoardVersion[]> {
  return (await request<{ versions: BoardVersion[] }>(`/api/dashboards/uid/${encodeURIComponent(uid)}/versions?limit=100`, { signal })).versions;
}

export interface Change {
  path: string;
  op: 'add' | 'remove' | 'replace';
  old?: unknown;
  new?: unknown;
}

export function diffVersions(uid: string, from: number, to: number): Promise<Change[]> {
  const side = (version: number) => ({ dashboardUid: uid, version });
  return request('/api/dashboards/calculate-diff', { json: { base: side(from), new: side(to) } });
}

export function restoreVersion(uid: string, version: number): Promise<Saved> {
  return request(`/api/dashboards/uid/${encodeURIComponent(uid)}/restore`, { json: { version } });
}

export function starBoard(uid: string, on: boolean): Promise<unknown> {
  return request(`/api/user/stars/dashboard/uid/${encodeURIComponent(uid)}`, { method: on ? 'POST' : 'DELETE' });
}

export interface FolderHit {
  uid: string;
  title: string;
  folderTitle?: string;
}

/** fetchFolders lists the folders that the caller may put boards into. */
export function fetchFolders(signal?: AbortSignal): Promise<FolderHit[]> {
  return request('/api/search?type=dash-folder&permission=Edit', { signal });
}

export function createFolder(title: string): Promise<FolderHit> {
  return request('/api/folders', { json: { title } });
}

export interface CatalogueEntry {
  id: number;
  title: string;
  description: string;
}

export function fetchCatalogue(signal?: AbortSignal): Promise<CatalogueEntry[]> {
  return request('/api/mangru/catalogue', { signal });
}

/** fetchFromGrafanaCom takes a board's number on grafana.com; bundled ones need no network. */
export async function fetchFromGrafanaCom(id: string): Promise<unknown> {
  return (await request<{ json: unknown }>(`/api/gnet/dashboards/${encodeURIComponent(id)}`)).json;
}

export async function fetchFromUrl(url: string): Promise<unknown> {
  return (await request<{ dashboard: unknown }>('/api/mangru/fetch-board', { json: { url } })).dashboard;
}

export interface ImportInput {
  name: string;
  type: string;
  pluginId: string;
  value: string;
}

export async function importBoard(dashboard: unknown, folderUid: string, inputs: ImportInput[], overwrite: boolean): Promise<string> {
  return (await request<{ importedUrl: string }>('/api/dashboards/import', { json: { dashboard, folderUid, inputs, overwrite } })).importedUrl;
}
