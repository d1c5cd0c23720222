/** A board as JSON for other people: what Grafana's "Export" writes, with data sources named as inputs when it goes to another server. */
import type { DataSource } from './datasource';
import { isObject, list, objects, str, without, type Json } from './json';

/**
 * exportBoard takes a board's modern JSON and answers it without what belongs to one server (id, version). With `sources` every reference
 * to one of them becomes an input (`${DS_NAME}`) that the importer is asked for, and `__requires` lists what the board needs.
 */
export function exportBoard(json: Json, sources: readonly DataSource[] = []): Json {
  const board: Json = { ...structuredClone(without(json, 'iteration', 'version', 'meta')), id: null };
  if (sources.length === 0) {
    return board;
  }
  const used = new Map<string, DataSource>();
  const inputName = (s: DataSource) => `DS_${s.name.toUpperCase().replace(/[^A-Z0-9]+/g, '_').replace(/^_|_$/g, '')}`;
  const rename = (v: unknown, key: string): unknown => {
    if (Array.isArray(v)) {
      return v.map((x) => rename(x, ''));
    }
    if (key === 'datasource') {
      const source = sources.find((s) => (isObject(v) ? v.uid === s.uid : v === s.uid || v === s.name));
      if (source) {
        used.set(source.uid, source);
        return { type: source.type, uid: `\${${inputName(source)}}` };
      }
    }
    return isObject(v) ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, rename(x, k)])) : v;
  };
  const renamed = rename(board, '') as Json;
  const inputs = [...used.values()].map((s) => ({ name: inputName(s), label: s.name, description: '', type: 'datasource', pluginId: s.type, pluginName: 'Prometheus' }));
  return { __inputs: [...objects(renamed.__inputs).filter((i) => !inputs.some((x) => x.name === i.name)), ...inputs], __elements: {}, __requires: requirements(renamed, used), ...without(renamed, '__inputs', '__elements', '__requires') };
}

function requirements(board: Json, used: ReadonlyMap<string, DataSource>): Json[] {
  const panels = objects(board.panels).flatMap((p) => [p, ...objects(list(p.panels))]);
  const types = [...new Set(panels.map((p) => str(p.type)).filter((t) => t !== '' && t !== 'row'))].sort();
  const need = (type: string, id: string): Json => ({ type, id, name: id, version: '' });
  return [need('grafana', 'grafana'), ...[...new Set([...used.values()].map((s) => s.type))].map((t) => need('datasource', t)), ...types.map((t) => need('panel', t))];
}
