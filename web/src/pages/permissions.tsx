/** Who may view, edit and administer a folder or a board, with what comes from the folders above. */
import { useState } from 'react';
import { useParams } from 'react-router';
import { fetchBoardModel, fetchPermissions, fetchTeams, fetchUsers, setPermission, type Level, type Permission, type Resource, type Subject } from '../data/folders_api';
import { Alert, Badge, Button, EmptyState, Icon, IconButton, Select, useStyles2 } from '../ui';
import { useLoad } from '../ui/hooks';
import { getStyles, sentence, Shown } from './folder_parts';
import { useFolderTexts, type FolderTexts } from './folder_texts';
import { Shell } from './shell';

const LEVELS: Level[] = ['View', 'Edit', 'Admin'];

function nameOf(p: Permission, text: FolderTexts): string {
  if (p.builtInRole) {
    return roleName(p.builtInRole, text);
  }
  if (p.teamId) {
    return text('team', { name: p.team ?? p.teamId });
  }
  return text(p.isServiceAccount ? 'account' : 'user', { name: p.userLogin ?? p.userId ?? '' });
}

function roleName(role: string, text: FolderTexts): string {
  return text(role === 'Editor' ? 'everyEditor' : role === 'Viewer' ? 'everyViewer' : 'everyAdmin');
}

function subjectOf(p: Permission): Subject {
  if (p.builtInRole) {
    return { kind: 'builtInRoles', id: p.builtInRole };
  }
  return p.teamId ? { kind: 'teams', id: String(p.teamId) } : { kind: 'users', id: String(p.userId) };
}

export function PermissionList({ resource, uid, mayChange }: { resource: Resource; uid: string; mayChange: boolean }) {
  const text = useFolderTexts();
  if (!mayChange) {
    return <EmptyState variant="not-found" hideImage message={text('notAdmin')} />;
  }
  return <Editable resource={resource} uid={uid} />;
}

function Editable({ resource, uid }: { resource: Resource; uid: string }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const loaded = useLoad(`permissions-${resource}-${uid}`, (signal) => fetchPermissions(resource, uid, signal));
  const [problem, setProblem] = useState('');
  const change = (who: Subject, level: Level | '') => setPermission(resource, uid, who, level).then(() => (setProblem(''), loaded.reload()), (err: unknown) => setProblem(sentence(err)));
  return (
    <>
      <p className={styles.note}>{text('adminsAlways')}</p>
      {problem !== '' && <Alert severity="error" title={problem} onRemove={() => setProblem('')} />}
      <Shown loaded={loaded}>
        {(list) => (
          <>
            {list.length === 0 && <p>{text('noPermissions')}</p>}
            {list.length > 0 && (
              <ul className={styles.list} aria-label={text('permissions')}>
                {list.map((p) => (
                  <Row key={`${subjectOf(p).kind}-${subjectOf(p).id}-${p.isInherited}`} permission={p} onChange={(level) => void change(subjectOf(p), level)} />
                ))}
              </ul>
            )}
            <Add taken={list.filter((p) => !p.isInherited)} onAdd={(who, level) => void change(who, level)} />
          </>
        )}
      </Shown>
    </>
  );
}

function Row({ permission, onChange }: { permission: Permission; onChange: (level: Level | '') => void }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const name = nameOf(permission, text);
  return (
    <li>
      <Icon name={permission.teamId ? 'users-alt' : permission.builtInRole ? 'key-skeleton-alt' : 'user'} />
      <span className={styles.grow}>{name}</span>
      {permission.isInherited ? (
        <>
          <small>{text('fromAbove')}</small>
          <Badge color="blue" text={`${text(permission.permission)} · ${text('inherited')}`} />
        </>
      ) : (
        <>
          <LevelSelect label={text('changeFor', { name })} value={permission.permission} onChange={onChange} />
          <IconButton name="trash-alt" aria-label={text('remove', { name })} tooltip={text('remove', { name })} onClick={() => onChange('')} />
        </>
      )}
    </li>
  );
}

function LevelSelect({ label, value, onChange }: { label: string; value: Level; onChange: (level: Level) => void }) {
  const text = useFolderTexts();
  return <Select aria-label={label} width={18} value={value} options={LEVELS.map((l) => ({ value: l, label: text(l) }))} onChange={(v) => v.value && onChange(v.value)} />;
}

function Add({ taken, onAdd }: { taken: Permission[]; onAdd: (who: Subject, level: Level) => void }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [who, setWho] = useState<string | null>(null);
  const [level, setLevel] = useState<Level>('View');
  const users = useLoad('permission-users', fetchUsers);
  const teams = useLoad('permission-teams', fetchTeams);
  const has = new Set(taken.map((p) => `${subjectOf(p).kind} ${subjectOf(p).id}`));
  const options = [
    ...['Viewer', 'Editor'].map((r) => ({ value: `builtInRoles ${r}`, label: roleName(r, text) })),
    ...(teams.value ?? []).map((g) => ({ value: `teams ${g.id}`, label: text('team', { name: g.name }) })),
    ...(users.value ?? []).map((u) => ({ value: `users ${u.userId}`, label: u.login })),
  ].filter((o) => !has.has(o.value));
  const add = () => {
    const [kind = '', id = ''] = (who ?? '').split(' ');
    setWho(null);
    onAdd({ kind: kind as Subject['kind'], id }, level);
  };
  return (
    <div className={styles.form}>
      <Select aria-label={text('choose')} width={36} placeholder={text('choose')} value={who} options={options} isLoading={users.loading || teams.loading} onChange={(v) => setWho(v.value ?? null)} />
      <LevelSelect label={text('level')} value={level} onChange={setLevel} />
      <Button icon="plus" disabled={who === null} onClick={add}>
        {text('addPermission')}
      </Button>
    </div>
  );
}

/** The page of a board's permissions. */
export default function BoardPermissionsPage() {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const { uid = '' } = useParams();
  const loaded = useLoad(`board-meta-${uid}`, (signal) => fetchBoardModel(uid, signal));
  const title = loaded.value?.title ?? uid;
  return (
    <Shell crumbs={[{ text: text('boards'), to: '/dashboards' }, { text: title, to: `/d/${uid}` }, { text: text('permissions') }]}>
      <div className={styles.page}>
        <Shown loaded={loaded}>
          {(b) => (
            <>
              <h1>{text('permissionsOf', { title: b.title })}</h1>
              <PermissionList resource="dashboards" uid={uid} mayChange={b.canAdmin} />
            </>
          )}
        </Shown>
      </div>
    </Shell>
  );
}
