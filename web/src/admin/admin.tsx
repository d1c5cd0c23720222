/** Administration of the installation: what there is besides people and boards. One page, a tab for each kind of record. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState, type ReactNode } from 'react';
import { NavLink, useParams } from 'react-router';
import { Shell } from '../pages/shell';
import { fetchMe } from '../people/api';
import { useTexts } from '../people/messages';
import { useStepUp } from '../people/stepup';
import { Alert, Badge, Button, FilterInput, LoadingPlaceholder, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { fetchAudit, fetchClusters, fetchPolicies, fetchPolicy, fetchRoles, type Policy, type Role } from './api';
import { MetricsTab, UsersTab } from './estate';
import { useAdminTexts, type Key } from './messages';
import { ProvidersTab } from './providers';

const TABS: { key: Key & string; page: () => ReactNode }[] = [
  { key: 'metrics', page: () => <MetricsTab /> },
  { key: 'users', page: () => <UsersTab /> },
  { key: 'roles', page: () => <RolesTab /> },
  { key: 'policies', page: () => <PoliciesTab /> },
  { key: 'clusters', page: () => <ClustersTab /> },
  { key: 'providers', page: () => <ProvidersTab /> },
  { key: 'audit', page: () => <AuditTab /> },
];

export default function AdminPage() {
  const a = useAdminTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  const { problem } = useTexts();
  const { section = 'metrics' } = useParams();
  const tab = TABS.find((t) => t.key === section) ?? TABS[0];
  // The first call brings the anti-forgery token where this page is opened first.
  const me = useLoad('me', fetchMe);
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: a('title'), to: '/admin' }, { text: a(tab?.key ?? 'title') }]}>
      <div className={styles.page}>
        <nav className={styles.tabs} aria-label={a('title')}>
          {TABS.map((t) => (
            <NavLink key={t.key} to={`/admin/${t.key}`} className={tab === t ? styles.active : ''} aria-current={tab === t ? 'page' : undefined}>
              {a(t.key)}
            </NavLink>
          ))}
        </nav>
        {me.error && <Alert severity="error" title={problem(me.error)} buttonContent={home('common.retry')} onRemove={me.reload} />}
        {me.value && tab?.page()}
      </div>
    </Shell>
  );
}

/** Listed shows the states of a list: on its way, failed, empty, there. */
export function Listed<V>({ list, children }: { list: { value: V[] | null; error: Error | null; reload: () => void }; children: (all: V[]) => ReactNode }) {
  const a = useAdminTexts();
  const home = useT();
  const { problem } = useTexts();
  if (list.error) {
    return <Alert severity="error" title={problem(list.error)} buttonContent={home('common.retry')} onRemove={list.reload} />;
  }
  if (list.value === null) {
    return <LoadingPlaceholder text={home('common.loading')} />;
  }
  return list.value.length === 0 ? <p>{a('none')}</p> : children(list.value);
}

/** Table has headings and rows; wide ones scroll by themselves. */
export function Table({ heads, children }: { heads: string[]; children: ReactNode }) {
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.scroll}>
      <table className={styles.table}>
        <thead>
          <tr>
            {heads.map((h, i) => (
              <th key={i}>{h}</th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** useDeed runs what changes something: asks for a proof where the server wants one, and keeps what went wrong. */
export function useDeed() {
  const { problem } = useTexts();
  const me = useLoad('deeds', fetchMe);
  const { guarded, dialog } = useStepUp(me.value);
  const [failure, setFailure] = useState('');
  const act = (work: () => Promise<void>) => {
    setFailure('');
    guarded(work).catch((err: unknown) => setFailure(problem(err)));
  };
  const note = (
    <>
      {dialog}
      {failure !== '' && <Alert severity="error" title={failure} />}
    </>
  );
  return { act, note };
}

/** pretty lays a JSON document out; what is none is shown as it is. */
function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const short = (arn: string) => arn.slice(arn.lastIndexOf('/') + 1);

function RolesTab() {
  const a = useAdminTexts();
  const list = useLoad('roles', fetchRoles);
  return (
    <>
      <p>{a('rolesHint')}</p>
      <Listed list={list}>
        {(all: Role[]) => (
          <Table heads={[a('name'), a('description'), a('policiesOf'), a('trust')]}>
            {all.map((r) => (
              <tr key={r.arn}>
                <td title={r.arn}>{r.name}</td>
                <td>{r.description}</td>
                <td>{r.policies.map(short).join(', ')}</td>
                <td>
                  <details>
                    <summary>{a('show')}</summary>
                    <pre>{pretty(r.trust)}</pre>
                  </details>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Listed>
    </>
  );
}

function PoliciesTab() {
  const a = useAdminTexts();
  const list = useLoad('policies', fetchPolicies);
  return (
    <Listed list={list}>
      {(all: Policy[]) => (
        <Table heads={[a('name'), '', a('description'), a('attachments'), a('document')]}>
          {all.map((p) => (
            <tr key={p.arn}>
              <td title={p.arn}>{p.name}</td>
              <td>
                <Badge color={p.own ? 'green' : 'blue'} text={a(p.own ? 'own' : 'ofAws')} />
              </td>
              <td>{p.description}</td>
              <td>{p.attachments}</td>
              <td>
                <PolicyText arn={p.arn} />
              </td>
            </tr>
          ))}
        </Table>
      )}
    </Listed>
  );
}

function PolicyText({ arn }: { arn: string }) {
  const a = useAdminTexts();
  const { problem } = useTexts();
  const [text, setText] = useState('');
  const show = () => void fetchPolicy(arn).then((p) => setText(pretty(p.document)), (err: unknown) => setText(problem(err)));
  return text === '' ? (
    <Button size="sm" variant="secondary" onClick={show}>
      {a('show')}
    </Button>
  ) : (
    <pre>{text}</pre>
  );
}

function ClustersTab() {
  const a = useAdminTexts();
  const list = useLoad('clusters', fetchClusters);
  return (
    <>
      <p>{a('clustersHint')}</p>
      <Listed list={list}>
        {(all) => (
          <Table heads={[a('name'), a('version'), a('endpoint'), a('issuer'), a('scrapable'), a('created')]}>
            {all.map((c) => (
              <tr key={c.name}>
                <td>{c.name}</td>
                <td>{c.version}</td>
                <td>{c.endpoint}</td>
                <td>{c.issuer}</td>
                <td>{a(c.scrapable ? 'yes' : 'no')}</td>
                <td>{new Date(c.created).toLocaleString()}</td>
              </tr>
            ))}
          </Table>
        )}
      </Listed>
    </>
  );
}

function AuditTab() {
  const a = useAdminTexts();
  const [search, setSearch] = useState('');
  const list = useLoad(`audit ${search}`, () => fetchAudit(search));
  return (
    <>
      <p>{a('auditHint')}</p>
      <FilterInput value={search} placeholder={a('search')} aria-label={a('search')} onChange={setSearch} />
      <Listed list={list}>
        {(all) => (
          <Table heads={[a('time'), a('who'), a('action'), a('resource'), a('decision')]}>
            {all.map((l, i) => (
              <tr key={i}>
                <td>{new Date(l.time).toLocaleString()}</td>
                <td>
                  {l.principal ?? l.access_key_id} {l.source_ip}
                </td>
                <td>{l.action}</td>
                <td>{l.resource}</td>
                <td title={l.reason}>
                  <Badge color={l.decision === 'allow' ? 'green' : 'red'} text={l.decision} /> {l.code}
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Listed>
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(2) }),
  tabs: css({
    display: 'flex', flexWrap: 'wrap', gap: theme.spacing(2), borderBottom: `1px solid ${theme.colors.border.weak}`, marginBottom: theme.spacing(2),
    '& a': { padding: theme.spacing(1, 0), color: theme.colors.text.secondary },
  }),
  active: css({ boxShadow: `inset 0 -2px 0 ${theme.colors.warning.main}`, '&&': { color: theme.colors.text.primary } }),
  scroll: css({ overflowX: 'auto', marginTop: theme.spacing(1) }),
  table: css({
    width: '100%', '& th, & td': { textAlign: 'left', padding: theme.spacing(1), borderBottom: `1px solid ${theme.colors.border.weak}`, verticalAlign: 'top', overflowWrap: 'anywhere' },
    '& td > button': { marginBottom: theme.spacing(0.5) }, '& pre': { margin: 0 }, '& td:first-child': { minWidth: 140 },
  }),
});
