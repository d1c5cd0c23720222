/** Forms for what a board keeps in lists: variables, annotations, links. One entry is open at a time; entries move with their buttons. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState, type ReactNode } from 'react';
import { Button, IconButton, InlineField, Input, Select, useStyles2, useT } from '../ui';
import type { OnScreen } from './board_edit_tools';
import { asObject, asObjects, type Json } from './board_json';
import { useEditTexts, type EditKey } from './edit_texts';

interface Props {
  draft: Json;
  screen: OnScreen;
  onChange: (board: Json) => void;
}

interface Field {
  key: string;
  label: EditKey;
  kind: 'text' | 'switch' | 'select' | 'source';
  options?: readonly [value: string | number, label: string][];
  placeholder?: string;
  hint?: EditKey;
}

export function VariablesTab({ draft, screen, onChange }: Props) {
  const x = useEditTexts();
  const templating = asObject(draft.templating);
  const set = (list: Json[]) => onChange({ ...draft, templating: { ...templating, list } });
  const fields = (v: Json): Field[] => {
    const type = String(v.type ?? 'query');
    const listed = ['query', 'custom', 'datasource'].includes(type);
    return [
      { key: 'type', label: 'type', kind: 'select', options: ['query', 'custom', 'textbox', 'constant', 'interval', 'datasource', 'adhoc'].map((n) => [n, n]) },
      { key: 'name', label: 'varName', kind: 'text', placeholder: 'node' },
      { key: 'label', label: 'varLabel', kind: 'text' },
      { key: 'description', label: 'description', kind: 'text' },
      { key: 'hide', label: 'hide', kind: 'select', options: [[0, x('hideNothing')], [1, x('hideLabel')], [2, x('hideVariable')]] },
      ...(type === 'query' || type === 'adhoc' ? ([{ key: 'datasource', label: 'source', kind: 'source' }] as Field[]) : []),
      ...(type === 'adhoc' ? [] : ([{ key: 'query', label: 'query', kind: 'text', placeholder: PLACEHOLDERS[type] }] as Field[])),
      ...(type === 'query' ? ([
        { key: 'regex', label: 'regex', kind: 'text', placeholder: '/.*instance="([^"]*).*/' },
        { key: 'sort', label: 'sort', kind: 'select', options: [[0, x('sortNone')], [1, 'A → Z'], [2, 'Z → A'], [3, '1 → 9'], [4, '9 → 1'], [5, 'a → z'], [6, 'z → a']] },
        { key: 'refresh', label: 'varRefresh', kind: 'select', options: [[1, x('refreshLoad')], [2, x('refreshTime')]] },
      ] as Field[]) : []),
      ...(type === 'datasource' ? ([{ key: 'regex', label: 'regex', kind: 'text' }] as Field[]) : []),
      ...(listed ? ([{ key: 'multi', label: 'multi', kind: 'switch' }, { key: 'includeAll', label: 'includeAll', kind: 'switch' }] as Field[]) : []),
      ...(listed && v.includeAll === true ? ([{ key: 'allValue', label: 'allValue', kind: 'text', placeholder: '.*' }] as Field[]) : []),
    ];
  };
  const found = (v: Json) => {
    const r = screen.variables.find((s) => s.definition.name === v.name);
    return r ? (r.error !== '' ? r.error : x('foundValues', { n: r.options.length, some: r.options.slice(0, 12).map((o) => o.text).join(', ') })) : '';
  };
  const fresh = (): Json => ({ type: 'query', name: freeName(asObjects(templating.list), 'variable'), label: '', query: '', datasource: sourceRef(screen), refresh: 1, sort: 1, multi: false, includeAll: false, hide: 0, regex: '', current: {}, options: [] });
  // A query that is stored in an object is edited as text from then on.
  const read = (v: Json, key: string) => (key === 'query' && typeof v.query === 'object' && v.query !== null ? String(asObject(v.query).query ?? v.definition ?? '') : v[key]);
  const write = (v: Json, key: string, value: unknown): Json => (key === 'query' ? { ...v, query: value, definition: value, current: {}, options: [] } : key === 'type' ? { ...v, type: value, current: {}, options: [] } : { ...v, [key]: value });
  return <Entries list={asObjects(templating.list)} onChange={set} name={(v) => `$${String(v.name)}`} about={(v) => `${String(v.type)} ${String(read(v, 'query') ?? '')}`} fields={fields} fresh={fresh} screen={screen} read={read} write={write} note={found} add="addVariable" />;
}

const PLACEHOLDERS: Record<string, string> = { query: 'label_values(node_load1, node)', custom: 'a, b, text : value', textbox: '', constant: '', interval: '1m,5m,1h', datasource: 'prometheus' };

export function AnnotationsTab({ draft, screen, onChange }: Props) {
  const x = useEditTexts();
  const annotations = asObject(draft.annotations);
  const list = asObjects(annotations.list);
  const own = (a: Json) => a.builtIn !== 1 && a.type !== 'dashboard';
  const fields = (): Field[] => [
    { key: 'name', label: 'annotationName', kind: 'text' },
    { key: 'enable', label: 'enabled', kind: 'switch' },
    { key: 'hide', label: 'hideSwitch', kind: 'switch' },
    { key: 'datasource', label: 'source', kind: 'source' },
    { key: 'expr', label: 'query', kind: 'text', placeholder: 'changes(kube_deployment_status_observed_generation[1m]) > 0' },
    { key: 'step', label: 'step', kind: 'text', placeholder: '60s' },
    { key: 'titleFormat', label: 'titleFormat', kind: 'text', placeholder: '{{deployment}}' },
    { key: 'textFormat', label: 'textFormat', kind: 'text' },
    { key: 'tagKeys', label: 'tagKeys', kind: 'text', placeholder: 'namespace,deployment' },
    { key: 'useValueForTime', label: 'useValueForTime', kind: 'switch' },
    { key: 'iconColor', label: 'color', kind: 'text', placeholder: 'red, #ff8833' },
  ];
  return (
    <>
      <p>{x('annotationsHint')}</p>
      <Entries
        list={list.filter(own)} onChange={(l) => onChange({ ...draft, annotations: { ...annotations, list: [...list.filter((a) => !own(a)), ...l] } })} name={(a) => String(a.name)} about={(a) => String(a.expr ?? '')} fields={fields} screen={screen}
        fresh={() => ({ name: freeName(list, 'annotation'), enable: true, hide: false, iconColor: 'orange', datasource: sourceRef(screen), expr: '' })} add="addAnnotation"
      />
    </>
  );
}

export function LinksTab({ draft, screen, onChange }: Props) {
  const x = useEditTexts();
  const fields = (l: Json): Field[] => [
    { key: 'type', label: 'type', kind: 'select', options: [['link', x('linkUrl')], ['dashboards', x('linkBoards')]] },
    { key: 'title', label: 'linkTitle', kind: 'text' },
    ...(l.type === 'link' ? ([{ key: 'url', label: 'url', kind: 'text', placeholder: 'https://…' }] as Field[]) : ([{ key: 'tags', label: 'tags', kind: 'text' }, { key: 'asDropdown', label: 'asDropdown', kind: 'switch' }] as Field[])),
    { key: 'includeVars', label: 'includeVars', kind: 'switch' },
    { key: 'keepTime', label: 'keepTime', kind: 'switch' },
    { key: 'targetBlank', label: 'targetBlank', kind: 'switch' },
  ];
  const read = (l: Json, key: string) => (key === 'tags' && Array.isArray(l.tags) ? l.tags.join(', ') : l[key]);
  const write = (l: Json, key: string, value: unknown): Json => ({ ...l, [key]: key === 'tags' ? String(value).split(',').map((s) => s.trim()) : value });
  return (
    <Entries
      list={asObjects(draft.links)} onChange={(links) => onChange({ ...draft, links })} name={(l) => String(l.title || l.url || '')} about={(l) => String(l.type)} fields={fields} screen={screen} read={read} write={write}
      fresh={() => ({ type: 'link', title: '', url: '', tags: [], includeVars: false, keepTime: true, targetBlank: false, asDropdown: false, icon: 'external link', tooltip: '' })} add="addLink"
    />
  );
}

function sourceRef(screen: OnScreen): Json | null {
  const s = screen.sources.find((d) => d.isDefault) ?? screen.sources[0];
  return s ? { type: s.type, uid: s.uid } : null;
}

function freeName(list: readonly Json[], stem: string): string {
  const taken = new Set(list.map((v) => v.name));
  return Array.from({ length: list.length + 1 }, (_, i) => `${stem}${i + 1}`).find((n) => !taken.has(n)) ?? stem;
}

interface EntriesProps {
  list: Json[];
  onChange: (list: Json[]) => void;
  name: (entry: Json) => string;
  about: (entry: Json) => string;
  fields: (entry: Json) => Field[];
  fresh: () => Json;
  screen: OnScreen;
  read?: (entry: Json, key: string) => unknown;
  write?: (entry: Json, key: string, value: unknown) => Json;
  note?: (entry: Json) => string;
  add: EditKey;
}

function Entries({ list, onChange, name, about, fields, fresh, screen, read = (e, k) => e[k], write = (e, k, v) => ({ ...e, [k]: v }), note, add }: EntriesProps) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const [open, setOpen] = useState(-1);
  const move = (i: number, by: number) => {
    const next = [...list];
    next.splice(i + by, 0, ...next.splice(i, 1));
    onChange(next);
    setOpen(open === i ? i + by : -1);
  };
  return (
    <>
      <Button icon="plus" onClick={() => (onChange([...list, fresh()]), setOpen(list.length))}>
        {x(add)}
      </Button>
      <ul className={styles.list}>
        {list.map((e, i) => (
          <li key={i}>
            <div className={styles.line}>
              <button type="button" className={styles.name} aria-expanded={open === i} onClick={() => setOpen(open === i ? -1 : i)}>
                {name(e)} <small>{about(e)}</small>
              </button>
              <IconButton name="arrow-up" tooltip={`${x('up')}: ${name(e)}`} disabled={i === 0} onClick={() => move(i, -1)} />
              <IconButton name="arrow-down" tooltip={`${x('down')}: ${name(e)}`} disabled={i === list.length - 1} onClick={() => move(i, 1)} />
              <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${name(e)}`} onClick={() => (onChange(list.filter((_, j) => j !== i)), setOpen(-1))} />
            </div>
            {open === i && (
              <div className={styles.form}>
                {fields(e).map((f) => (
                  <FieldLine key={f.key} field={f} value={read(e, f.key)} screen={screen} onChange={(v) => onChange(list.map((o, j) => (j === i ? write(e, f.key, v) : o)))} />
                ))}
                {note && <p className={styles.note} role="status">{note(e)}</p>}
              </div>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

function FieldLine({ field, value, screen, onChange }: { field: Field; value: unknown; screen: OnScreen; onChange: (v: unknown) => void }) {
  const x = useEditTexts();
  const label = x(field.label);
  if (field.kind === 'switch') {
    return (
      <label style={{ display: 'flex', gap: 8, padding: '4px 0' }}>
        <input type="checkbox" checked={value === true} onChange={(e) => onChange(e.currentTarget.checked)} /> {label}
      </label>
    );
  }
  let input: ReactNode;
  if (field.kind === 'select') {
    input = <Select aria-label={label} options={(field.options ?? []).map(([v, l]) => ({ value: v, label: l }))} value={(value ?? field.options?.[0]?.[0]) as string | number} onChange={(v) => onChange(v.value)} />;
  } else if (field.kind === 'source') {
    const uid = typeof value === 'string' ? value : String(asObject(value).uid ?? '');
    const known = screen.sources.map((s) => ({ value: s.uid, label: s.name }));
    const variables = screen.variables.filter((v) => v.definition.type === 'datasource').map((v) => ({ value: `\${${v.definition.name}}`, label: `$${v.definition.name}` }));
    input = (
      <Select
        aria-label={label} options={[...known, ...variables, ...([...known, ...variables].some((o) => o.value === uid) || uid === '' ? [] : [{ value: uid, label: uid }])]} value={uid}
        onChange={(v) => onChange({ type: screen.sources.find((s) => s.uid === v.value)?.type ?? 'prometheus', uid: v.value })}
      />
    );
  } else {
    input = <Input aria-label={label} value={typeof value === 'object' ? '' : String(value ?? '')} placeholder={field.placeholder} onChange={(e) => onChange(e.currentTarget.value)} />;
  }
  return (
    <InlineField label={label} labelWidth={20} grow>
      <>{input}</>
    </InlineField>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', marginTop: theme.spacing(2), '& > li': { borderBottom: `1px solid ${theme.colors.border.weak}`, padding: theme.spacing(1, 0) } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center' }),
  name: css({ flex: 1, minWidth: 180, background: 'none', border: 'none', textAlign: 'left', color: theme.colors.text.primary, wordBreak: 'break-word', '& small': { color: theme.colors.text.secondary } }),
  form: css({ padding: theme.spacing(1, 0) }),
  note: css({ color: theme.colors.text.secondary, margin: 0 }),
});
