/** Folders, who may do what with them and with boards, and the library of panels that boards share. */
import { request } from './http';

type Json = Record<string, unknown>;

const enc = encodeURIComponent;

export interface Folder {
  uid: string;
  title: string;
  description?: string;
  parentUid?: string;
  version: number;
  canEdit: boolean;
  canAdmin: boolean;
  canDelete: boolean;
  parents?: { uid: string; title: string }[];
}

export function fetchFolder(uid: string, signal?: AbortSignal): Promise<Folder> {
  return request(`/api/folders/${enc(uid)}`, { signal });
}

export interface Hit {
  uid: string;
  title: string;
  type: 'dash-folder' | 'dash-db';
  /** uid of the folder around it; absent at the top. */
  folderUid?: string;
  folderTitle?: string;
  tags: string[];
}

/** fetchInside lists what is right inside a folder; an empty uid is the top. */
export function fetchInside(uid: string, signal?: AbortSignal): Promise<Hit[]> {
  return request(`/api/search?limit=5000&folderUIDs=${enc(uid === '' ? 'general' : uid)}`, { signal });
}

/** fetchAllFolders lists all folders, those that the caller may put something into when asked for. */
export function fetchAllFolders(editable: boolean, signal?: AbortSignal): Promise<Hit[]> {
  return request(`/api/search?limit=5000&type=dash-folder${editable ? '&permission=Edit' : ''}`, { signal });
}

export function createFolder(title: string, parentUid: string): Promise<Folder> {
  return request('/api/folders', { json: { title, parentUid } });
}

export function renameFolder(f: Folder, title: string, description: string): Promise<Folder> {
  return request(`/api/folders/${enc(f.uid)}`, { method: 'PUT', json: { title, description, version: f.version } });
}

export function moveFolder(uid: string, parentUid: string): Promise<Folder> {
  return request(`/api/folders/${enc(uid)}/move`, { json: { parentUid } });
}

export interface Counts {
  folder: number;
  dashboard: number;
  librarypanel: number;
  alertrule: number;
}

export function countInside(uid: string, signal?: AbortSignal): Promise<Counts> {
  return request(`/api/folders/${enc(uid)}/counts`, { signal });
}

export function deleteFolder(uid: string): Promise<unknown> {
  return request(`/api/folders/${enc(uid)}?forceDeleteRules=true`, { method: 'DELETE' });
}

/** moveBoard saves a board as it is in another folder. */
export async function moveBoard(uid: string, folderUid: string, message: string): Promise<void> {
  const { dashboard } = await request<{ dashboard: Json }>(`/api/dashboards/uid/${enc(uid)}`);
  await request('/api/dashboards/db', { json: { dashboard, folderUid, message, overwrite: true } });
}

export type Resource = 'folders' | 'dashboards';
export type Level = 'View' | 'Edit' | 'Admin';

export interface Permission {
  permission: Level;
  isInherited: boolean;
  isServiceAccount: boolean;
  builtInRole?: string;
  teamId?: number;
  team?: string;
  userId?: number;
  userLogin?: string;
}

export function fetchPermissions(resource: Resource, uid: string, signal?: AbortSignal): Promise<Permission[]> {
  return request(`/api/access-control/${resource}/${enc(uid)}`, { signal });
}

/** Subject is whom a permission is for: a role, or the number of a team or user. */
export interface Subject {
  kind: 'builtInRoles' | 'teams' | 'users';
  id: string;
}

/** setPermission gives a level, or with an empty one takes it away. */
export function setPermission(resource: Resource, uid: string, who: Subject, permission: Level | ''): Promise<unknown> {
  return request(`/api/access-control/${resource}/${enc(uid)}/${who.kind}/${enc(who.id)}`, { json: { permission } });
}

export function fetchUsers(signal?: AbortSignal): Promise<{ userId: number; login: string }[]> {
  return request('/api/org/users/lookup', { signal });
}

export async function fetchTeams(signal?: AbortSignal): Promise<{ id: number; name: string }[]> {
  return (await request<{ teams: { id: number; name: string }[] }>('/api/teams/search?perpage=1000', { signal })).teams;
}

export interface LibraryPanel {
  uid: string;
  name: string;
  type: string;
  description: string;
  folderUid: string;
  version: number;
  model: Json;
  meta: { folderName: string; connectedDashboards: number; canEdit: boolean; updated: string };
}

export async function fetchLibrary(search: string, folder: string | null, signal?: AbortSignal): Promise<LibraryPanel[]> {
  const q = new URLSearchParams({ kind: '1', perPage: '1000', searchString: search });
  if (folder !== null) {
    q.set('folderFilterUIDs', folder === '' ? 'general' : folder);
  }
  return (await request<{ result: { elements: LibraryPanel[] } }>(`/api/library-elements?${q}`, { signal })).result.elements;
}

export async function createLibraryPanel(name: string, folderUid: string, model: Json): Promise<LibraryPanel> {
  return (await request<{ result: LibraryPanel }>('/api/library-elements', { json: { name, folderUid, kind: 1, model } })).result;
}

export function changeLibraryPanel(p: LibraryPanel, change: { name?: string; folderUid?: string; model?: Json }): Promise<unknown> {
  return request(`/api/library-elements/${enc(p.uid)}`, { method: 'PATCH', json: { kind: 1, version: p.version, name: p.name, ...change } });
}

export function deleteLibraryPanel(uid: string): Promise<unknown> {
  return request(`/api/library-elements/${enc(uid)}`, { method: 'DELETE' });
}

/** fetchConnections lists the boards that show a library panel, of those that the caller may see. */
export async function fetchConnections(uid: string, signal?: AbortSignal): Promise<Hit[]> {
  const { result } = await request<{ result: { connectionUid: string }[] }>(`/api/library-elements/${enc(uid)}/connections`, { signal });
  if (result.length === 0) {
    return [];
  }
  return request(`/api/search?type=dash-db&limit=5000&${result.map((r) => `dashboardUIDs=${enc(r.connectionUid)}`).join('&')}`, { signal });
}

export async function fetchBoardModel(uid: string, signal?: AbortSignal): Promise<{ board: Json; folderUid: string; title: string; canAdmin: boolean }> {
  const a = await request<{ dashboard: Json; meta: { folderUid?: string; canAdmin?: boolean } }>(`/api/dashboards/uid/${enc(uid)}`, { signal });
  return { board: a.dashboard, folderUid: a.meta.folderUid ?? '', title: String(a.dashboard.title ?? ''), canAdmin: a.meta.canAdmin === true };
}

export function saveModel(board: Json, folderUid: string, message: string): Promise<unknown> {
  return request('/api/dashboards/db', { json: { dashboard: board, folderUid, message, overwrite: false } });
}
