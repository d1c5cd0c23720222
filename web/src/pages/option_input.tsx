/** The input of one panel option. */
import { useMemo } from 'react';
import { InlineField, Input, MultiSelect, Select, TextArea, useLanguage } from '../ui';
import { CALCS, unitChoices, type PanelOption } from './panel_options';

interface Props {
  option: PanelOption;
  value: unknown;
  /** undefined takes the option away, so that Grafana's default holds again. */
  onChange: (value: unknown) => void;
}

const WIDTH = 20;

export function OptionInput({ option, value, onChange }: Props) {
  const { language } = useLanguage();
  const label = option.label[language === 'ko' ? 1 : 0];
  const now = value ?? option.otherwise;
  if (option.kind === 'switch') {
    return (
      <label style={{ display: 'flex', gap: 8, padding: '4px 0' }}>
        <input type="checkbox" checked={now === true || (typeof now === 'number' && now > 0)} onChange={(e) => onChange(e.currentTarget.checked)} /> {label}
      </label>
    );
  }
  if (option.kind === 'area') {
    return (
      <div style={{ marginBottom: 8 }}>
        <div>{label}</div>
        <TextArea rows={option.path === 'options.content' ? 12 : 2} aria-label={label} value={String(now ?? '')} onChange={(e) => onChange(e.currentTarget.value)} />
      </div>
    );
  }
  return (
    <InlineField label={label} labelWidth={WIDTH} grow shrink>
      <Value option={option} label={label} now={now} onChange={onChange} />
    </InlineField>
  );
}

function Value({ option, label, now, onChange }: { option: PanelOption; label: string; now: unknown; onChange: (value: unknown) => void }) {
  const units = useMemo(() => (option.kind === 'unit' ? unitChoices() : []), [option.kind]);
  switch (option.kind) {
    case 'select': {
      const choices = option.choices ?? [];
      const known = choices.some(([v]) => v === now) || now === undefined ? choices : [...choices, [now as string, String(now)] as const];
      return <Select aria-label={label} options={known.map(([v, l]) => ({ value: v, label: l }))} value={now as string | undefined} isClearable={option.otherwise === undefined} onChange={(v) => onChange(v?.value)} />;
    }
    case 'calcs':
      return <MultiSelect aria-label={label} options={CALCS.map((c) => ({ value: c, label: c }))} value={Array.isArray(now) ? now.map(String) : []} onChange={(v) => onChange(v.map((o) => o.value ?? ''))} />;
    case 'unit': {
      const own = String(now ?? '');
      return <Select aria-label={label} allowCustomValue isClearable virtualized options={units.some((u) => u.value === own) || own === '' ? units : [{ value: own, label: own }, ...units]} value={own === '' ? null : own} onChange={(v) => onChange(v?.value)} />;
    }
    case 'number':
      return <Input type="number" aria-label={label} value={typeof now === 'number' ? now : ''} onChange={(e) => onChange(e.currentTarget.value === '' ? undefined : Number(e.currentTarget.value))} />;
    default:
      return <Input aria-label={label} value={String(now ?? '')} onChange={(e) => onChange(e.currentTarget.value === '' ? undefined : e.currentTarget.value)} />;
  }
}
