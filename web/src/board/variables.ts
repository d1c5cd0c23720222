/**
 * Template variables: in which order they are resolved, what their queries mean, which options a result gives and which value is
 * chosen. Talking to a data source is left to the caller's Fetcher.
 */
import { stringToJsRegex } from '@grafana/data';
import { decodeFilter, encodeFilter } from './adhoc';
import type { DataSource } from './datasource';
import { constantValue, interpolate, referencedVariables, type InterpolateOptions, type Scope, type VariableValue } from './interpolate';
import { roundInterval, formatInterval, parseDuration } from './intervals';
import { ALL, type Variable, type VariableOption } from './model';

/** Resolved is a variable with its options and value, or the reason it has none. */
export interface Resolved {
  definition: Variable;
  value: VariableValue;
  options: VariableOption[];
  error: string;
}

/** VariableQuery is what a query variable asks its data source. */
export type VariableQuery =
  | { kind: 'label_values'; label: string; match: string }
  | { kind: 'label_names'; match: string }
  | { kind: 'metrics'; pattern: string }
  | { kind: 'query_result'; expr: string }
  | { kind: 'series'; match: string };

/** Fetcher runs a variable's query and answers its raw texts. */
export type Fetcher = (v: Variable, query: VariableQuery, scope: Scope, signal: AbortSignal) => Promise<string[]>;

/** parseVariableQuery reads Grafana's little language of variable queries; null for an empty one. */
export function parseVariableQuery(text: string): VariableQuery | null {
  const q = text.trim();
  if (q === '') {
    return null;
  }
  const inner = (name: string) => new RegExp(`^${name}\\(([\\s\\S]*)\\)\\s*$`).exec(q)?.[1]?.trim();
  const labelValues = inner('label_values');
  if (labelValues !== undefined) {
    // The label is what follows the last comma outside of braces, quotes and parentheses.
    const comma = lastTopLevelComma(labelValues);
    const label = unquote((comma < 0 ? labelValues : labelValues.slice(comma + 1)).trim());
    return { kind: 'label_values', label, match: comma < 0 ? '' : labelValues.slice(0, comma).trim() };
  }
  const labelNames = inner('label_names');
  if (labelNames !== undefined) {
    return { kind: 'label_names', match: labelNames };
  }
  const metrics = inner('metrics');
  if (metrics !== undefined) {
    return { kind: 'metrics', pattern: metrics };
  }
  const result = inner('query_result');
  if (result !== undefined) {
    return { kind: 'query_result', expr: result };
  }
  return { kind: 'series', match: q };
}

function unquote(s: string): string {
  return /^(["'`])(.*)\1$/.exec(s)?.[2] ?? s;
}

function lastTopLevelComma(s: string): number {
  let depth = 0;
  let quote = '';
  let last = -1;
  for (let i = 0; i < s.length; i++) {
    const c = s[i] ?? '';
    if (quote !== '') {
      if (c === '\\' && quote !== '`') {
        i++;
      } else if (c === quote) {
        quote = '';
      }
    } else if (c === '"' || c === "'" || c === '`') {
      quote = c;
    } else if (c === '{' || c === '(' || c === '[') {
      depth++;
    } else if (c === '}' || c === ')' || c === ']') {
      depth--;
    } else if (c === ',' && depth === 0) {
      last = i;
    }
  }
  return last;
}

/** dependencies lists the variables one variable's definition refers to. */
export function dependencies(v: Variable): string[] {
  return referencedVariables([v.query, v.regex, v.datasource?.uid ?? '', v.allValue].join('\n')).filter((n) => n !== v.name);
}

/**
 * resolutionOrder groups variables into rounds: every variable stands in a later round than those it refers to, wherever the board
 * lists them. Variables that refer to each other in a circle come last, one by one, in the board's order.
 */
export function resolutionOrder(variables: readonly Variable[]): Variable[][] {
  const known = new Set(variables.map((v) => v.name));
  const done = new Set<string>();
  let rest = [...variables];
  const rounds: Variable[][] = [];
  while (rest.length > 0) {
    let ready = rest.filter((v) => dependencies(v).every((d) => !known.has(d) || done.has(d)));
    if (ready.length === 0) {
      ready = rest.slice(0, 1);
    }
    ready.forEach((v) => done.add(v.name));
    rest = rest.filter((v) => !ready.includes(v));
    rounds.push(ready);
  }
  return rounds;
}

/** optionsFromTexts applies a variable's regex and sort order to the texts its query answered. */
export function optionsFromTexts(texts: readonly string[], regex: string, sort: number): VariableOption[] {
  const options = new Map<string, VariableOption>();
  const add = (text: string, value: string) => {
    if (!options.has(value)) {
      options.set(value, { text, value });
    }
  };
  const compiled = regex === '' ? null : stringToJsRegex(regex);
  for (const text of texts) {
    if (!compiled) {
      add(text, text);
      continue;
    }
    applyRegex(text, compiled, add);
  }
  return sortOptions([...options.values()], sort);
}

function applyRegex(text: string, regex: RegExp, add: (text: string, value: string) => void): void {
  const matches = regex.global ? [...text.matchAll(regex)] : [regex.exec(text)].filter((m) => m !== null);
  const first = matches[0];
  if (!first) {
    return;
  }
  const value = matches.find((m) => m.groups?.value !== undefined)?.groups?.value;
  const label = matches.find((m) => m.groups?.text !== undefined)?.groups?.text;
  if (value !== undefined || label !== undefined) {
    add(label ?? value ?? '', value ?? label ?? '');
    return;
  }
  const captured = matches.filter((m) => m.length > 1);
  if (captured.length === 0) {
    add(text, text);
    return;
  }
  for (const m of captured) {
    const s = m.slice(1).find((x) => x !== undefined) ?? '';
    add(s, s);
  }
}

function sortOptions(options: VariableOption[], sort: number): VariableOption[] {
  const number = (o: VariableOption) => Number(/\d+/.exec(o.text)?.[0] ?? -1);
  const compare: Record<number, (a: VariableOption, b: VariableOption) => number> = {
    1: (a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0),
    3: (a, b) => number(a) - number(b),
    5: (a, b) => (a.text.toLowerCase() < b.text.toLowerCase() ? -1 : a.text.toLowerCase() > b.text.toLowerCase() ? 1 : 0),
    7: (a, b) => a.text.localeCompare(b.text, undefined, { numeric: true }),
  };
  const ascending = compare[sort % 2 === 0 ? sort - 1 : sort];
  if (!ascending) {
    return options;
  }
  options.sort(ascending);
  return sort % 2 === 0 ? options.reverse() : options;
}

/**
 * chooseValue picks the value a variable gets: what the URL says, else what the board stored, as far as it is among the options,
 * else All where there is one, else the first option.
 */
export function chooseValue(
  v: Variable,
  options: readonly VariableOption[],
  wanted: readonly string[] | undefined,
  keepUnknown = false
): VariableValue {
  const list = v.multi || v.includeAll;
  const make = (picked: VariableOption[]): VariableValue => {
    const single = picked[0] ?? { text: '', value: '' };
    return {
      value: v.multi ? picked.map((o) => o.value) : single.value,
      text: v.multi ? picked.map((o) => o.text) : single.text,
      list,
      allValue: v.allValue,
      options,
    };
  };
  const all: VariableOption = { text: 'All', value: ALL };
  const known = (values: readonly string[]): VariableOption[] => {
    if (v.includeAll && (values.includes(ALL) || values.includes('All'))) {
      return [all];
    }
    return values.flatMap((x) => {
      const found = options.find((o) => o.value === x) ?? options.find((o) => o.text === x);
      return found ? [found] : [];
    });
  };
  if (wanted) {
    const picked = known(wanted);
    if (picked.length > 0) {
      return make(picked);
    }
    // A link may name a value that is gone from the options (a pod of yesterday): keep what the reader asked for.
    const asked = wanted.filter((x) => x !== '' && x !== ALL);
    if (keepUnknown && asked.length > 0 && (v.type === 'query' || v.type === 'custom')) {
      return make(asked.map((x) => ({ text: x, value: x })));
    }
  }
  const stored = known(v.current.value);
  if (stored.length > 0) {
    return make(stored);
  }
  if (v.includeAll) {
    return make([all]);
  }
  return make(options[0] ? [options[0]] : []);
}

/** customOptions reads `a,b,c` and `text : value` pairs, whose value may be empty; a comma is escaped by a backslash. */
export function customOptions(query: string): VariableOption[] {
  return (query.match(/(?:\\,|[^,])+/g) ?? [])
    .map((part) => part.replace(/\\,/g, ','))
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const pair = /^\s*(.+)\s:\s(.*)$/.exec(part);
      return pair ? { text: (pair[1] ?? '').trim(), value: (pair[2] ?? '').trim() } : { text: part.trim(), value: part.trim() };
    });
}

export interface ResolveContext {
  sources: readonly DataSource[];
  wanted: ReadonlyMap<string, readonly string[]>;
  /** Keep wanted values that are no option: set for the values a link brought, not for those an earlier choice left behind. */
  keepUnknown: boolean;
  rangeMs: number;
  builtins: Pick<InterpolateOptions, 'builtins' | 'range'>;
  fetch: Fetcher;
  signal: AbortSignal;
}

/** resolveVariables resolves all variables of a board, round by round. A failing one gets its error and does not stop the others. */
export async function resolveVariables(variables: readonly Variable[], ctx: ResolveContext): Promise<Resolved[]> {
  const scope = new Map<string, VariableValue>();
  const done = new Map<string, Resolved>();
  for (const round of resolutionOrder(variables)) {
    const results = await Promise.all(round.map((v) => resolveOne(v, scope, ctx)));
    ctx.signal.throwIfAborted();
    for (const r of results) {
      scope.set(r.definition.name, r.value);
      done.set(r.definition.name, r);
    }
  }
  return variables.flatMap((v) => done.get(v.name) ?? []);
}

async function resolveOne(v: Variable, scope: Scope, ctx: ResolveContext): Promise<Resolved> {
  const wanted = ctx.wanted.get(v.name);
  const withOptions = (options: VariableOption[]): Resolved => ({ definition: v, value: chooseValue(v, options, wanted, ctx.keepUnknown), options, error: '' });
  switch (v.type) {
    case 'custom':
      return withOptions(customOptions(interpolate(v.query, scope, { format: 'raw' })));
    case 'interval':
      return intervalVariable(v, wanted, ctx.rangeMs);
    case 'datasource':
      return withOptions(dataSourceOptions(v, scope, ctx.sources));
    case 'query':
      return queryVariable(v, scope, ctx, withOptions);
    case 'adhoc':
      return adhocVariable(v, wanted);
    case 'constant':
      return plain(v, v.query || (v.current.value[0] ?? ''));
    case 'textbox':
      return plain(v, wanted?.[0] ?? v.current.value[0] ?? v.query);
    default:
      return plain(v, wanted?.[0] ?? v.current.value[0] ?? '');
  }
}

function plain(v: Variable, value: string): Resolved {
  return { definition: v, value: constantValue(value), options: [], error: '' };
}

/** An ad hoc variable has no options of its own: its value is the list of its filters, written as URLs hold them. */
function adhocVariable(v: Variable, wanted: readonly string[] | undefined): Resolved {
  const list = wanted ? wanted.flatMap((w) => decodeFilter(w) ?? []) : v.filters;
  const value = list.map(encodeFilter);
  return { definition: v, value: { value, text: list.map((f) => `${f.key}${f.operator}${f.value}`), list: true, allValue: '', options: [], filters: { list, source: v.datasource } }, options: [], error: '' };
}

function intervalVariable(v: Variable, wanted: readonly string[] | undefined, rangeMs: number): Resolved {
  const options = customOptions(v.query).filter((o) => o.value !== 'auto');
  const auto = `$__auto_interval_${v.name}`;
  if (v.auto) {
    options.unshift({ text: 'auto', value: auto });
  }
  const asked = wanted?.map((w) => (w === 'auto' || w === '$__auto' ? auto : w));
  const stored = { ...v, current: { ...v.current, value: v.current.value.map((w) => (w === '$__auto' || w === 'auto' ? auto : w)) } };
  const chosen = chooseValue(stored, options, asked);
  if (chosen.value === auto) {
    const ms = Math.max(roundInterval(rangeMs / Math.max(1, v.autoCount)), parseDuration(v.autoMin) ?? 0);
    return { definition: v, value: { ...chosen, value: formatInterval(ms) }, options, error: '' };
  }
  return { definition: v, value: chosen, options, error: '' };
}

function dataSourceOptions(v: Variable, scope: Scope, sources: readonly DataSource[]): VariableOption[] {
  const regex = v.regex === '' ? null : stringToJsRegex(interpolate(v.regex, scope, { format: 'raw' }));
  const wantedType = v.query === 'grafana-amazonprometheus-datasource' ? 'prometheus' : v.query;
  const ofType = sources.filter((s) => s.type === wantedType);
  const matching = regex ? ofType.filter((s) => regex.test(s.name)) : ofType;
  // A name pattern made for somebody else's Grafana would leave every panel without a source: fall back to all of the type.
  const chosen = matching.length > 0 ? matching : ofType;
  return [...chosen].sort((a, b) => Number(b.isDefault) - Number(a.isDefault)).map((s) => ({ text: s.name, value: s.uid }));
}

async function queryVariable(
  v: Variable,
  scope: Scope,
  ctx: ResolveContext,
  withOptions: (o: VariableOption[]) => Resolved
): Promise<Resolved> {
  const query = parseVariableQuery(v.query);
  if (!query) {
    return withOptions(v.options);
  }
  try {
    const texts = await ctx.fetch(v, interpolateQuery(query, scope, ctx), scope, ctx.signal);
    const regex = interpolate(v.regex, scope, { format: 'raw' });
    return withOptions(optionsFromTexts(texts, regex, v.sort));
  } catch (err) {
    ctx.signal.throwIfAborted();
    return { ...withOptions([]), error: err instanceof Error ? err.message : String(err) };
  }
}

function interpolateQuery(q: VariableQuery, scope: Scope, ctx: ResolveContext): VariableQuery {
  const promql = (s: string) => interpolate(s, scope, { format: 'promql', ...ctx.builtins });
  const raw = (s: string) => interpolate(s, scope, { format: 'raw', ...ctx.builtins });
  switch (q.kind) {
    case 'label_values':
      return { ...q, label: raw(q.label), match: promql(q.match) };
    case 'label_names':
      return { ...q, match: promql(q.match) };
    case 'metrics':
      return { ...q, pattern: raw(q.pattern) };
    case 'query_result':
      return { ...q, expr: promql(q.expr) };
    case 'series':
      return { ...q, match: promql(q.match) };
  }
}

/** scopeOf makes the scope in which a board's texts are interpolated. */
export function scopeOf(resolved: readonly Resolved[]): Map<string, VariableValue> {
  return new Map(resolved.map((r) => [r.definition.name, r.value]));
}

/** urlValues gives what the URL should hold of the variables. Constants cannot be changed and stay out. */
export function urlValues(resolved: readonly Resolved[]): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const { definition: d, value } of resolved) {
    if (d.type !== 'constant' && d.type !== 'unsupported') {
      const auto = d.type === 'interval' && value.text === 'auto';
      out.set(d.name, auto ? ['$__auto'] : Array.isArray(value.value) ? value.value : [value.value]);
    }
  }
  return out;
}
