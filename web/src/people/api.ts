/** Calls about people: signing in, one's own account, and, for administrators, others'. */
import { request, setCsrfToken, type RequestOptions } from '../data/http';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export function call<T>(method: Method, path: string, json?: unknown): Promise<T> {
  return request<T>(`/api/people${path}`, { method: method as RequestOptions['method'], json: method === 'GET' ? undefined : json ?? {}, expectUnauthorized: true });
}

/** Progress says what comes next in a sign-in. */
export interface Progress {
  next: 'done' | 'factor' | 'change';
  token?: string;
  /** A passkey may be the second factor. */
  passkey?: boolean;
}

export interface Factor {
  id: string;
  kind: string;
  name: string;
  created: string;
}

export interface Me {
  login: string;
  displayName: string;
  givenName?: string;
  familyName?: string;
  email: string;
  emailVerified: boolean;
  language: string;
  administrator: boolean;
  hasPassword: boolean;
  factors: Factor[];
  recoveryCodesLeft: number;
  csrfToken: string;
  fresh: boolean;
  /** Where passkeys are made and used; empty where there can be none. */
  passkeyOrigin: string;
}

export interface SessionInfo {
  id: string;
  address: string;
  agent: string;
  created: string;
  present: boolean;
}

export interface Person {
  id: string;
  login: string;
  displayName: string;
  email: string;
  emailVerified: boolean;
  disabled: boolean;
  administrator: boolean;
  hasPassword: boolean;
}

/** Sent says what became of a mail; without a mail server there is a link to hand on. */
export interface Sent {
  sent: boolean;
  link?: string;
}

export const signIn = (name: string, password: string) => call<Progress>('POST', '/signin', { name, password });
export const sendCode = (token: string, code: string, remember: boolean) => call<Progress>('POST', '/factor', { token, code, remember });
export const forgot = (email: string) => call<unknown>('POST', '/forgot', { email });
export const invited = (token: string) => call<{ login: string; name: string }>('POST', '/invited', { token });
export const accept = (token: string, password: string) => call<Progress>('POST', '/accept', { token, password });
export const verify = (token: string) => call<{ email: string }>('POST', '/verify', { token });

export const fetchOutside = () => call<{ id: string; name: string }[]>('GET', '/outside');

export async function fetchMe(): Promise<Me> {
  const me = await call<Me>('GET', '/me');
  setCsrfToken(me.csrfToken);
  return me;
}

export const saveMe = (me: { displayName: string; givenName: string; familyName: string; language: string }) => call<unknown>('PUT', '/me', me);
export const stepUp = (password: string, code: string) => call<unknown>('POST', '/me/stepup', { password, code });
export const changePassword = (present: string, next: string) => call<unknown>('POST', '/me/password', { present, new: next });
export const verifyMe = () => call<Sent>('POST', '/me/verification');
export const fetchSessions = () => call<SessionInfo[]>('GET', '/me/sessions');
export const endSession = (id: string) => call<unknown>('DELETE', `/me/sessions/${id}`);
export const endOthers = () => call<unknown>('DELETE', '/me/sessions');
export const beginFactor = (name: string) => call<{ id: string; secret: string; qr: string }>('POST', '/me/factors', { name });
export const confirmFactor = (id: string, code: string) => call<{ recoveryCodes: string[] | null }>('POST', `/me/factors/${id}`, { code });
export const removeFactor = (id: string) => call<unknown>('DELETE', `/me/factors/${id}`);
export const newRecoveryCodes = () => call<{ recoveryCodes: string[] }>('POST', '/me/recovery-codes');

export const fetchPeople = (search: string, after: string) =>
  call<{ users: Person[]; next: string }>('GET', `/users?${new URLSearchParams({ search, after }).toString()}`);
export const addPerson = (p: { login: string; email: string; givenName: string; familyName: string; language: string }) => call<Person>('POST', '/users', p);
export const invite = (id: string) => call<Sent>('POST', `/users/${id}/invitation`);
export const sendVerification = (id: string) => call<Sent>('POST', `/users/${id}/verification`);
export const oneTimePassword = (id: string) => call<{ password: string }>('POST', `/users/${id}/one-time-password`);
export const changePerson = (id: string, change: { disabled?: boolean; administrator?: boolean }) => call<Person>('PATCH', `/users/${id}`, change);

export const deletePerson = (id: string, heir: string) => call<unknown>('DELETE', `/users/${id}${heir === '' ? '' : `?heir=${heir}`}`);

export type WorkspaceRole = 'VIEWER' | 'EDITOR' | 'ADMIN';

export interface Subject {
  id: string;
  type: 'SSO_USER' | 'SSO_GROUP';
}

export interface Assignment extends Subject {
  role: WorkspaceRole;
  /** Empty for who is not in the directory any more. */
  name: string;
  login?: string;
}

export interface DashboardWorkspace {
  id: string;
  name: string;
  description: string;
  url: string;
  default: boolean;
  status: string;
  providers: string[];
  dataSources: string[];
  baseRole: string;
  grafanaVersion: string;
  created: string;
  /** One's own, in the list of one's own. */
  role?: string;
  permissions?: Assignment[];
}

export const fetchMyWorkspaces = () => call<DashboardWorkspace[]>('GET', '/me/workspaces');
export const fetchWorkspaces = () => call<{ workspaces: DashboardWorkspace[]; next: string }>('GET', '/workspaces');
export const fetchWorkspace = (id: string) => call<DashboardWorkspace>('GET', `/workspaces/${id}`);
export const createWorkspace = (w: { name: string; description: string; providers: string[]; dataSources: string[] }) => call<DashboardWorkspace>('POST', '/workspaces', w);
export const deleteWorkspace = (id: string) => call<unknown>('DELETE', `/workspaces/${id}`);
export const grantRole = (id: string, role: WorkspaceRole, users: Subject[]) => call<unknown>('POST', `/workspaces/${id}/permissions`, { role, users });
export const revokeRole = (id: string, role: WorkspaceRole, users: Subject[]) => call<unknown>('POST', `/workspaces/${id}/revocations`, { role, users });
export const fetchGroups = () => call<{ groups: { id: string; name: string }[]; next: string }>('GET', '/groups');
