/** Dashboard workspaces: one's own, and, for administrators, all of them. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState } from 'react';
import { Link, useNavigate } from 'react-router';
import { Shell } from '../pages/shell';
import { Alert, Badge, Button, EmptyState, LoadingPlaceholder, Modal, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { createWorkspace, fetchMe, fetchMyWorkspaces, fetchWorkspaces, type DashboardWorkspace } from './api';
import { Field, useSubmit } from './frame';
import { useTexts } from './messages';

export default function WorkspacesPage() {
  const { t, problem } = useTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  const [creating, setCreating] = useState(false);
  const load = useLoad('workspaces', async () => {
    const me = await fetchMe();
    return { me, mine: await fetchMyWorkspaces(), all: me.administrator ? (await fetchWorkspaces()).workspaces : [] };
  });
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('workspaces') }]}>
      <div className={styles.page}>
        {load.error && <Alert severity="error" title={problem(load.error)} buttonContent={home('common.retry')} onRemove={load.reload} />}
        {load.value === null && !load.error && <LoadingPlaceholder text={t('working')} />}
        {load.value && (
          <>
            <h2>{t('mine')}</h2>
            {load.value.mine.length === 0 ? <EmptyState variant="call-to-action" hideImage message={t('noneMine')} /> : <Mine list={load.value.mine} />}
            {load.value.me.administrator && (
              <>
                <div className={styles.tools}>
                  <h2>{t('allWorkspaces')}</h2>
                  <Button icon="plus" onClick={() => setCreating(true)}>
                    {t('createWorkspace')}
                  </Button>
                </div>
                <All list={load.value.all} />
              </>
            )}
          </>
        )}
        {creating && <CreateDialog onClose={() => setCreating(false)} />}
      </div>
    </Shell>
  );
}

function Mine({ list }: { list: DashboardWorkspace[] }) {
  const { t } = useTexts();
  const styles = useStyles2(getStyles);
  return (
    <table className={styles.table} aria-label={t('mine')}>
      <thead>
        <tr>
          <th>{t('workspaceName')}</th>
          <th>{t('role')}</th>
        </tr>
      </thead>
      <tbody>
        {list.map((w) => (
          <tr key={w.id}>
            <td>
              <a href={w.default ? '/' : `/w/${w.id}/`}>{w.name || w.id}</a>
            </td>
            <td>{w.role}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function All({ list }: { list: DashboardWorkspace[] }) {
  const { t } = useTexts();
  const styles = useStyles2(getStyles);
  return (
    <table className={styles.table} aria-label={t('allWorkspaces')}>
      <thead>
        <tr>
          <th>{t('workspaceName')}</th>
          <th>ID</th>
          <th>{t('authentication')}</th>
          <th>{t('status')}</th>
        </tr>
      </thead>
      <tbody>
        {list.map((w) => (
          <tr key={w.id}>
            <td>
              <Link to={`/workspaces/${w.id}`}>{w.name || w.id}</Link> {w.default && <Badge color="blue" text={t('defaultWorkspace')} />}
            </td>
            <td>{w.id}</td>
            <td>{w.providers.map((p) => (p === 'AWS_SSO' ? t('center') : p)).join(', ')}</td>
            <td>
              <Badge color={w.status === 'ACTIVE' ? 'green' : 'orange'} text={w.status} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function CreateDialog({ onClose }: { onClose: () => void }) {
  const { t } = useTexts();
  const navigate = useNavigate();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [sso, setSSO] = useState(true);
  const [amp, setAMP] = useState(true);
  const form = useSubmit(async () => {
    const w = await createWorkspace({ name, description, providers: sso ? ['AWS_SSO'] : [], dataSources: amp ? ['PROMETHEUS'] : [] });
    void navigate(`/workspaces/${w.id}`);
  });
  return (
    <Modal title={t('createWorkspace')} isOpen onDismiss={onClose}>
      <form onSubmit={form.submit}>
        {form.note}
        <Field label={t('workspaceName')} hint={t('workspaceNameHint')} value={name} onChange={setName} autoFocus />
        <Field label={t('description')} value={description} onChange={setDescription} required={false} />
        <fieldset>
          <legend>{t('authentication')}</legend>
          <label>
            <input type="checkbox" checked={sso} onChange={(e) => setSSO(e.currentTarget.checked)} /> {t('center')}
          </label>
        </fieldset>
        <fieldset>
          <legend>{t('dataSourcesOf')}</legend>
          <label>
            <input type="checkbox" checked={amp} onChange={(e) => setAMP(e.currentTarget.checked)} /> {t('amp')}
          </label>
        </fieldset>
        <Button type="submit" disabled={form.busy}>
          {t('createWorkspace')}
        </Button>{' '}
        <Button type="button" variant="secondary" onClick={onClose}>
          {t('cancel')}
        </Button>
      </form>
    </Modal>
  );
}

export const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(2), maxWidth: 1100, '& h2': { fontSize: theme.typography.h4.fontSize, margin: theme.spacing(2, 0, 1) } }),
  tools: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', justifyContent: 'space-between', gap: theme.spacing(1) }),
  table: css({
    width: '100%', '& th, & td': { textAlign: 'left', padding: theme.spacing(1), borderBottom: `1px solid ${theme.colors.border.weak}` }, '& a': { color: theme.colors.text.link },
  }),
  facts: css({
    display: 'grid', gridTemplateColumns: 'max-content 1fr', gap: theme.spacing(0.5, 2), '& dt': { color: theme.colors.text.secondary }, '& dd': { margin: 0, overflowWrap: 'anywhere' },
    '& a': { color: theme.colors.text.link },
  }),
  list: css({ maxHeight: 320, overflow: 'auto', '& label': { display: 'block', padding: theme.spacing(0.5) } }),
});
