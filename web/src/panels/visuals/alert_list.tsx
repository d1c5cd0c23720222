/** Alert list: what is firing or pending at the panel's data source now. */
import { css } from '@emotion/css';
import { dateTime, type GrafanaTheme2 } from '@grafana/data';
import { resolveDataSource } from '../../board/datasource';
import { interpolate } from '../../board/interpolate';
import { bool, numberOr } from '../options';
import { obj, str } from '../../board/json';
import { PrometheusApi, type Alert } from '../../data/prometheus';
import { Badge, Button, useStyles2, useT } from '../../ui';
import { useLoad } from '../../ui/hooks';
import { useBoardContext } from '../context';
import { Sentence } from './sentence';
import type { VisualProps } from './types';

export default function AlertListVisual(p: VisualProps) {
  const t = useT();
  const ctx = useBoardContext();
  const o = p.panel.options;
  const found = resolveDataSource(p.panel.datasource, ctx.sources, (s) => interpolate(s, ctx.scope, { format: 'raw' }));
  const uid = found.kind === 'found' ? found.source.uid : '';
  const loaded = useLoad(`alerts-${uid}-${ctx.tick}`, (signal) => (uid === '' ? Promise.resolve([]) : new PrometheusApi(uid).alerts(signal)));
  if (loaded.error) {
    return (
      <Sentence text={t('alerts.failed', { reason: loaded.error.message })}>
        <Button size="sm" variant="secondary" onClick={loaded.reload}>
          {t('common.retry')}
        </Button>
      </Sentence>
    );
  }
  const shown = choose(loaded.value ?? [], o, p.replace);
  if (shown.length === 0) {
    return loaded.loading ? null : <Sentence text={t('alerts.none')} />;
  }
  return <AlertRows alerts={shown} />;
}

/** choose keeps the states, names and labels the panel asks for, in its order. */
export function choose(alerts: readonly Alert[], o: Record<string, unknown>, replace: (s: string) => string): Alert[] {
  const states = obj(o.stateFilter);
  const wanted = (state: string) => bool(states[state] ?? (state === 'firing' ? states.error : undefined), true);
  const name = replace(str(o.alertName)).toLowerCase();
  const labels = [...replace(str(o.alertInstanceLabelFilter)).matchAll(/([\w.]+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)];
  const fits = (a: Alert) =>
    labels.every(([, label = '', op, value = '']) => {
      const have = a.labels[label] ?? '';
      const same = op === '=~' || op === '!~' ? new RegExp(`^(?:${value})$`).test(have) : have === value;
      return op?.startsWith('!') ? !same : same;
    });
  const kept = alerts.filter((a) => wanted(a.state) && (a.labels.alertname ?? '').toLowerCase().includes(name) && fits(a));
  const byName = (a: Alert, b: Alert) => (a.labels.alertname ?? '').localeCompare(b.labels.alertname ?? '');
  const rank = (a: Alert) => (a.state === 'firing' ? 0 : 1);
  kept.sort((a, b) => (o.sortOrder === 2 ? -byName(a, b) : o.sortOrder === 1 ? byName(a, b) : rank(a) - rank(b) || byName(a, b)));
  return kept.slice(0, numberOr(o.maxItems, 20));
}

function AlertRows({ alerts }: { alerts: readonly Alert[] }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  return (
    <ul className={styles.list} tabIndex={0}>
      {alerts.map((a, i) => (
        <li key={i}>
          <Badge color={a.state === 'firing' ? 'red' : 'orange'} text={t(a.state === 'firing' ? 'alerts.firing' : 'alerts.pending')} icon={a.state === 'firing' ? 'exclamation-circle' : 'clock-nine'} />
          <span>
            <strong>{a.labels.alertname}</strong> {a.annotations?.summary ?? a.annotations?.description ?? ''}
            <small>
              {Object.entries(a.labels).filter(([k]) => k !== 'alertname').map(([k, v]) => `${k}=${v}`).join(' ')}
              {a.activeAt ? ` · ${t('alerts.since', { time: dateTime(a.activeAt).fromNow(true) })}` : ''}
            </small>
          </span>
        </li>
      ))}
    </ul>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  list: css({
    listStyle: 'none', margin: 0, padding: 0, height: '100%', overflow: 'auto',
    '& li': { display: 'flex', gap: theme.spacing(1), alignItems: 'flex-start', padding: theme.spacing(0.75, 0), borderBottom: `1px solid ${theme.colors.border.weak}` },
    '& small': { display: 'block', color: theme.colors.text.secondary, overflowWrap: 'anywhere' },
  }),
});
