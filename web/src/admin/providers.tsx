/** Identity providers outside, by which people may sign in. */
import { useId, useState } from 'react';
import { Field } from '../people/frame';
import { Badge, Button, Modal } from '../ui';
import { useLoad } from '../ui/hooks';
import { Listed, Table, useDeed } from './admin';
import { deleteProvider, fetchProviders, putProvider, type Provider } from './api';
import { SureDialog } from './estate';
import { useAdminTexts } from './messages';

const fresh: Provider = { id: '', kind: 'oidc', name: '', enabled: true, hasSecret: false, callbackUrl: '', settings: { claims: {}, createAccounts: true, linkByEmail: false } };

export function ProvidersTab() {
  const a = useAdminTexts();
  const list = useLoad('providers', fetchProviders);
  const [editing, setEditing] = useState<Provider | null>(null);
  const [going, setGoing] = useState<Provider | null>(null);
  const { act, note } = useDeed();
  return (
    <>
      <p>{a('providersHint')}</p>
      {note}
      <Button icon="plus" onClick={() => setEditing(fresh)}>
        {a('newProvider')}
      </Button>
      <Listed list={list}>
        {(all: Provider[]) => (
          <Table heads={[a('name'), a('kind'), a('enabled'), a('callback'), '']}>
            {all.map((p) => (
              <tr key={p.id}>
                <td>{p.name}</td>
                <td>{p.kind === 'oidc' ? 'OpenID Connect' : 'SAML 2.0'}</td>
                <td>
                  <Badge color={p.enabled ? 'green' : 'orange'} text={a(p.enabled ? 'yes' : 'no')} />
                </td>
                <td>
                  {p.callbackUrl} {p.metadataUrl && <a href={p.metadataUrl}>{a('spMetadata')}</a>}
                </td>
                <td>
                  <Button size="sm" variant="secondary" onClick={() => setEditing(p)}>
                    {a('show')}
                  </Button>{' '}
                  <Button size="sm" variant="destructive" fill="outline" onClick={() => setGoing(p)}>
                    {a('delete')}
                  </Button>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Listed>
      {editing && (
        <ProviderDialog
          provider={editing}
          onClose={() => setEditing(null)}
          onSave={(p, secret) => act(async () => { await putProvider({ ...p, secret }); setEditing(null); list.reload(); })}
        />
      )}
      {going && (
        <SureDialog text={a('deleteProvider', { name: going.name })} onClose={() => setGoing(null)} onSure={() => act(async () => { await deleteProvider(going.id); list.reload(); })} />
      )}
    </>
  );
}

const linesOf = (groups: Record<string, string> = {}) => Object.entries(groups).map(([theirs, ours]) => `${theirs} = ${ours}`).join('\n');
const groupsOf = (lines: string) =>
  Object.fromEntries(lines.split('\n').filter((l) => l.includes('=')).map((l) => [l.slice(0, l.lastIndexOf('=')).trim(), l.slice(l.lastIndexOf('=') + 1).trim()]));

function ProviderDialog({ provider, onClose, onSave }: { provider: Provider; onClose: () => void; onSave: (p: Provider, secret: string) => void }) {
  const a = useAdminTexts();
  const area = useId();
  const [p, setP] = useState(provider);
  const [secret, setSecret] = useState('');
  const [groups, setGroups] = useState(linesOf(provider.settings.groups));
  const set = (s: Partial<Provider['settings']>) => setP({ ...p, settings: { ...p.settings, ...s } });
  const s = p.settings;
  return (
    <Modal title={provider.id === '' ? a('newProvider') : provider.name} isOpen onDismiss={onClose}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          onSave({ ...p, settings: { ...s, groups: groupsOf(groups) } }, secret);
        }}
      >
        {provider.id === '' && (
          <>
            <p>
              {(['oidc', 'saml'] as const).map((kind) => (
                <label key={kind}>
                  <input type="radio" name={area} checked={p.kind === kind} onChange={() => setP({ ...p, kind })} /> {kind === 'oidc' ? 'OpenID Connect' : 'SAML 2.0'}{' '}
                </label>
              ))}
            </p>
            <Field label={a('id')} value={p.id} onChange={(id) => setP({ ...p, id })} autoComplete="off" autoFocus />
          </>
        )}
        <Field label={a('name')} value={p.name} onChange={(name) => setP({ ...p, name })} autoComplete="off" />
        {p.kind === 'oidc' ? (
          <>
            <Field label={a('issuerUrl')} value={s.issuer ?? ''} onChange={(issuer) => set({ issuer })} type="url" />
            <Field label={a('clientId')} value={s.clientId ?? ''} onChange={(clientId) => set({ clientId })} autoComplete="off" />
            <Field label={a('clientSecret')} value={secret} onChange={setSecret} type="password" required={false} hint={p.hasSecret ? a('secretKept') : undefined} autoComplete="off" />
          </>
        ) : (
          <>
            <Field label={a('metadataUrl')} value={s.metadataUrl ?? ''} onChange={(metadataUrl) => set({ metadataUrl })} type="url" required={false} />
            <p>
              <label htmlFor={`${area}-xml`}>{a('metadataXml')}</label>
              <textarea id={`${area}-xml`} rows={4} style={{ width: '100%' }} value={s.metadata ?? ''} onChange={(e) => set({ metadata: e.currentTarget.value })} />
            </p>
          </>
        )}
        <Field label={a('groupsClaim')} value={s.claims.groups ?? ''} onChange={(g) => set({ claims: { ...s.claims, groups: g } })} required={false} autoComplete="off" />
        <p>
          <label htmlFor={area}>{a('groupMap')}</label>
          <textarea id={area} rows={3} style={{ width: '100%' }} value={groups} onChange={(e) => setGroups(e.currentTarget.value)} />
        </p>
        {([['enabled', p.enabled, (v: boolean) => setP({ ...p, enabled: v })], ['makeAccounts', s.createAccounts, (v: boolean) => set({ createAccounts: v })], ['linkEmail', s.linkByEmail, (v: boolean) => set({ linkByEmail: v })]] as const).map(
          ([key, on, change]) => (
            <p key={key}>
              <label>
                <input type="checkbox" checked={on} onChange={(e) => change(e.currentTarget.checked)} /> {a(key)}
              </label>
            </p>
          )
        )}
        <Button type="submit">{a('save')}</Button>{' '}
        <Button type="button" variant="secondary" onClick={onClose}>
          {a('cancel')}
        </Button>
      </form>
    </Modal>
  );
}
