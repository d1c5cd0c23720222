/** One dashboard workspace, for administrators of the installation: where it is, and who is what in it. */
import { useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import { Shell } from '../pages/shell';
import { Alert, Badge, Button, FilterInput, LoadingPlaceholder, Modal, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import {
  deleteWorkspace, fetchGroups, fetchMe, fetchPeople, fetchWorkspace, grantRole, revokeRole, type Assignment, type DashboardWorkspace, type Subject, type WorkspaceRole,
} from './api';
import { useSubmit } from './frame';
import { useTexts } from './messages';
import { getStyles } from './workspaces';

const ROLES: WorkspaceRole[] = ['VIEWER', 'EDITOR', 'ADMIN'];

export default function WorkspacePage() {
  const { id = '' } = useParams();
  const { t, problem } = useTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  const load = useLoad(id, async () => {
    await fetchMe();
    return fetchWorkspace(id);
  });
  const w = load.value;
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('workspaces'), to: '/workspaces' }, { text: w?.name || id }]}>
      <div className={styles.page}>
        {load.error && <Alert severity="error" title={problem(load.error)} buttonContent={home('common.retry')} onRemove={load.reload} />}
        {w === null && !load.error && <LoadingPlaceholder text={t('working')} />}
        {w && (
          <>
            <Facts w={w} />
            <Assigned w={w} onChanged={load.reload} />
            {!w.default && <Danger w={w} />}
          </>
        )}
      </div>
    </Shell>
  );
}

function Facts({ w }: { w: DashboardWorkspace }) {
  const { t } = useTexts();
  const styles = useStyles2(getStyles);
  return (
    <dl className={styles.facts}>
      <dt>{t('url')}</dt>
      <dd>
        <a href={w.default ? '/' : `/w/${w.id}/`}>{w.url}</a>
      </dd>
      <dt>ID</dt>
      <dd>{w.id}</dd>
      <dt>{t('status')}</dt>
      <dd>
        <Badge color={w.status === 'ACTIVE' ? 'green' : 'orange'} text={w.status} />
      </dd>
      <dt>{t('authentication')}</dt>
      <dd>{w.providers.map((p) => (p === 'AWS_SSO' ? t('center') : p)).join(', ')}</dd>
      <dt>{t('version')}</dt>
      <dd>{w.grafanaVersion}</dd>
      {w.description !== '' && (
        <>
          <dt>{t('description')}</dt>
          <dd>{w.description}</dd>
        </>
      )}
    </dl>
  );
}

function Assigned({ w, onChanged }: { w: DashboardWorkspace; onChanged: () => void }) {
  const { t } = useTexts();
  const styles = useStyles2(getStyles);
  const [assigning, setAssigning] = useState(false);
  const list = w.permissions ?? [];
  return (
    <>
      <div className={styles.tools}>
        <h2>{t('assigned')}</h2>
        <Button icon="plus" onClick={() => setAssigning(true)}>
          {t('assign')}
        </Button>
      </div>
      {w.baseRole === 'VIEWER' && <p>{t('everybody')}</p>}
      {list.length === 0 && <p>{t('nobodyAssigned')}</p>}
      {list.length > 0 && (
        <table className={styles.table} aria-label={t('assigned')}>
          <tbody>
            {list.map((a) => (
              <Row key={`${a.type}/${a.id}`} w={w} a={a} onChanged={onChanged} />
            ))}
          </tbody>
        </table>
      )}
      {assigning && (
        <AssignDialog
          w={w}
          onClose={() => setAssigning(false)}
          onDone={() => {
            setAssigning(false);
            onChanged();
          }}
        />
      )}
    </>
  );
}

function Row({ w, a, onChanged }: { w: DashboardWorkspace; a: Assignment; onChanged: () => void }) {
  const { t, problem } = useTexts();
  const [failure, setFailure] = useState('');
  const act = (work: Promise<unknown>) => void work.then(onChanged, (err: unknown) => setFailure(problem(err)));
  const who: Subject[] = [{ id: a.id, type: a.type }];
  return (
    <tr>
      <td>
        {a.name || `${a.id} (${t('gone')})`} {a.login && <small>{a.login}</small>} {a.type === 'SSO_GROUP' && <Badge color="blue" text={t('groups')} />}
        {failure !== '' && <Alert severity="error" title={failure} />}
      </td>
      <td>
        <Badge color="purple" text={t(a.role)} />
      </td>
      <td>
        {ROLES.filter((r) => r !== a.role && a.name !== '').map((r) => (
          <Button key={r} size="sm" variant="secondary" onClick={() => act(grantRole(w.id, r, who))}>
            {t('makeRole', { role: t(r) })}
          </Button>
        ))}{' '}
        <Button size="sm" variant="destructive" fill="outline" onClick={() => act(revokeRole(w.id, a.role, who))}>
          {t('unassign')}
        </Button>
      </td>
    </tr>
  );
}

function AssignDialog({ w, onClose, onDone }: { w: DashboardWorkspace; onClose: () => void; onDone: () => void }) {
  const { t, problem } = useTexts();
  const styles = useStyles2(getStyles);
  const [search, setSearch] = useState('');
  const [chosen, setChosen] = useState<Subject[]>([]);
  const people = useLoad(`people|${search}`, () => fetchPeople(search, ''));
  const groups = useLoad('groups', fetchGroups);
  const form = useSubmit(async () => {
    await grantRole(w.id, 'VIEWER', chosen);
    onDone();
  });
  const taken = (s: Subject) => (w.permissions ?? []).some((p) => p.id === s.id && p.type === s.type);
  const toggle = (s: Subject, on: boolean) => setChosen((list) => (on ? [...list, s] : list.filter((x) => x.id !== s.id || x.type !== s.type)));
  const box = (s: Subject, text: string) =>
    !taken(s) && (
      <label key={s.id}>
        <input type="checkbox" checked={chosen.some((x) => x.id === s.id && x.type === s.type)} onChange={(e) => toggle(s, e.currentTarget.checked)} /> {text}
      </label>
    );
  const error = people.error ?? groups.error;
  return (
    <Modal title={t('assign')} isOpen onDismiss={onClose}>
      <form onSubmit={form.submit}>
        {form.note}
        {error && <Alert severity="error" title={problem(error)} />}
        <FilterInput value={search} onChange={setSearch} placeholder={t('search')} aria-label={t('search')} />
        <div className={styles.list}>
          <fieldset>
            <legend>{t('users')}</legend>
            {people.value?.users.map((p) => box({ id: p.id, type: 'SSO_USER' }, `${p.displayName} (${p.login})`))}
          </fieldset>
          <fieldset>
            <legend>{t('groups')}</legend>
            {groups.value?.groups.map((g) => box({ id: g.id, type: 'SSO_GROUP' }, g.name))}
          </fieldset>
        </div>
        <Button type="submit" disabled={form.busy || chosen.length === 0}>
          {t('assignSelected')}
        </Button>{' '}
        <Button type="button" variant="secondary" onClick={onClose}>
          {t('cancel')}
        </Button>
      </form>
    </Modal>
  );
}

function Danger({ w }: { w: DashboardWorkspace }) {
  const { t } = useTexts();
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  const form = useSubmit(async () => {
    await deleteWorkspace(w.id);
    void navigate('/workspaces');
  });
  return (
    <p>
      <Button variant="destructive" fill="outline" onClick={() => setAsking(true)}>
        {t('deleteWorkspace')}
      </Button>
      {asking && (
        <Modal title={t('deleteWorkspace')} isOpen onDismiss={() => setAsking(false)}>
          {form.note}
          <p>{t('deleteSure', { name: w.name || w.id })}</p>
          <Button variant="destructive" disabled={form.busy} onClick={() => form.submit()}>
            {t('deleteWorkspace')}
          </Button>{' '}
          <Button variant="secondary" onClick={() => setAsking(false)}>
            {t('cancel')}
          </Button>
        </Modal>
      )}
    </p>
  );
}
