/** The filters of an ad hoc variable: each a label, an operator and a value, added to every query of its data source. */
import { css } from '@emotion/css';
import type { GrafanaTheme2, SelectableValue } from '@grafana/data';
import { useState } from 'react';
import { decodeFilter, encodeFilter } from '../board/adhoc';
import { resolveDataSource } from '../board/datasource';
import { interpolate } from '../board/interpolate';
import type { AdHocFilter } from '../board/model';
import type { Resolved } from '../board/variables';
import { PrometheusApi } from '../data/prometheus';
import { IconButton, Select, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { useBoardContext } from './context';

const CHOICES = ['=', '!=', '=~', '!~', '=|', '!=|'].map((value) => ({ value, label: value }));

export default function AdHocBar({ resolved, onChange }: { resolved: Resolved; onChange: (values: string[]) => void }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const [adding, setAdding] = useState<Partial<AdHocFilter> | null>(null);
  const values = Array.isArray(resolved.value.value) ? resolved.value.value : [];
  const filters = values.flatMap((v) => decodeFilter(v) ?? []);
  const name = resolved.definition.label || resolved.definition.name;
  const change = (next: AdHocFilter[]) => onChange(next.map(encodeFilter));
  return (
    <div className={styles.bar} role="group" aria-label={t('adhoc.filter', { name })}>
      {filters.map((f, i) => (
        <span key={i} className={styles.pill}>
          {f.key} {f.operator} {f.value}
          <IconButton name="times" size="sm" aria-label={t('adhoc.remove', { filter: `${f.key} ${f.operator} ${f.value}` })} onClick={() => change(filters.filter((_, j) => j !== i))} />
        </span>
      ))}
      {adding ? (
        <Editor
          resolved={resolved} draft={adding} onDraft={setAdding}
          onDone={(f) => {
            setAdding(null);
            change([...filters, f]);
          }}
        />
      ) : (
        <IconButton name="plus" aria-label={t('adhoc.add')} tooltip={t('adhoc.add')} onClick={() => setAdding({ operator: '=' })} />
      )}
    </div>
  );
}

interface EditorProps {
  resolved: Resolved;
  draft: Partial<AdHocFilter>;
  onDraft: (d: Partial<AdHocFilter>) => void;
  onDone: (f: AdHocFilter) => void;
}

function Editor({ resolved, draft, onDraft, onDone }: EditorProps) {
  const t = useT();
  const ctx = useBoardContext();
  const found = resolveDataSource(resolved.definition.datasource, ctx.sources, (s) => interpolate(s, ctx.scope, { format: 'raw' }));
  const uid = found.kind === 'found' ? found.source.uid : '';
  const range = { from: ctx.range.from.valueOf(), to: ctx.range.to.valueOf() };
  const names = useLoad(`adhoc-names-${uid}`, (signal) => (uid === '' ? Promise.resolve([]) : new PrometheusApi(uid).labelNames('', range, signal)));
  const values = useLoad(`adhoc-values-${uid}-${draft.key ?? ''}`, (signal) => (uid === '' || !draft.key ? Promise.resolve([]) : new PrometheusApi(uid).labelValues(draft.key, '', range, signal)));
  const options = (list: readonly string[] | null): SelectableValue<string>[] => (list ?? []).map((value) => ({ value, label: value }));
  return (
    <>
      <Select aria-label={t('adhoc.label')} placeholder={t('adhoc.label')} width="auto" allowCustomValue isLoading={names.loading} options={options(names.value)} value={draft.key ?? null} onChange={(v) => onDraft({ ...draft, key: v.value })} />
      <Select aria-label={t('adhoc.operator')} width="auto" options={CHOICES} value={draft.operator ?? '='} onChange={(v) => onDraft({ ...draft, operator: v.value })} />
      <Select
        aria-label={t('adhoc.value')} placeholder={t('adhoc.value')} width="auto" allowCustomValue disabled={!draft.key} isLoading={values.loading} options={options(values.value)} value={null}
        onChange={(v) => draft.key && onDone({ key: draft.key, operator: draft.operator ?? '=', value: v.value ?? '' })}
      />
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  bar: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(0.5) }),
  pill: css({
    display: 'inline-flex', alignItems: 'center', gap: theme.spacing(0.5), padding: theme.spacing(0.25, 1), background: theme.colors.background.secondary,
    border: `1px solid ${theme.colors.border.medium}`, borderRadius: theme.shape.radius.default,
  }),
});
