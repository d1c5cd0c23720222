/** For administrators: people, invitations, one-time passwords. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useId, useState } from 'react';
import { Shell } from '../pages/shell';
import { Alert, Badge, Button, ClipboardButton, EmptyState, FilterInput, LoadingPlaceholder, Modal, RadioButtonGroup, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { addPerson, changePerson, deletePerson, fetchMe, fetchPeople, invite, oneTimePassword, sendVerification, type Person } from './api';
import { Field, useSubmit } from './frame';
import { useTexts } from './messages';

export default function PeoplePage() {
  const { t, problem } = useTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  const [search, setSearch] = useState('');
  const [adding, setAdding] = useState(false);
  const [after, setAfter] = useState<string[]>(['']);
  // The first call brings the anti-forgery token where this page is opened first.
  const list = useLoad(`${search}|${after.join('|')}`, async () => {
    await fetchMe();
    const pages = [];
    for (const a of after) {
      pages.push(await fetchPeople(search, a));
    }
    return { users: pages.flatMap((p) => p.users), next: pages[pages.length - 1]?.next ?? '' };
  });
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('people') }]}>
      <div className={styles.page}>
        <div className={styles.tools}>
          <FilterInput
            value={search}
            placeholder={t('search')}
            aria-label={t('search')}
            onChange={(v) => {
              setAfter(['']);
              setSearch(v);
            }}
          />
          <Button icon="plus" onClick={() => setAdding(true)}>
            {t('add')}
          </Button>
        </div>
        {list.error && <Alert severity="error" title={problem(list.error)} buttonContent={home('common.retry')} onRemove={list.reload} />}
        {list.value === null && !list.error && <LoadingPlaceholder text={t('working')} />}
        {list.value?.users.length === 0 && <EmptyState variant="not-found" hideImage message={t('none')} />}
        {list.value !== null && list.value.users.length > 0 && (
          <table className={styles.table}>
            <thead>
              <tr>
                <th>{t('login')}</th>
                <th>{t('display')}</th>
                <th>{t('email')}</th>
                <th>{t('status')}</th>
                <th />
              </tr>
            </thead>
            <tbody>
              {list.value.users.map((p) => (
                <Row key={p.id} person={p} onChanged={list.reload} />
              ))}
            </tbody>
          </table>
        )}
        {list.value !== null && list.value.next !== '' && (
          <Button variant="secondary" onClick={() => setAfter([...after, list.value?.next ?? ''])}>
            {t('more')}
          </Button>
        )}
        {adding && (
          <AddDialog
            onClose={() => setAdding(false)}
            onAdded={() => {
              setAdding(false);
              list.reload();
            }}
          />
        )}
      </div>
    </Shell>
  );
}

function Row({ person: p, onChanged }: { person: Person; onChanged: () => void }) {
  const { t, problem } = useTexts();
  const [shown, setShown] = useState<{ hint: string; text: string } | null>(null);
  const [note, setNote] = useState('');
  const [failure, setFailure] = useState('');
  const [deleting, setDeleting] = useState(false);
  const act = (work: () => Promise<void>) => {
    setNote('');
    setFailure('');
    work().catch((err: unknown) => setFailure(problem(err)));
  };
  const mail = (send: typeof invite) =>
    act(async () => {
      const sent = await send(p.id);
      setNote(sent.sent ? t('mailSent') : '');
      setShown(sent.link ? { hint: t('handOn'), text: sent.link } : null);
    });
  const change = (to: { disabled?: boolean; administrator?: boolean }) =>
    act(async () => {
      await changePerson(p.id, to);
      onChanged();
    });
  return (
    <>
      <tr>
        <td>{p.login}</td>
        <td>{p.displayName}</td>
        <td>
          {p.email} {p.email !== '' && <Badge color={p.emailVerified ? 'green' : 'orange'} text={t(p.emailVerified ? 'verifiedYes' : 'verifiedNo')} />}
        </td>
        <td>
          <Badge color={p.disabled ? 'red' : p.hasPassword ? 'green' : 'blue'} text={t(p.disabled ? 'disabled' : p.hasPassword ? 'active' : 'waiting')} />{' '}
          {p.administrator && <Badge color="purple" text={t('administrator')} />}
        </td>
        <td>
          {p.email !== '' && !p.disabled && (
            <>
              <Button size="sm" variant="secondary" onClick={() => mail(invite)}>
                {t('invite')}
              </Button>{' '}
              {!p.emailVerified && (
                <Button size="sm" variant="secondary" onClick={() => mail(sendVerification)}>
                  {t('sendVerification')}
                </Button>
              )}{' '}
            </>
          )}
          <Button
            size="sm"
            variant="secondary"
            onClick={() => act(async () => setShown({ hint: t('otpHand'), text: (await oneTimePassword(p.id)).password }))}
          >
            {t('otp')}
          </Button>{' '}
          <Button size="sm" variant="secondary" onClick={() => change({ administrator: !p.administrator })}>
            {t(p.administrator ? 'dropAdmin' : 'makeAdmin')}
          </Button>{' '}
          <Button size="sm" variant={p.disabled ? 'secondary' : 'destructive'} fill="outline" onClick={() => change({ disabled: !p.disabled })}>
            {t(p.disabled ? 'enable' : 'disable')}
          </Button>{' '}
          <Button size="sm" variant="destructive" fill="outline" onClick={() => setDeleting(true)}>
            {t('deletePerson')}
          </Button>
          {deleting && <DeleteDialog person={p} onClose={() => setDeleting(false)} onDeleted={onChanged} />}
        </td>
      </tr>
      <Outcome note={note} failure={failure} shown={shown} />
    </>
  );
}

/** DeleteDialog asks before somebody goes, and who gets what was theirs. */
function DeleteDialog({ person, onClose, onDeleted }: { person: Person; onClose: () => void; onDeleted: () => void }) {
  const { t } = useTexts();
  const id = useId();
  const [heir, setHeir] = useState('');
  const others = useLoad('heirs', async () => (await fetchPeople('', '')).users.filter((p) => p.id !== person.id && !p.disabled));
  const form = useSubmit(async () => {
    await deletePerson(person.id, heir);
    onClose();
    onDeleted();
  });
  return (
    <Modal title={t('deletePersonTitle', { name: person.displayName || person.login })} isOpen onDismiss={onClose}>
      <form onSubmit={form.submit}>
        {form.note}
        <p>{t('deletePersonHint')}</p>
        <p>
          <label htmlFor={id}>{t('heir')}</label>{' '}
          <select id={id} value={heir} onChange={(e) => setHeir(e.currentTarget.value)}>
            <option value="">{t('heirNone')}</option>
            {(others.value ?? []).map((p) => (
              <option key={p.id} value={p.id}>
                {p.displayName || p.login} ({p.login})
              </option>
            ))}
          </select>
        </p>
        <Button type="submit" variant="destructive" disabled={form.busy}>
          {t('deletePerson')}
        </Button>{' '}
        <Button type="button" variant="secondary" onClick={onClose}>
          {t('cancel')}
        </Button>
      </form>
    </Modal>
  );
}

/** Outcome says below a person's row what became of a click. */
function Outcome({ note, failure, shown }: { note: string; failure: string; shown: { hint: string; text: string } | null }) {
  const { t } = useTexts();
  if (note === '' && failure === '' && shown === null) {
    return null;
  }
  return (
    <tr>
      <td colSpan={5} role="status">
        {note}
        {failure !== '' && <Alert severity="error" title={failure} />}
        {shown && (
          <>
            <p>{shown.hint}</p>
            <pre>{shown.text}</pre>
            <ClipboardButton icon="copy" variant="secondary" size="sm" getText={() => shown.text}>
              {t('copy')}
            </ClipboardButton>
          </>
        )}
      </td>
    </tr>
  );
}

function AddDialog({ onClose, onAdded }: { onClose: () => void; onAdded: () => void }) {
  const { t } = useTexts();
  const [login, setLogin] = useState('');
  const [email, setEmail] = useState('');
  const [again, setAgain] = useState('');
  const [given, setGiven] = useState('');
  const [family, setFamily] = useState('');
  const [language, setLanguage] = useState('en');
  const form = useSubmit(async () => {
    if (email !== again) {
      throw new Error(t('emailsDiffer'));
    }
    await addPerson({ login, email, givenName: given, familyName: family, language });
    onAdded();
  });
  return (
    <Modal title={t('add')} isOpen onDismiss={onClose}>
      <form onSubmit={form.submit}>
        {form.note}
        <Field label={t('login')} value={login} onChange={setLogin} autoComplete="off" autoFocus />
        <Field label={t('email')} value={email} onChange={setEmail} type="email" autoComplete="off" />
        <Field label={t('emailAgain')} value={again} onChange={setAgain} type="email" autoComplete="off" />
        <Field label={t('given')} value={given} onChange={setGiven} autoComplete="off" />
        <Field label={t('family')} value={family} onChange={setFamily} autoComplete="off" />
        <p>
          <span>{t('language')}</span>
          <RadioButtonGroup value={language} onChange={setLanguage} options={[{ label: 'English', value: 'en' }, { label: '한국어', value: 'ko' }]} />
        </p>
        <Button type="submit" disabled={form.busy}>
          {t('add')}
        </Button>{' '}
        <Button type="button" variant="secondary" onClick={onClose}>
          {t('cancel')}
        </Button>
      </form>
    </Modal>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(2) }),
  tools: css({ display: 'flex', gap: theme.spacing(1), marginBottom: theme.spacing(2) }),
  table: css({
    width: '100%', '& th, & td': { textAlign: 'left', padding: theme.spacing(1), borderBottom: `1px solid ${theme.colors.border.weak}`, verticalAlign: 'top' },
    '& td:last-child button': { marginBottom: theme.spacing(0.5) },
  }),
});
