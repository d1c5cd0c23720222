/**
 * Template variables in text: `$x`, `${x}`, `${x:format}`, `[[x]]`, and the built-ins. In PromQL a value is escaped for the place it
 * stands in, as Grafana's Prometheus data source does it.
 */
import { ALL, type AdHocFilter, type DataSourceRef, type VariableOption } from './model';

/** VariableValue is the present value of a variable, with what interpolation needs to know of its definition. */
export interface VariableValue {
  value: string | string[];
  text: string | string[];
  /** Multi-value or with an All option: such values are joined and escaped as regular expressions in PromQL. */
  list: boolean;
  allValue: string;
  options: readonly VariableOption[];
  /** Set for ad hoc variables: matchers for every query of one data source. */
  filters?: { list: readonly AdHocFilter[]; source: DataSourceRef | null };
}

/** Scope maps variable names to values; inner scopes (repeats) are laid over outer ones by copying. */
export type Scope = ReadonlyMap<string, VariableValue>;

export interface InterpolateOptions {
  /** `promql` escapes for PromQL; `text` shows what a person picked; `raw` joins with commas. */
  format: 'promql' | 'text' | 'raw';
  /** Built-in variables without the dollar, such as `__interval`. */
  builtins?: Readonly<Record<string, string>>;
  /** The range in epoch milliseconds, for `$__from`, `${__to:date}`. */
  range?: { from: number; to: number };
}

const REFERENCE = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}/g;

/** constantValue makes a value of plain text, as constants, text boxes and repeats have. */
export function constantValue(value: string, text = value): VariableValue {
  return { value, text, list: false, allValue: '', options: [] };
}

/** isAll tells whether a variable stands at All. */
export function isAll(v: VariableValue): boolean {
  return v.value === ALL || (Array.isArray(v.value) && v.value.length === 1 && v.value[0] === ALL);
}

/** referencedVariables lists the names a text refers to, built-ins left out. */
export function referencedVariables(text: string): string[] {
  const names = new Set<string>();
  for (const m of text.matchAll(REFERENCE)) {
    const name = m[1] ?? m[2] ?? m[4] ?? '';
    if (!name.startsWith('__') && !/^\d+$/.test(name)) {
      names.add(name);
    }
  }
  return [...names];
}

/** interpolate replaces every reference it knows and leaves the others as they stand (`$1` of label_replace among them). */
export function interpolate(text: string, scope: Scope, options: InterpolateOptions): string {
  if (!text.includes('$') && !text.includes('[[')) {
    return text;
  }
  return text.replace(REFERENCE, (whole: string, ...groups: unknown[]) => {
    const g = groups as (string | undefined)[];
    const name = g[0] ?? g[1] ?? g[3] ?? '';
    const format = g[2] ?? g[5];
    const offset = groups[groups.length - 2] as number;
    const builtin = builtinValue(name, format, options);
    if (builtin !== undefined) {
      return builtin;
    }
    const value = scope.get(name);
    if (!value) {
      return whole;
    }
    if (isAll(value) && value.allValue !== '' && format !== 'text' && format !== 'queryparam' && options.format !== 'text') {
      return interpolate(value.allValue, scope, options);
    }
    if (format) {
      return formatValue(name, value, format);
    }
    return formatDefault(text, offset, value, options.format);
  });
}

function formatDefault(text: string, offset: number, value: VariableValue, format: InterpolateOptions['format']): string {
  if (format === 'text') {
    return textOf(value);
  }
  if (format === 'raw') {
    return plainValues(value).join(',');
  }
  return promqlValue(value, matcherBefore(text, offset));
}

function builtinValue(name: string, format: string | undefined, o: InterpolateOptions): string | undefined {
  if ((name === '__from' || name === '__to') && o.range) {
    return formatTime(name === '__from' ? o.range.from : o.range.to, format);
  }
  if (name === '__url_time_range' && o.range) {
    return `from=${o.range.from}&to=${o.range.to}`;
  }
  return name.startsWith('__') ? o.builtins?.[name] : undefined;
}

function formatTime(ms: number, format: string | undefined): string {
  if (!format) {
    return String(ms);
  }
  if (format === 'date' || format === 'date:iso') {
    return new Date(ms).toISOString();
  }
  if (format === 'date:seconds') {
    return String(Math.round(ms / 1000));
  }
  const d = new Date(ms);
  const pad = (n: number) => String(n).padStart(2, '0');
  const parts: Record<string, string> = {
    YYYY: String(d.getFullYear()), MM: pad(d.getMonth() + 1), M: String(d.getMonth() + 1), DD: pad(d.getDate()), D: String(d.getDate()),
    HH: pad(d.getHours()), mm: pad(d.getMinutes()), ss: pad(d.getSeconds()),
  };
  return format.replace(/^date:/, '').replace(/YYYY|MM|M|DD|D|HH|mm|ss/g, (t) => parts[t] ?? t);
}

/** values lists what a variable stands for, All spelled out. */
export function plainValues(v: VariableValue): string[] {
  if (isAll(v)) {
    return v.options.filter((o) => o.value !== ALL).map((o) => o.value);
  }
  return Array.isArray(v.value) ? v.value : [v.value];
}

function textOf(v: VariableValue): string {
  if (isAll(v)) {
    return 'All';
  }
  return Array.isArray(v.text) ? v.text.join(' + ') : v.text;
}

/**
 * matcherBefore finds the label matcher operator whose string literal the offset lies in, or '' outside of one. It walks the
 * expression from its start, because a quote may stand in another literal.
 */
function matcherBefore(text: string, offset: number): string {
  let quote = '';
  let opened = 0;
  for (let i = 0; i < offset; i++) {
    const c = text[i] ?? '';
    if (quote === '') {
      if (c === '"' || c === "'" || c === '`') {
        quote = c;
        opened = i;
      }
    } else if (c === '\\' && quote !== '`') {
      i++;
    } else if (c === quote) {
      quote = '';
    }
  }
  if (quote === '') {
    return '';
  }
  return /(=~|!~|!=|=)\s*$/.exec(text.slice(0, opened))?.[1] ?? '';
}

/**
 * promqlValue escapes a value for PromQL. A list becomes `(a|b)` with each value escaped as a regular expression; a single value of
 * a list variable is escaped the same way. Inside `=` and `!=` one value is taken literally: Grafana escapes it there as well,
 * which makes a matcher that can match nothing.
 */
function promqlValue(v: VariableValue, operator: string): string {
  const values = plainValues(v);
  const single = values.length === 1 ? (values[0] ?? '') : undefined;
  if (single !== undefined && (!v.list || operator === '=' || operator === '!=')) {
    return escapeString(single, operator !== '');
  }
  const escaped = values.map(escapeRegex);
  return escaped.length === 1 ? (escaped[0] ?? '') : `(${escaped.join('|')})`;
}

function escapeString(s: string, inString: boolean): string {
  return inString ? s.replace(/\\/g, '\\\\').replace(/"/g, '\\"') : s;
}

/** escapeRegex escapes a value so that, inside a PromQL string, it matches itself: the backslash is doubled for the string. */
export function escapeRegex(s: string): string {
  return s.replace(/\\/g, '\\\\\\\\').replace(/"/g, '\\"').replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');
}

function formatValue(name: string, v: VariableValue, format: string): string {
  const values = plainValues(v);
  const joined = values.join(',');
  switch (format) {
    case 'csv':
    case 'raw':
      return joined;
    case 'pipe':
      return values.join('|');
    case 'regex': {
      const escaped = values.map((x) => x.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
      return escaped.length === 1 ? (escaped[0] ?? '') : `(${escaped.join('|')})`;
    }
    case 'json':
      return JSON.stringify(Array.isArray(v.value) ? values : (values[0] ?? ''));
    case 'text':
      return textOf(v);
    case 'queryparam':
      return queryParam(name, v);
    case 'percentencode':
      return encodeURIComponent(values.length === 1 ? joined : `{${joined}}`);
    case 'singlequote':
      return values.map((x) => `'${x.replace(/'/g, "\\'")}'`).join(',');
    case 'doublequote':
      return values.map((x) => `"${x.replace(/"/g, '\\"')}"`).join(',');
    case 'sqlstring':
      return values.map((x) => `'${x.replace(/'/g, "''")}'`).join(',');
    case 'distributed':
      return values.map((x, i) => (i === 0 ? x : `${name}=${x}`)).join(',');
    default:
      // Formats Grafana does not know fall back to glob, there as here.
      return values.length === 1 ? joined : `{${joined}}`;
  }
}

/** queryParam writes a variable as it stands in a board's URL. */
export function queryParam(name: string, v: VariableValue): string {
  const values = Array.isArray(v.value) ? v.value : [v.value];
  return values.map((x) => `var-${encodeURIComponent(name)}=${encodeURIComponent(x)}`).join('&');
}
