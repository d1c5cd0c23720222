/** The metrics of a data source with their descriptions; labels and values of one make a query. */
import { css } from '@emotion/css';
import type { GrafanaTheme2, TimeRange } from '@grafana/data';
import { useMemo, useState } from 'react';
import { PrometheusApi } from '../data/prometheus';
import { selectorText, suggestion } from '../data/selector_text';
import { Alert, Badge, Button, Drawer, FilterInput, LoadingPlaceholder, Select, useStyles2 } from '../ui';
import { useLoad } from '../ui/hooks';
import { useExploreTexts } from './explore_texts';

interface Props {
  sourceUid: string;
  range: TimeRange;
  onUse: (expr: string) => void;
  onClose: () => void;
}

/** A list longer than this is searched, not scrolled. */
const MAX_SHOWN = 200;

export default function MetricBrowser({ sourceUid, range, onUse, onClose }: Props) {
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  const [text, setText] = useState('');
  const [kind, setKind] = useState('');
  const [metric, setMetric] = useState('');
  const api = useMemo(() => new PrometheusApi(sourceUid), [sourceUid]);
  const when = useMemo(() => ({ from: range.from.valueOf(), to: range.to.valueOf() }), [range]);
  const known = useLoad(`metrics ${sourceUid} ${when.from} ${when.to}`, async (signal) => {
    const [names, metadata] = await Promise.all([api.labelValues('__name__', '', when, signal), api.metadata(signal).catch(() => ({}) as Awaited<ReturnType<PrometheusApi['metadata']>>)]);
    return { names, metadata };
  });
  const metadata = known.value?.metadata ?? {};
  const about = (name: string) => metadata[name]?.[0] ?? metadata[name.replace(/_(bucket|count|sum|total)$/, '')]?.[0];
  const words = text.toLowerCase().split(/\s+/).filter((w) => w !== '');
  const found = (known.value?.names ?? []).filter((n) => (kind === '' || about(n)?.type === kind) && words.every((w) => n.toLowerCase().includes(w) || (about(n)?.help ?? '').toLowerCase().includes(w)));
  const kinds = [...new Set((known.value?.names ?? []).map((n) => about(n)?.type ?? ''))].filter((k) => k !== '').sort();
  return (
    <Drawer title={x('browse')} onClose={onClose} size="md">
      {known.error && <Alert severity="error" title={known.error.message} buttonContent={x('retry')} onRemove={known.reload} />}
      {!known.value && !known.error && <LoadingPlaceholder text={x('loading')} />}
      {known.value && (
        <>
          <div className={styles.tools}>
            <FilterInput value={text} onChange={setText} placeholder={x('searchMetric')} aria-label={x('searchMetric')} />
            <Select aria-label={x('kind')} width={20} value={kind} onChange={(v) => setKind(v.value ?? '')} options={[{ value: '', label: x('allKinds') }, ...kinds.map((k) => ({ value: k, label: k }))]} />
          </div>
          <p className={styles.hint} role="status">
            {found.length === 0 ? x('noMetric') : x('shown', { shown: Math.min(found.length, MAX_SHOWN), all: known.value.names.length })}
          </p>
          <ul className={styles.list} aria-label={x('browse')}>
            {found.slice(0, MAX_SHOWN).map((n) => (
              <li key={n}>
                <button type="button" className={styles.metric} aria-expanded={metric === n} onClick={() => setMetric(metric === n ? '' : n)}>
                  <span>
                    <code>{n}</code> {about(n) && <Badge text={about(n)?.type ?? ''} color="blue" />}
                  </span>
                  <small>{about(n)?.help || x('noHelp')}</small>
                </button>
                {metric === n && <Labels metric={n} type={about(n)?.type ?? ''} api={api} when={when} onUse={onUse} />}
              </li>
            ))}
          </ul>
        </>
      )}
    </Drawer>
  );
}

interface LabelsProps {
  metric: string;
  type: string;
  api: PrometheusApi;
  when: { from: number; to: number };
  onUse: (expr: string) => void;
}

/** Labels lets a person choose values; each label's values are those that go with what is chosen of the others. */
function Labels({ metric, type, api, when, onUse }: LabelsProps) {
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  const [chosen, setChosen] = useState<ReadonlyMap<string, readonly string[]>>(new Map());
  const [open, setOpen] = useState('');
  const labels = useLoad(`labels ${metric}`, (signal) => api.labelNames(selectorText(metric, new Map()), when, signal));
  const selector = selectorText(metric, chosen);
  const suggested = suggestion(selector, metric, type);
  return (
    <div className={styles.labels}>
      {labels.error && <Alert severity="error" title={labels.error.message} buttonContent={x('retry')} onRemove={labels.reload} />}
      <div className={styles.chips} role="group" aria-label={x('labels')}>
        {(labels.value ?? []).filter((l) => l !== '__name__').map((l) => (
          <Button key={l} size="sm" variant={chosen.has(l) ? 'primary' : 'secondary'} fill={open === l ? 'solid' : 'outline'} aria-expanded={open === l} onClick={() => setOpen(open === l ? '' : l)}>
            {l}
          </Button>
        ))}
      </div>
      {open !== '' && (
        <Values
          key={open} label={open} match={selectorText(metric, new Map([...chosen].filter(([l]) => l !== open)))} api={api} when={when} chosen={chosen.get(open) ?? []}
          onChange={(values) => setChosen(new Map([...chosen].filter(([l]) => l !== open).concat(values.length > 0 ? [[open, values]] : [])))}
        />
      )}
      <div className={styles.tools}>
        <code className={styles.made} data-testid="made-query">{selector}</code>
        <Button size="sm" onClick={() => onUse(selector)}>
          {x('insert')}
        </Button>
        {suggested !== selector && (
          <Button size="sm" variant="secondary" onClick={() => onUse(suggested)}>
            {x('asRate')}
          </Button>
        )}
      </div>
    </div>
  );
}

interface ValuesProps extends Omit<LabelsProps, 'metric' | 'type' | 'onUse'> {
  label: string;
  match: string;
  chosen: readonly string[];
  onChange: (values: readonly string[]) => void;
}

function Values({ label, match, api, when, chosen, onChange }: ValuesProps) {
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  const [text, setText] = useState('');
  const all = useLoad(`values ${label} ${match}`, (signal) => api.labelValues(label, match, when, signal));
  if (!all.value) {
    return all.error ? <Alert severity="error" title={all.error.message} buttonContent={x('retry')} onRemove={all.reload} /> : <LoadingPlaceholder text={x('loading')} />;
  }
  const found = all.value.filter((v) => v.toLowerCase().includes(text.toLowerCase()));
  const toggle = (v: string) => onChange(chosen.includes(v) ? chosen.filter((c) => c !== v) : [...chosen, v]);
  return (
    <fieldset className={styles.values}>
      <legend>{x('valuesOf', { label })}</legend>
      {all.value.length > 12 && <FilterInput value={text} onChange={setText} placeholder={x('searchValue')} aria-label={x('searchValue')} />}
      <p className={styles.hint}>{found.length > MAX_SHOWN ? x('valuesCut', { n: MAX_SHOWN }) : x('values', { n: found.length })}</p>
      <div className={styles.options}>
        {found.slice(0, MAX_SHOWN).map((v) => (
          <label key={v}>
            <input type="checkbox" checked={chosen.includes(v)} onChange={() => toggle(v)} /> {v}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  tools: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', '& > div:first-of-type': { flex: 1, minWidth: 200 } }),
  hint: css({ color: theme.colors.text.secondary, margin: theme.spacing(0.5, 0) }),
  list: css({ listStyle: 'none', margin: 0, '& > li': { borderBottom: `1px solid ${theme.colors.border.weak}` } }),
  metric: css({
    display: 'flex', flexDirection: 'column', width: '100%', textAlign: 'left', background: 'none', border: 'none', padding: theme.spacing(0.75, 0.5), color: theme.colors.text.primary,
    '&:hover': { background: theme.colors.action.hover }, '& code': { background: 'none', border: 'none', padding: 0, color: theme.colors.text.maxContrast, wordBreak: 'break-all' }, '& small': { color: theme.colors.text.secondary },
  }),
  labels: css({ padding: theme.spacing(1, 1, 2), display: 'flex', flexDirection: 'column', gap: theme.spacing(1) }),
  chips: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(0.5) }),
  made: css({ flex: 1, minWidth: 200, wordBreak: 'break-all' }),
  values: css({ border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(1), '& legend': { fontSize: theme.typography.body.fontSize, width: 'auto', margin: 0 } }),
  options: css({ maxHeight: 220, overflow: 'auto', display: 'flex', flexDirection: 'column', '& label': { display: 'flex', gap: theme.spacing(1), wordBreak: 'break-all' } }),
});
