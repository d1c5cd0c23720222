/** The row of variable pickers above a board. */
import { css } from '@emotion/css';
import type { GrafanaTheme2, SelectableValue } from '@grafana/data';
import { lazy, Suspense, useState } from 'react';
import { ALL } from '../board/model';
import type { Resolved } from '../board/variables';
import { Icon, Input, MultiSelect, Select, Tooltip, useStyles2, useT } from '../ui';

const AdHocBar = lazy(() => import('../panels/adhoc_bar'));

interface Props {
  resolved: readonly Resolved[];
  onChange: (name: string, values: string[]) => void;
}

export function VariableBar({ resolved, onChange }: Props) {
  const styles = useStyles2(getStyles);
  const shown = resolved.filter((r) => r.definition.hide !== 2 && !['constant', 'unsupported'].includes(r.definition.type));
  if (shown.length === 0) {
    return null;
  }
  return (
    <div className={styles.bar} role="group">
      {shown.map((r) => (
        <OneVariable key={r.definition.name} resolved={r} onChange={(v) => onChange(r.definition.name, v)} />
      ))}
    </div>
  );
}

function OneVariable({ resolved, onChange }: { resolved: Resolved; onChange: (values: string[]) => void }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const { definition: d } = resolved;
  const label = d.label || d.name;
  const id = `var-${d.name}`;
  return (
    <div className={styles.variable} data-testid={`variable-${d.name}`}>
      {d.hide !== 1 && (
        <label className={styles.label} htmlFor={id} title={d.description}>
          {label}
        </label>
      )}
      {d.type === 'adhoc' ? <Suspense fallback={null}><AdHocBar resolved={resolved} onChange={onChange} /></Suspense> : d.type === 'textbox' ? <TextBox id={id} label={label} value={String(resolved.value.value)} onChange={onChange} /> : <Picker id={id} label={label} resolved={resolved} onChange={onChange} />}
      {resolved.error !== '' && (
        <Tooltip content={t('board.variableError', { name: label, reason: resolved.error })} theme="error">
          <Icon name="exclamation-triangle" className={styles.error} tabIndex={0} />
        </Tooltip>
      )}
    </div>
  );
}

interface PickerProps {
  id: string;
  label: string;
  resolved: Resolved;
  onChange: (values: string[]) => void;
}

function Picker({ id, label, resolved, onChange }: PickerProps) {
  const { definition: d, value } = resolved;
  const options: SelectableValue<string>[] = resolved.options.map((o) => ({ label: o.text, value: o.value }));
  if (d.includeAll) {
    options.unshift({ label: 'All', value: ALL });
  }
  const values = Array.isArray(value.value) ? value.value : [value.value];
  const texts = Array.isArray(value.text) ? value.text : [value.text];
  const picked = values.map((v, i): SelectableValue<string> => ({ value: v, label: v === ALL ? 'All' : (texts[i] ?? v) }));
  const custom = d.type === 'query' || d.type === 'custom';
  if (d.multi) {
    return <MultiPicker id={id} label={label} options={options} picked={picked} onChange={onChange} />;
  }
  return (
    <Select
      inputId={id}
      aria-label={label}
      width="auto"
      virtualized={options.length > 50}
      allowCustomValue={custom}
      options={options}
      value={picked[0]}
      onChange={(v: SelectableValue<string>) => onChange([v.value ?? ''])}
    />
  );
}

interface MultiProps {
  id: string;
  label: string;
  options: SelectableValue<string>[];
  picked: SelectableValue<string>[];
  onChange: (values: string[]) => void;
}

/** MultiPicker tells the board only when its menu closes, so that picking three values does not ask three times. */
function MultiPicker({ id, label, options, picked, onChange }: MultiProps) {
  const [draft, setDraft] = useState<SelectableValue<string>[] | null>(null);
  const commit = () => {
    if (draft) {
      const values = draft.map((o) => o.value ?? '');
      onChange(values.length > 0 ? values : [options[0]?.value ?? '']);
      setDraft(null);
    }
  };
  const update = (next: SelectableValue<string>[]) => {
    const added = next[next.length - 1]?.value;
    setDraft(added === ALL ? next.slice(-1) : next.filter((o) => o.value !== ALL));
  };
  return (
    <MultiSelect
      inputId={id}
      aria-label={label}
      width="auto"
      virtualized={options.length > 50}
      options={options}
      value={draft ?? picked}
      closeMenuOnSelect={false}
      hideSelectedOptions={false}
      isClearable={false}
      maxVisibleValues={3}
      onChange={update}
      onBlur={commit}
      onCloseMenu={commit}
    />
  );
}

function TextBox({ id, label, value, onChange }: { id: string; label: string; value: string; onChange: (values: string[]) => void }) {
  const [draft, setDraft] = useState<string | null>(null);
  const commit = () => {
    if (draft !== null && draft !== value) {
      onChange([draft]);
    }
    setDraft(null);
  };
  return (
    <Input
      id={id}
      aria-label={label}
      width={20}
      value={draft ?? value}
      onChange={(e) => setDraft(e.currentTarget.value)}
      onBlur={commit}
      onKeyDown={(e) => e.key === 'Enter' && commit()}
    />
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  bar: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1) }),
  variable: css({ display: 'flex', alignItems: 'stretch', maxWidth: '100%' }),
  label: css({
    display: 'flex', alignItems: 'center', padding: theme.spacing(0, 1), margin: 0, fontSize: theme.typography.bodySmall.fontSize,
    fontWeight: theme.typography.fontWeightMedium, background: theme.colors.background.primary, color: theme.colors.text.link,
    border: `1px solid ${theme.colors.border.medium}`, borderRight: 'none', borderRadius: `${theme.shape.radius.default} 0 0 ${theme.shape.radius.default}`,
  }),
  error: css({ color: theme.colors.error.text, alignSelf: 'center', marginLeft: theme.spacing(0.5) }),
});
