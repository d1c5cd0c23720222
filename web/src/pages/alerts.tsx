/** Alerts: the rules of a workspace, what is active at its alert manager, silences, and the history of alerts. */
import { css } from '@emotion/css';
import { dateTime, type GrafanaTheme2 } from '@grafana/data';
import { useState, type ReactNode } from 'react';
import { useNavigate, useSearchParams } from 'react-router';
import { defaultSource, type DataSource } from '../board/datasource';
import { fetchHistory, fetchManagerStatus, fetchRules, type Rule, type RuleGroup } from '../data/alerts_api';
import { fetchDataSources } from '../data/api';
import { Alert, Badge, Button, EmptyState, FilterInput, LoadingPlaceholder, RadioButtonGroup, Select, Tab, TabContent, TabsBar, useStyles2, useT } from '../ui';
import { useLoad, type Loaded } from '../ui/hooks';
import { ActiveAlerts, Silences } from './alerts_silences';
import { useAlertTexts } from './alerts_texts';
import { Shell } from './shell';

const TABS = ['rules', 'active', 'silences', 'history', 'notifications'] as const;

export default function AlertsPage() {
  const t = useT();
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const [params, setParams] = useSearchParams();
  const sources = useLoad('sources', fetchDataSources);
  const tab = TABS.find((x) => x === params.get('tab')) ?? 'rules';
  const source = sources.value?.find((s) => s.uid === params.get('ds')) ?? (sources.value ? defaultSource(sources.value) : undefined);
  const set = (name: string, value: string) => setParams((p) => (p.set(name, value), p));
  return (
    <Shell crumbs={[{ text: t('nav.home'), to: '/' }, { text: text('title') }]}>
      <div className={styles.page}>
        <div className={styles.head}>
          <h1>{text('title')}</h1>
          {sources.value && sources.value.length > 1 && <SourceSelect sources={sources.value} value={source?.uid} onChange={(uid) => set('ds', uid)} />}
        </div>
        <TabsBar>
          {TABS.map((name) => (
            <Tab key={name} label={text(name)} active={tab === name} onChangeTab={() => set('tab', name)} />
          ))}
        </TabsBar>
        <TabContent className={styles.content}>
          {sources.error && <Alert severity="error" title={sources.error.message} buttonContent={t('common.retry')} onRemove={sources.reload} />}
          {source && tab === 'rules' && <Rules key={source.uid} source={source.uid} />}
          {source && tab === 'active' && <ActiveAlerts key={source.uid} source={source.uid} />}
          {source && tab === 'silences' && <Silences key={source.uid} source={source.uid} />}
          {source && tab === 'history' && <History key={source.uid} source={source.uid} />}
          {source && tab === 'notifications' && <Notifications key={source.uid} source={source.uid} />}
        </TabContent>
      </div>
    </Shell>
  );
}

function SourceSelect({ sources, value, onChange }: { sources: DataSource[]; value: string | undefined; onChange: (uid: string) => void }) {
  const text = useAlertTexts();
  return <Select aria-label={text('source')} width={28} options={sources.map((s) => ({ value: s.uid, label: s.name }))} value={value} onChange={(v) => onChange(v.value ?? '')} />;
}

/** LoadedList shows the states of a list before it is there. */
export function LoadedList<V>({ loaded, empty, isEmpty, children }: { loaded: Loaded<V>; empty: string; isEmpty: (v: V) => boolean; children: (v: V) => ReactNode }) {
  const t = useT();
  if (loaded.error) {
    return <Alert severity="error" title={loaded.error.message} buttonContent={t('common.retry')} onRemove={loaded.reload} />;
  }
  if (loaded.value === null) {
    return <LoadingPlaceholder text={t('common.loading')} />;
  }
  return isEmpty(loaded.value) ? <EmptyState variant="not-found" hideImage message={empty} /> : <>{children(loaded.value)}</>;
}

const STATE_COLOR = { firing: 'red', pending: 'orange', inactive: 'green', unknown: 'darkgrey', recording: 'blue' } as const;

function stateOf(r: Rule): keyof typeof STATE_COLOR {
  return r.type === 'recording' ? 'recording' : (r.state ?? 'unknown');
}

function Rules({ source }: { source: string }) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const loaded = useLoad(`rules-${source}`, (signal) => fetchRules(source, signal));
  const [query, setQuery] = useState('');
  const [state, setState] = useState('');
  const fits = (r: Rule) => (state === '' || stateOf(r) === state) && `${r.name} ${Object.values(r.labels ?? {}).join(' ')}`.toLowerCase().includes(query.toLowerCase());
  return (
    <LoadedList loaded={loaded} empty={text('noRules')} isEmpty={(v) => v.length === 0}>
      {(groups) => (
        <>
          <div className={styles.filters}>
            <FilterInput value={query} onChange={setQuery} placeholder={text('search')} escapeRegex={false} />
            <RadioButtonGroup
              aria-label={text('onlyState')} value={state} onChange={setState}
              options={[{ value: '', label: text('all') }, ...(['firing', 'pending', 'inactive', 'recording'] as const).map((s) => ({ value: s as string, label: text(s) }))]}
            />
            <Button variant="secondary" icon="sync" onClick={loaded.reload} aria-label={text('rules')} />
          </div>
          {groups.map((g) => (
            <Group key={`${g.file}/${g.name}`} group={g} rules={g.rules.filter(fits)} source={source} />
          ))}
        </>
      )}
    </LoadedList>
  );
}

function Group({ group, rules, source }: { group: RuleGroup; rules: Rule[]; source: string }) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  if (rules.length === 0) {
    return null;
  }
  return (
    <section className={styles.group}>
      <h2>
        {group.file === '' ? '' : `${group.file} / `}
        {group.name} <small>{text('every', { interval: group.interval })}</small>
      </h2>
      <ul className={styles.list}>
        {rules.map((r, i) => (
          <RuleLine key={`${r.name}-${i}`} rule={r} source={source} />
        ))}
      </ul>
    </section>
  );
}

/** A time of an API that writes the year 1 for "never". */
export function known(time: string | undefined): boolean {
  return time !== undefined && !time.startsWith('0001-');
}

function RuleLine({ rule, source }: { rule: Rule; source: string }) {
  const text = useAlertTexts();
  const navigate = useNavigate();
  const state = stateOf(rule);
  const bad = rule.health === 'err';
  return (
    <li data-testid="alert-rule">
      <Badge color={STATE_COLOR[state]} text={text(state)} />
      <div>
        <strong>{rule.name}</strong> {bad && <Badge color="red" icon="exclamation-triangle" text={text('healthErr')} />} {rule.annotations?.summary ?? rule.annotations?.description ?? ''}
        <code>{rule.query}</code>
        {bad && rule.lastError && <Alert severity="error" title={rule.lastError} />}
        <small>
          {(rule.duration ?? 0) > 0 && `${text('holds', { time: `${rule.duration} s` })} · `}
          {known(rule.lastEvaluation) ? text('lastEvaluation', { time: dateTime(rule.lastEvaluation).fromNow(), ms: ((rule.evaluationTime ?? 0) * 1000).toFixed(1) }) : text('never')}
        </small>
        {(rule.alerts ?? []).map((a, i) => (
          <small key={i}>
            {text(a.state === 'firing' ? 'firing' : 'pending')} {a.activeAt ? text('since', { time: dateTime(a.activeAt).fromNow(true) }) : ''}: {labelText(a.labels)} = {a.value}
          </small>
        ))}
      </div>
      <Button size="sm" variant="secondary" fill="text" icon="compass" onClick={() => void navigate(`/explore?${new URLSearchParams({ expr: rule.query, ds: source })}`)}>
        {text('explore')}
      </Button>
    </li>
  );
}

export function labelText(labels: Record<string, string>): string {
  return Object.entries(labels).filter(([k]) => k !== 'alertname').map(([k, v]) => `${k}="${v}"`).join(' ');
}

const SPANS = [6, 24, 168];

function History({ source }: { source: string }) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const [hours, setHours] = useState(24);
  const loaded = useLoad(`history-${source}-${hours}`, (signal) => fetchHistory(source, hours, Date.now(), signal));
  const time = (ms: number) => dateTime(ms).format('YYYY-MM-DD HH:mm');
  return (
    <>
      <div className={styles.filters}>
        <RadioButtonGroup aria-label={text('duration')} value={hours} onChange={setHours} options={SPANS.map((n) => ({ value: n, label: n < 48 ? text('hours', { n }) : text('days', { n: n / 24 }) }))} />
      </div>
      <LoadedList loaded={loaded} empty={text('noHistory')} isEmpty={(v) => v.length === 0}>
        {(list) => (
          <ul className={styles.list}>
            {list.slice(0, 500).map((e, i) => (
              <li key={i}>
                <Badge color={e.state === 'firing' ? 'red' : 'orange'} text={text(e.state === 'firing' ? 'firing' : 'pending')} />
                <div>
                  <strong>{e.labels.alertname}</strong>
                  <small>{labelText(e.labels)}</small>
                </div>
                <span>{e.open ? text('goesOn', { from: time(e.from) }) : text('lasted', { from: time(e.from), to: time(e.to) })}</span>
              </li>
            ))}
          </ul>
        )}
      </LoadedList>
    </>
  );
}

function Notifications({ source }: { source: string }) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const loaded = useLoad(`status-${source}`, (signal) => fetchManagerStatus(source, signal));
  return (
    <LoadedList loaded={loaded} empty={text('noManager', { reason: '' })} isEmpty={(v) => !v.config?.original}>
      {(status) => (
        <section className={styles.group}>
          <h2>{text('config')}</h2>
          <pre tabIndex={0}>{status.config?.original}</pre>
        </section>
      )}
    </LoadedList>
  );
}

export const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(3), maxWidth: 1200, margin: '0 auto' }),
  head: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1), '& h1': { flex: 1, margin: 0 } }),
  content: css({ paddingTop: theme.spacing(2), background: 'none' }),
  filters: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', marginBottom: theme.spacing(2), '& > :first-child': { flex: '1 1 240px' } }),
  group: css({
    marginBottom: theme.spacing(3), '& h2': { fontSize: theme.typography.h5.fontSize }, '& h2 small': { color: theme.colors.text.secondary, fontWeight: 400 },
    '& pre': { maxHeight: 480, overflow: 'auto' },
  }),
  list: css({
    listStyle: 'none', background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default,
    '& > li': { display: 'flex', alignItems: 'flex-start', gap: theme.spacing(1.5), padding: theme.spacing(1, 2), borderBottom: `1px solid ${theme.colors.border.weak}` },
    '& > li:last-child': { borderBottom: 'none' },
    '& > li > div:nth-child(2)': { flex: 1, minWidth: 0, overflowWrap: 'anywhere' },
    '& small': { display: 'block', color: theme.colors.text.secondary },
    '& code': { display: 'block', background: 'none', border: 'none', padding: 0, color: theme.colors.text.secondary, whiteSpace: 'pre-wrap' },
  }),
  form: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1.5), '& label': { display: 'block' }, '& [role=alert]': { margin: 0 } }),
});
