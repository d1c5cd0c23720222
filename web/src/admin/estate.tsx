/** Metrics workspaces, and the keys of programs. */
import { useState } from 'react';
import { Field, useSubmit } from '../people/frame';
import { Badge, Button, ClipboardButton, Modal } from '../ui';
import { useLoad } from '../ui/hooks';
import { Listed, Table, useDeed } from './admin';
import { createKey, createMetrics, createUser, deleteKey, deleteMetrics, fetchMetrics, fetchUsers, setKey, type AccessKey, type AccessUser, type Metrics } from './api';
import { useAdminTexts } from './messages';

/** NameDialog asks for one text. */
function NameDialog({ title, label, required = true, onClose, onName }: { title: string; label: string; required?: boolean; onClose: () => void; onName: (name: string) => Promise<void> }) {
  const a = useAdminTexts();
  const [name, setName] = useState('');
  const form = useSubmit(async () => {
    await onName(name);
    onClose();
  });
  return (
    <Modal title={title} isOpen onDismiss={onClose}>
      <form onSubmit={form.submit}>
        {form.note}
        <Field label={label} value={name} onChange={setName} required={required} autoComplete="off" autoFocus />
        <Button type="submit" disabled={form.busy}>
          {a('create')}
        </Button>{' '}
        <Button type="button" variant="secondary" onClick={onClose}>
          {a('cancel')}
        </Button>
      </form>
    </Modal>
  );
}

/** SureDialog asks before something goes for good; with `word`, it has to be typed. */
export function SureDialog({ text, word = '', onClose, onSure }: { text: string; word?: string; onClose: () => void; onSure: () => void }) {
  const a = useAdminTexts();
  const [typed, setTyped] = useState('');
  return (
    <Modal title={a('delete')} isOpen onDismiss={onClose}>
      <p>{text}</p>
      {word !== '' && <Field label={word} value={typed} onChange={setTyped} autoComplete="off" autoFocus />}
      <Button
        variant="destructive"
        disabled={typed !== word}
        onClick={() => {
          onClose();
          onSure();
        }}
      >
        {a('delete')}
      </Button>{' '}
      <Button variant="secondary" onClick={onClose}>
        {a('cancel')}
      </Button>
    </Modal>
  );
}

export function MetricsTab() {
  const a = useAdminTexts();
  const list = useLoad('metrics', fetchMetrics);
  const [making, setMaking] = useState(false);
  const [going, setGoing] = useState<Metrics | null>(null);
  const { act, note } = useDeed();
  return (
    <>
      {note}
      <Button icon="plus" onClick={() => setMaking(true)}>
        {a('newWorkspace')}
      </Button>
      <Listed list={list}>
        {(all: Metrics[]) => (
          <Table heads={[a('alias'), a('status'), a('remoteWrite'), a('query'), a('created'), '']}>
            {all.map((w) => (
              <tr key={w.id}>
                <td>
                  {w.alias} <small>{w.id}</small>
                </td>
                <td>
                  <Badge color={w.status === 'ACTIVE' ? 'green' : 'blue'} text={w.status} />
                </td>
                <td>{w.remoteWriteUrl}</td>
                <td>{w.queryUrl}</td>
                <td>{new Date(w.created).toLocaleString()}</td>
                <td>
                  <Button size="sm" variant="destructive" fill="outline" onClick={() => setGoing(w)}>
                    {a('delete')}
                  </Button>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Listed>
      {making && (
        <NameDialog title={a('newWorkspace')} label={a('alias')} required={false} onClose={() => setMaking(false)} onName={async (alias) => { await createMetrics(alias); list.reload(); }} />
      )}
      {going && (
        <SureDialog text={a('deleteWorkspace', { name: going.alias || going.id })} word={going.id} onClose={() => setGoing(null)} onSure={() => act(async () => { await deleteMetrics(going.id); list.reload(); })} />
      )}
    </>
  );
}

export function UsersTab() {
  const a = useAdminTexts();
  const list = useLoad('users', fetchUsers);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const [going, setGoing] = useState<{ user: string; id: string } | null>(null);
  const { act, note } = useDeed();
  return (
    <>
      <p>{a('usersHint')}</p>
      {note}
      <Button icon="plus" onClick={() => setMaking(true)}>
        {a('newUser')}
      </Button>
      <Listed list={list}>
        {(all: AccessUser[]) => (
          <Table heads={[a('name'), a('policiesOf'), a('keys'), '']}>
            {all.map((u) => (
              <tr key={u.arn}>
                <td title={u.arn}>{u.name}</td>
                <td>{u.policies.map((p) => p.slice(p.lastIndexOf('/') + 1)).join(', ')}</td>
                <td>
                  {u.keys.map((k) => (
                    <KeyLine
                      key={k.id}
                      item={k}
                      onSet={() => act(async () => { await setKey(u.name, k.id, !k.active); list.reload(); })}
                      onDelete={() => setGoing({ user: u.name, id: k.id })}
                    />
                  ))}
                </td>
                <td>
                  <Button size="sm" variant="secondary" onClick={() => act(async () => { setMade(await createKey(u.name)); list.reload(); })}>
                    {a('newKey')}
                  </Button>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Listed>
      {making && <NameDialog title={a('newUser')} label={a('name')} onClose={() => setMaking(false)} onName={async (name) => { await createUser(name); list.reload(); }} />}
      {made && <SecretDialog made={made} onKept={() => setMade(null)} />}
      {going && (
        <SureDialog text={a('deleteKey', { name: going.id })} onClose={() => setGoing(null)} onSure={() => act(async () => { await deleteKey(going.user, going.id); list.reload(); })} />
      )}
    </>
  );
}

function KeyLine({ item, onSet, onDelete }: { item: AccessKey; onSet: () => void; onDelete: () => void }) {
  const a = useAdminTexts();
  const used = new Date(item.lastUsed);
  return (
    <div>
      <code>{item.id}</code> <Badge color={item.active ? 'green' : 'orange'} text={a(item.active ? 'active' : 'inactive')} />{' '}
      <small>{used.getFullYear() > 1971 ? a('lastUsed', { when: used.toLocaleString() }) : a('never')}</small>{' '}
      <Button size="sm" variant="secondary" fill="outline" onClick={onSet}>
        {a(item.active ? 'deactivate' : 'activate')}
      </Button>{' '}
      <Button size="sm" variant="destructive" fill="outline" onClick={onDelete}>
        {a('delete')}
      </Button>
    </div>
  );
}

function SecretDialog({ made, onKept }: { made: { id: string; secret: string }; onKept: () => void }) {
  const a = useAdminTexts();
  const text = `${a('accessKeyId')}: ${made.id}\n${a('secretKey')}: ${made.secret}`;
  return (
    <Modal title={a('newKey')} isOpen onDismiss={onKept}>
      <p>{a('secret')}</p>
      <pre>{text}</pre>
      <ClipboardButton icon="copy" variant="secondary" getText={() => `${made.id} ${made.secret}`}>
        {a('copy')}
      </ClipboardButton>{' '}
      <Button onClick={onKept}>{a('done')}</Button>
    </Modal>
  );
}
