/** Thresholds, value mappings, links and overrides of a panel: the lists among its options. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import type { ReactNode } from 'react';
import { Button, IconButton, Input, Select, useLanguage, useStyles2, useT, useTheme2 } from '../ui';
import { asObject, asObjects, type Json } from './board_json';
import { useEditTexts } from './edit_texts';
import { OptionInput } from './option_input';
import { optionsFor, readOption, writeOption } from './panel_options';

interface Props {
  panel: Json;
  set: (change: (p: Json) => Json) => void;
}

export function FieldLists({ panel, set }: Props) {
  const x = useEditTexts();
  const write = (path: string) => (value: unknown) => set((p) => writeOption(p, path, value));
  const overrides = asObjects(asObject(panel.fieldConfig).overrides);
  return (
    <>
      <Group title={x('thresholds')}>
        <Thresholds value={asObject(readOption(panel, 'field.thresholds'))} onChange={write('field.thresholds')} />
      </Group>
      <Group title={x('mappings')}>
        <Mappings list={asObjects(readOption(panel, 'field.mappings'))} onChange={write('field.mappings')} />
      </Group>
      <Group title={x('dataLinks')}>
        <Links list={asObjects(readOption(panel, 'field.links'))} onChange={write('field.links')} />
      </Group>
      <Group title={x('panelLinks')}>
        <Links list={asObjects(panel.links)} onChange={write('panel.links')} />
      </Group>
      <Group title={`${x('overrides')} (${overrides.length})`}>
        <Overrides type={String(panel.type)} list={overrides} onChange={(list) => set((p) => ({ ...p, fieldConfig: { defaults: {}, ...asObject(p.fieldConfig), overrides: list } }))} />
      </Group>
    </>
  );
}

function Group({ title, children }: { title: string; children: ReactNode }) {
  const styles = useStyles2(getStyles);
  return (
    <details className={styles.group}>
      <summary>
        {title}
      </summary>
      {children}
    </details>
  );
}

/** Colour takes a name of Grafana's palette or any CSS colour; beside it a picker shows what it is. */
function Colour({ value, label, onChange }: { value: string; label: string; onChange: (v: string) => void }) {
  const theme = useTheme2();
  const shown = theme.visualization.getColorByName(value);
  return (
    <span style={{ display: 'flex', gap: 4, alignItems: 'center' }}>
      <input type="color" aria-label={label} value={/^#[0-9a-f]{6}$/i.test(shown) ? shown : '#808080'} onChange={(e) => onChange(e.currentTarget.value)} style={{ width: 28, height: 28, padding: 0, border: 'none', background: 'none' }} />
      <Input width={14} aria-label={`${label}, CSS`} value={value} onChange={(e) => onChange(e.currentTarget.value)} />
    </span>
  );
}

function Thresholds({ value, onChange }: { value: Json; onChange: (v: Json) => void }) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const steps = Array.isArray(value.steps) ? asObjects(value.steps) : [{ color: 'green', value: null }, { color: 'red', value: 80 }];
  const mode = String(value.mode ?? 'absolute');
  // The first step begins at the lowest value there is; the others stand in order.
  const write = (next: Json[]) => onChange({ mode, steps: next.map((s, i) => (i === 0 ? { ...s, value: null } : s)) });
  return (
    <>
      <Select aria-label={x('thresholdMode')} value={mode} options={[{ value: 'absolute', label: x('absolute') }, { value: 'percentage', label: x('percentage') }]} onChange={(v) => onChange({ steps, mode: v.value })} />
      {steps.map((s, i) => (
        <div key={i} className={styles.line}>
          {i === 0 ? (
            <span style={{ width: 96 }}>{x('base')}</span>
          ) : (
            <Input
              type="number" width={12} aria-label={x('thresholdFrom', { n: i })} value={typeof s.value === 'number' ? s.value : ''} onChange={(e) => write(steps.map((o, j) => (i === j ? { ...o, value: Number(e.currentTarget.value) } : o)))}
              onBlur={() => write([...steps.slice(0, 1), ...steps.slice(1).sort((a, b) => Number(a.value) - Number(b.value))])}
            />
          )}
          <Colour value={String(s.color ?? 'green')} label={x('thresholdColor', { n: i })} onChange={(color) => write(steps.map((o, j) => (i === j ? { ...o, color } : o)))} />
          {i > 0 && <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(s.value)}`} onClick={() => write(steps.filter((_, j) => j !== i))} />}
        </div>
      ))}
      <Button size="sm" variant="secondary" icon="plus" onClick={() => write([...steps, { color: 'red', value: Number(steps.at(-1)?.value ?? 0) + 10 }])}>
        {x('addThreshold')}
      </Button>
    </>
  );
}

/** Row is one line of the mappings' form; Grafana keeps all exact values of a panel in one mapping. */
interface Row {
  kind: 'value' | 'range' | 'regex' | 'special';
  match: string;
  to: string;
  result: Json;
}

function rowsOf(list: readonly Json[]): Row[] {
  return list.flatMap((m): Row[] => {
    const o = asObject(m.options);
    switch (m.type) {
      case 'value':
        return Object.entries(o).map(([match, result]) => ({ kind: 'value', match, to: '', result: asObject(result) }));
      case 'range':
        return [{ kind: 'range', match: String(o.from ?? ''), to: String(o.to ?? ''), result: asObject(o.result) }];
      case 'regex':
        return [{ kind: 'regex', match: String(o.pattern ?? ''), to: '', result: asObject(o.result) }];
      case 'special':
        return [{ kind: 'special', match: String(o.match ?? 'null'), to: '', result: asObject(o.result) }];
      default:
        return [];
    }
  });
}

function mappingsOf(rows: readonly Row[]): Json[] {
  const edge = (s: string) => (s.trim() === '' ? null : Number(s));
  const values = rows.map((r, index) => ({ ...r, result: { ...r.result, index } }));
  const exact = values.filter((r) => r.kind === 'value');
  return [
    ...(exact.length > 0 ? [{ type: 'value', options: Object.fromEntries(exact.map((r) => [r.match, r.result])) }] : []),
    ...values.filter((r) => r.kind !== 'value').map((r): Json => {
      const own = r.kind === 'range' ? { from: edge(r.match), to: edge(r.to) } : r.kind === 'regex' ? { pattern: r.match } : { match: r.match };
      return { type: r.kind, options: { ...own, result: r.result } };
    }),
  ];
}

function Mappings({ list, onChange }: { list: Json[]; onChange: (v: Json[]) => void }) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const rows = rowsOf(list);
  const change = (i: number, c: Partial<Row>) => onChange(mappingsOf(rows.map((r, j) => (i === j ? { ...r, ...c } : r))));
  return (
    <>
      {rows.map((r, i) => (
        <div key={i} className={styles.line}>
          <Select aria-label={x('mappingKind')} width={14} value={r.kind} options={(['value', 'range', 'regex', 'special'] as const).map((k) => ({ value: k, label: x(k) }))} onChange={(v) => change(i, { kind: v.value, match: v.value === 'special' ? 'null' : '' })} />
          {r.kind === 'special' ? (
            <Select aria-label={x('match')} width={16} value={r.match} options={['null', 'nan', 'null+nan', 'true', 'false', 'empty'].map((k) => ({ value: k, label: k }))} onChange={(v) => change(i, { match: v.value ?? 'null' })} />
          ) : (
            <Input width={r.kind === 'range' ? 8 : 16} aria-label={x('match')} value={r.match} onChange={(e) => change(i, { match: e.currentTarget.value })} />
          )}
          {r.kind === 'range' && <Input width={8} aria-label={x('to')} value={r.to} onChange={(e) => change(i, { to: e.currentTarget.value })} />}
          <Input width={14} aria-label={x('shownText')} placeholder={x('shownText')} value={String(r.result.text ?? '')} onChange={(e) => change(i, { result: { ...r.result, text: e.currentTarget.value } })} />
          <Colour value={String(r.result.color ?? '')} label={x('color')} onChange={(color) => change(i, { result: { ...r.result, color } })} />
          <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${r.match}`} onClick={() => onChange(mappingsOf(rows.filter((_, j) => j !== i)))} />
        </div>
      ))}
      <Button size="sm" variant="secondary" icon="plus" onClick={() => onChange(mappingsOf([...rows, { kind: 'value', match: freeMatch(rows), to: '', result: { text: '' } }]))}>
        {x('addMapping')}
      </Button>
    </>
  );
}

/** freeMatch is a value that has no mapping yet: two of the same would be one. */
function freeMatch(rows: readonly Row[]): string {
  return Array.from({ length: rows.length + 1 }, (_, i) => String(i)).find((s) => !rows.some((r) => r.kind === 'value' && r.match === s)) ?? '';
}

function Links({ list, onChange }: { list: Json[]; onChange: (v: Json[]) => void }) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const set = (i: number, c: Json) => onChange(list.map((l, j) => (i === j ? { ...l, ...c } : l)));
  return (
    <>
      {list.map((l, i) => (
        <div key={i} className={styles.line}>
          <Input width={14} aria-label={x('linkTitle')} placeholder={x('linkTitle')} value={String(l.title ?? '')} onChange={(e) => set(i, { title: e.currentTarget.value })} />
          <Input width={24} aria-label={x('url')} placeholder="/d/uid?var-node=${__field.labels.node}" value={String(l.url ?? '')} onChange={(e) => set(i, { url: e.currentTarget.value })} />
          <label>
            <input type="checkbox" checked={l.targetBlank === true} onChange={(e) => set(i, { targetBlank: e.currentTarget.checked })} /> {x('targetBlank')}
          </label>
          <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(l.title)}`} onClick={() => onChange(list.filter((_, j) => j !== i))} />
        </div>
      ))}
      <Button size="sm" variant="secondary" icon="plus" onClick={() => onChange([...list, { title: '', url: '', targetBlank: false }])}>
        {x('addLink')}
      </Button>
    </>
  );
}

const MATCHERS = ['byName', 'byRegexp', 'byType', 'byFrameRefID', 'byNames', 'byValue'];

function Overrides({ type, list, onChange }: { type: string; list: Json[]; onChange: (v: Json[]) => void }) {
  const t = useT();
  const x = useEditTexts();
  const { language } = useLanguage();
  const styles = useStyles2(getStyles);
  const known = optionsFor(type, '').filter((o) => o.path.startsWith('field.'));
  const set = (i: number, c: Json) => onChange(list.map((o, j) => (i === j ? { ...o, ...c } : o)));
  return (
    <>
      {list.map((o, i) => {
        const matcher = asObject(o.matcher);
        const properties = asObjects(o.properties);
        const setProperty = (n: number, value: unknown) => set(i, { properties: properties.map((p, m) => (m === n ? { ...p, value } : p)) });
        return (
          <fieldset key={i} className={styles.override}>
            <div className={styles.line}>
              <Select aria-label={x('matcher')} width={16} value={String(matcher.id)} options={[...new Set([...MATCHERS, String(matcher.id)])].map((m) => ({ value: m, label: m }))} onChange={(v) => set(i, { matcher: { id: v.value, options: '' } })} />
              <JsonOrText label={x('match')} value={matcher.options} onChange={(options) => set(i, { matcher: { ...matcher, options } })} />
              <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(matcher.options)}`} onClick={() => onChange(list.filter((_, j) => j !== i))} />
            </div>
            {properties.map((p, n) => {
              const { option, value, wrap } = propertyOption(known, p);
              return (
                <div key={n} className={styles.line}>
                  <span style={{ flex: 1, minWidth: 0 }}>
                    {option ? <OptionInput option={option} value={value} onChange={(v) => setProperty(n, wrap(v))} /> : <JsonOrText label={String(p.id)} value={p.value} onChange={(v) => setProperty(n, v)} labelled />}
                  </span>
                  <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(p.id)}`} onClick={() => set(i, { properties: properties.filter((_, m) => m !== n) })} />
                </div>
              );
            })}
            <Select
              aria-label={x('addProperty')} placeholder={x('addProperty')} value={null} options={known.map((k) => ({ value: k.path, label: `${k.group[language === 'ko' ? 1 : 0]} / ${k.label[language === 'ko' ? 1 : 0]}` }))}
              onChange={(v) => set(i, { properties: [...properties, freshProperty(String(v.value), known.find((k) => k.path === v.value)?.otherwise)] })}
            />
          </fieldset>
        );
      })}
      <Button size="sm" variant="secondary" icon="plus" onClick={() => onChange([...list, { matcher: { id: 'byName', options: '' }, properties: [] }])}>
        {x('addOverride')}
      </Button>
    </>
  );
}

type Known = ReturnType<typeof optionsFor>;

/** propertyOption finds the option that a property sets. Options inside an object, such as color.mode, stand for the whole of it. */
function propertyOption(known: Known, property: Json): { option?: Known[number]; value: unknown; wrap: (v: unknown) => unknown } {
  const id = String(property.id);
  const exact = known.find((o) => o.path === `field.${id}`);
  if (exact) {
    return { option: exact, value: property.value, wrap: (v) => v };
  }
  const inner = known.filter((o) => o.path.startsWith(`field.${id}.`));
  const option = id === 'color' && asObject(property.value).mode === 'fixed' ? inner.find((o) => o.path.endsWith('fixedColor')) : inner[0];
  const key = option?.path.slice(`field.${id}.`.length) ?? '';
  return option ? { option, value: asObject(property.value)[key], wrap: (v) => ({ ...asObject(property.value), [key]: v }) } : { value: property.value, wrap: (v) => v };
}

/** freshProperty begins a property; those of an object (`color.fixedColor`) begin as the object. */
function freshProperty(path: string, otherwise: unknown): Json {
  const keys = path.split('.').slice(1);
  const own = keys[0] === 'custom' ? 2 : 1;
  const id = keys.slice(0, own).join('.');
  const inner = keys.slice(own).join('.');
  if (inner === '') {
    return { id, value: otherwise ?? '' };
  }
  return { id, value: path === 'field.color.fixedColor' ? { mode: 'fixed', fixedColor: 'green' } : { [inner]: otherwise ?? '' } };
}

/** JsonOrText edits a text as it is, anything else as JSON. */
function JsonOrText({ label, value, onChange, labelled = false }: { label: string; value: unknown; onChange: (v: unknown) => void; labelled?: boolean }) {
  const plain = typeof value === 'string' || value === undefined;
  const take = (text: string) => {
    if (plain) {
      return onChange(text);
    }
    try {
      onChange(JSON.parse(text));
    } catch {
      // Half-written JSON stays in the field until it can be read.
    }
  };
  const input = <Input width={labelled ? undefined : 22} aria-label={label} key={plain ? 'text' : 'json'} defaultValue={plain ? String(value ?? '') : JSON.stringify(value)} onChange={(e) => take(e.currentTarget.value)} />;
  return labelled ? (
    <span style={{ display: 'flex', gap: 8, alignItems: 'center' }}>
      <code>{label}</code> {input}
    </span>
  ) : (
    input
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  group: css({ borderTop: `1px solid ${theme.colors.border.weak}`, paddingTop: theme.spacing(1), '& > summary': { cursor: 'pointer', fontWeight: theme.typography.fontWeightMedium, marginBottom: theme.spacing(1) } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(0.5), alignItems: 'center', margin: theme.spacing(0.5, 0) }),
  override: css({ border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(1), margin: theme.spacing(0, 0, 1), minWidth: 0 }),
});
