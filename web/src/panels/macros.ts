/** The `${__field.labels.x}`, `${__value.text}` and `${__data.fields[...]}` macros of display names and links. */
import { formattedValueToString, getFieldDisplayName, type DataFrame, type DisplayValue, type Field, type ScopedVars } from '@grafana/data';
import { interpolate, type InterpolateOptions, type Scope } from '../board/interpolate';

interface DataContext {
  frame?: DataFrame;
  field?: Field;
  data?: DataFrame[];
  rowIndex?: number;
  calculatedValue?: DisplayValue;
}

const MACRO = /\$\{(__(?:field|series|value|data)\b[^}:]*)(?::([^}]+))?\}/g;

/** replacer makes the function @grafana/data calls for every text of a field's configuration. */
export function replacer(scope: Scope, options: InterpolateOptions): (text: string, scoped?: ScopedVars) => string {
  return (text, scoped) => {
    const context = scoped?.__dataContext?.value as DataContext | undefined;
    let out = text;
    if (context) {
      out = text.replace(MACRO, (whole, path: string, format: string | undefined) => encode(macro(path, context) ?? whole, format));
      out = out.replace(/\$\{?__cell_(\d+)(?::\w+)?\}?/g, (whole, i: string) => cellText(context, Number(i)) ?? whole);
    }
    return interpolate(out, scope, options);
  };
}

function encode(value: string, format: string | undefined): string {
  return format === 'percentencode' || format === 'queryparam' ? encodeURIComponent(value) : value;
}

function macro(path: string, c: DataContext): string | undefined {
  const label = /^__field\.labels(?:\.(.+)|\["?(.+?)"?\])$/.exec(path);
  if (label) {
    return c.field?.labels?.[label[1] ?? label[2] ?? ''] ?? '';
  }
  const column = /^__data\.fields(?:\.(.+)|\["?(.+?)"?\])$/.exec(path);
  if (column) {
    return columnText(c, column[1] ?? column[2] ?? '');
  }
  switch (path) {
    case '__field.name':
    case '__field.displayName':
      return c.field && c.frame ? getFieldDisplayName(c.field, c.frame, c.data) : c.field?.name;
    case '__field.labels':
      return Object.entries(c.field?.labels ?? {}).map(([k, v]) => `${k}="${v}"`).join(', ');
    case '__series.name':
      return c.frame?.name ?? '';
    case '__value.text':
      return valueText(c);
    case '__value.raw':
    case '__value.numeric':
    case '__value':
      return String(c.calculatedValue?.numeric ?? c.field?.values[c.rowIndex ?? 0] ?? '');
    case '__value.time': {
      const time = c.frame?.fields.find((f) => f.type === 'time');
      return time && c.rowIndex !== undefined ? String(time.values[c.rowIndex]) : '';
    }
    default:
      return undefined;
  }
}

function valueText(c: DataContext): string {
  if (c.calculatedValue) {
    return formattedValueToString(c.calculatedValue);
  }
  const v: unknown = c.field?.values[c.rowIndex ?? 0];
  return c.field?.display ? formattedValueToString(c.field.display(v)) : String(v ?? '');
}

function columnText(c: DataContext, path: string): string {
  const [, name = path] = /^(.*?)(?:\.(?:text|numeric|raw))?$/.exec(path) ?? [];
  const clean = name.replace(/"?\]$/, '');
  const fields = c.frame?.fields ?? [];
  const field = /^\d+$/.test(clean) ? fields[Number(clean)] : fields.find((f) => f.name === clean || (c.frame && getFieldDisplayName(f, c.frame) === clean));
  return field && c.rowIndex !== undefined ? String(field.values[c.rowIndex] ?? '') : '';
}

function cellText(c: DataContext, index: number): string | undefined {
  const field = c.frame?.fields[index];
  return field && c.rowIndex !== undefined ? String(field.values[c.rowIndex] ?? '') : undefined;
}
