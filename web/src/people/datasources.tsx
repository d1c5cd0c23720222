/** The data sources of a workspace, and the choice of a type for a new one. */
import { Link, useNavigate } from 'react-router';
import { Shell } from '../pages/shell';
import { Alert, Badge, Button, EmptyState, LoadingPlaceholder, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { addSource, fetchSources, fresh } from './sources_api';
import { useSubmit } from './frame';
import { useTexts, type Key } from './messages';
import { getStyles } from './workspaces';

export default function DataSourcesPage() {
  const { t, problem } = useTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const list = useLoad('sources', fetchSources);
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('sources') }]}>
      <div className={styles.page}>
        <div className={styles.tools}>
          <h2>{t('sources')}</h2>
          <Button icon="plus" onClick={() => void navigate('/datasources/new')}>
            {t('addSource')}
          </Button>
        </div>
        {list.error && <Alert severity="error" title={problem(list.error)} buttonContent={home('common.retry')} onRemove={list.reload} />}
        {list.value === null && !list.error && <LoadingPlaceholder text={t('working')} />}
        {list.value?.length === 0 && <EmptyState variant="call-to-action" hideImage message={t('noSources')} />}
        {list.value !== null && list.value.length > 0 && (
          <table className={styles.table} aria-label={t('sources')}>
            <tbody>
              {list.value.map((d) => (
                <tr key={d.uid}>
                  <td>
                    <Link to={`/datasources/edit/${encodeURIComponent(d.uid)}`}>{d.name}</Link> {d.isDefault && <Badge color="blue" text={t('sourceDefault')} />}
                  </td>
                  <td>{d.typeName}</td>
                  <td>{d.url}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
    </Shell>
  );
}

const TYPES: { type: string; text: Key }[] = [
  { type: 'prometheus', text: 'typePrometheus' },
  { type: 'grafana-amazonprometheus-datasource', text: 'typeAmp' },
  { type: 'alertmanager', text: 'typeAlertmanager' },
];

export function NewDataSourcePage() {
  const { t } = useTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('sources'), to: '/datasources' }, { text: t('addSource') }]}>
      <div className={styles.page}>
        <h2>{t('choose')}</h2>
        {TYPES.map((k) => (
          <Choice key={k.type} type={k.type} text={t(k.text)} />
        ))}
      </div>
    </Shell>
  );
}

function Choice({ type, text }: { type: string; text: string }) {
  const navigate = useNavigate();
  const form = useSubmit(async () => {
    const { datasource } = await addSource(fresh(type, (await fetchSources()).map((d) => d.name)));
    void navigate(`/datasources/edit/${encodeURIComponent(datasource.uid)}`);
  });
  return (
    <p>
      {form.note}
      <Button variant="secondary" icon="database" disabled={form.busy} onClick={() => form.submit()}>
        {text}
      </Button>
    </p>
  );
}
