/** Calls of the administration pages. */
import { call } from '../people/api';

export interface Metrics {
  id: string;
  alias: string;
  arn: string;
  status: string;
  created: string;
  remoteWriteUrl: string;
  queryUrl: string;
}

export interface AccessKey {
  id: string;
  active: boolean;
  created: string;
  lastUsed: string;
  service: string;
}

export interface AccessUser {
  name: string;
  arn: string;
  created: string;
  keys: AccessKey[];
  policies: string[];
}

export interface Role {
  name: string;
  arn: string;
  description: string;
  trust: string;
  policies: string[];
}

export interface Policy {
  name: string;
  arn: string;
  description: string;
  own: boolean;
  attachments: number;
}

export interface Cluster {
  name: string;
  version: string;
  endpoint: string;
  issuer: string;
  scrapable: boolean;
  created: string;
}

export interface AuditLine {
  time: string;
  principal?: string;
  access_key_id?: string;
  action?: string;
  resource?: string;
  source_ip?: string;
  decision: string;
  code?: string;
  reason?: string;
}

export interface ProviderSettings {
  issuer?: string;
  clientId?: string;
  scopes?: string[];
  metadata?: string;
  metadataUrl?: string;
  claims: { login?: string; email?: string; name?: string; groups?: string };
  groups?: Record<string, string>;
  createAccounts: boolean;
  linkByEmail: boolean;
}

export interface Provider {
  id: string;
  kind: 'oidc' | 'saml';
  name: string;
  enabled: boolean;
  settings: ProviderSettings;
  hasSecret: boolean;
  callbackUrl: string;
  metadataUrl?: string;
}

const key = (user: string, id: string) => `/admin/users/${encodeURIComponent(user)}/keys/${id}`;

export const fetchMetrics = () => call<Metrics[]>('GET', '/admin/metrics');
export const createMetrics = (alias: string) => call<unknown>('POST', '/admin/metrics', { alias });
export const deleteMetrics = (id: string) => call<unknown>('DELETE', `/admin/metrics/${id}`);
export const fetchUsers = () => call<AccessUser[]>('GET', '/admin/users');
export const createUser = (name: string) => call<unknown>('POST', '/admin/users', { name });
export const createKey = (user: string) => call<{ id: string; secret: string }>('POST', `/admin/users/${encodeURIComponent(user)}/keys`);
export const setKey = (user: string, id: string, active: boolean) => call<unknown>('PATCH', key(user, id), { active });
export const deleteKey = (user: string, id: string) => call<unknown>('DELETE', key(user, id));
export const fetchRoles = () => call<Role[]>('GET', '/admin/roles');
export const fetchPolicies = () => call<Policy[]>('GET', '/admin/policies');
export const fetchPolicy = (arn: string) => call<{ document: string }>('GET', `/admin/policy?${new URLSearchParams({ arn }).toString()}`);
export const fetchClusters = () => call<Cluster[]>('GET', '/admin/clusters');
export const fetchAudit = (search: string) => call<AuditLine[]>('GET', `/admin/audit?${new URLSearchParams({ search }).toString()}`);
export const fetchProviders = () => call<Provider[]>('GET', '/providers');
export const putProvider = (p: Omit<Provider, 'hasSecret' | 'callbackUrl' | 'metadataUrl'> & { secret: string }) =>
  call<unknown>('PUT', `/providers/${p.id}`, { kind: p.kind, name: p.name, enabled: p.enabled, settings: p.settings, secret: p.secret });
export const deleteProvider = (id: string) => call<unknown>('DELETE', `/providers/${id}`);
