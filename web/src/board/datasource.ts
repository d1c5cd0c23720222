/** Resolves the many forms in which boards name a data source to one that exists here. */
import type { DataSourceRef } from './model';

/** DataSource is one entry of /api/datasources. */
export interface DataSource {
  uid: string;
  name: string;
  type: string;
  isDefault: boolean;
  jsonData?: { timeInterval?: string } & Record<string, unknown>;
}

export type Resolution =
  | { kind: 'found'; source: DataSource; substituted: boolean }
  | { kind: 'mixed' }
  | { kind: 'unsupported'; type: string }
  | { kind: 'missing' };

const PROMETHEUS_TYPES = new Set(['', 'prometheus', 'grafana-amazonprometheus-datasource', 'datasource']);

/** defaultSource is the data source a board gets when it names none, or one of somebody else's Grafana. */
export function defaultSource(sources: readonly DataSource[]): DataSource | undefined {
  return sources.find((s) => s.isDefault && s.type === 'prometheus') ?? sources.find((s) => s.type === 'prometheus') ?? sources[0];
}

/**
 * resolveDataSource finds the source a reference means. A reference that was left unresolved (`${DS_X}` of an export), or that
 * names a source of another Grafana, falls back to the default one and says so with `substituted`.
 */
export function resolveDataSource(
  ref: DataSourceRef | null | undefined,
  sources: readonly DataSource[],
  replace: (s: string) => string
): Resolution {
  const fallback = defaultSource(sources);
  const uid = ref?.uid ? replace(ref.uid) : '';
  const type = ref?.type ?? '';
  if (uid === '-- Mixed --') {
    return { kind: 'mixed' };
  }
  if (uid === '-- Dashboard --' || uid === '-- Grafana --' || uid === 'grafana') {
    return { kind: 'unsupported', type: uid };
  }
  const exact = sources.find((s) => s.uid === uid) ?? sources.find((s) => s.name === uid);
  if (exact) {
    return { kind: 'found', source: exact, substituted: false };
  }
  if (!PROMETHEUS_TYPES.has(type)) {
    return { kind: 'unsupported', type };
  }
  if (!fallback) {
    return { kind: 'missing' };
  }
  return { kind: 'found', source: fallback, substituted: uid !== '' && uid !== 'default' };
}
