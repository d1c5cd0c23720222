/** A panel's transformations in their order; the common ones begin with sensible options, all are edited as JSON. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState } from 'react';
import { Alert, IconButton, Select, TextArea, useStyles2, useT } from '../ui';
import { asObject, type Json } from './board_json';
import { useEditTexts } from './edit_texts';

/** What each transformation begins with. */
const BEGIN: Record<string, Json> = {
  organize: { excludeByName: { Time: true }, indexByName: {}, renameByName: {} },
  merge: {},
  joinByField: { byField: 'node', mode: 'outer' },
  calculateField: { mode: 'binary', alias: '', binary: { left: '', operator: '/', right: '' } },
  groupBy: { fields: {} },
  filterFieldsByName: { include: { names: [] } },
  filterByValue: { type: 'include', match: 'all', filters: [] },
  labelsToFields: { mode: 'columns' },
  renameByRegex: { regex: '(.*)', renamePattern: '$1' },
  sortBy: { fields: {}, sort: [{ field: 'Value', desc: true }] },
  reduce: { reducers: ['lastNotNull'] },
  limit: { limitField: 10 },
  seriesToRows: {},
  groupingToMatrix: { columnField: 'Time', rowField: '', valueField: 'Value' },
  convertFieldType: { conversions: [] },
};

export function Transformations({ list, onChange }: { list: Json[]; onChange: (list: Json[]) => void }) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const move = (i: number, by: number) => {
    const next = [...list];
    next.splice(i + by, 0, ...next.splice(i, 1));
    onChange(next);
  };
  return (
    <>
      {list.map((tr, i) => (
        <fieldset key={`${i}-${String(tr.id)}`} className={styles.one}>
          <div className={styles.line}>
            <strong style={{ flex: 1 }}>{String(tr.id)}</strong>
            <IconButton name="arrow-up" tooltip={`${x('up')}: ${String(tr.id)}`} disabled={i === 0} onClick={() => move(i, -1)} />
            <IconButton name="arrow-down" tooltip={`${x('down')}: ${String(tr.id)}`} disabled={i === list.length - 1} onClick={() => move(i, 1)} />
            <IconButton name={tr.disabled ? 'eye-slash' : 'eye'} tooltip={x('disable')} onClick={() => onChange(list.map((o, j) => (i === j ? { ...o, disabled: !o.disabled } : o)))} />
            <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(tr.id)}`} onClick={() => onChange(list.filter((_, j) => j !== i))} />
          </div>
          <OptionsJson label={`${x('options')}: ${String(tr.id)}`} value={asObject(tr.options)} onChange={(options) => onChange(list.map((o, j) => (i === j ? { ...o, options } : o)))} />
        </fieldset>
      ))}
      <Select aria-label={x('addTransformation')} placeholder={x('addTransformation')} width={40} value={null} options={Object.keys(BEGIN).map((id) => ({ value: id, label: id }))} onChange={(v) => onChange([...list, { id: v.value, options: structuredClone(BEGIN[String(v.value)] ?? {}) }])} />
    </>
  );
}

function OptionsJson({ label, value, onChange }: { label: string; value: Json; onChange: (v: Json) => void }) {
  const [text, setText] = useState(() => JSON.stringify(value, null, 2));
  const [problem, setProblem] = useState('');
  const take = (next: string) => {
    setText(next);
    try {
      onChange(JSON.parse(next) as Json);
      setProblem('');
    } catch (err) {
      setProblem(err instanceof Error ? err.message : String(err));
    }
  };
  return (
    <>
      <TextArea rows={Math.min(16, text.split('\n').length + 1)} spellCheck={false} aria-label={label} value={text} onChange={(e) => take(e.currentTarget.value)} />
      {problem !== '' && <Alert severity="warning" title={problem} />}
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  one: css({ border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(1), marginBottom: theme.spacing(1) }),
  line: css({ display: 'flex', gap: theme.spacing(1), alignItems: 'center', marginBottom: theme.spacing(0.5) }),
});
