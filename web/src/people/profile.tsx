/** One's own account: profile, password, second factor, signed-in browsers. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState, type ReactNode } from 'react';
import { Shell } from '../pages/shell';
import { Alert, Badge, Button, ClipboardButton, LoadingPlaceholder, RadioButtonGroup, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import {
  beginFactor, changePassword, confirmFactor, endOthers, endSession, fetchMe, fetchSessions, newRecoveryCodes, removeFactor, saveMe, verifyMe, type Me,
} from './api';
import { Field, useSubmit } from './frame';
import { useTexts } from './messages';
import { addPasskey, passkeysThere } from './passkeys';
import { useStepUp } from './stepup';

export default function ProfilePage() {
  const { t, problem } = useTexts();
  const home = useT();
  const styles = useStyles2(getStyles);
  const me = useLoad('me', fetchMe);
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('account') }]}>
      <div className={styles.page}>
        {me.error && <Alert severity="error" title={problem(me.error)} buttonContent={home('common.retry')} onRemove={me.reload} />}
        {me.value === null ? (
          !me.error && <LoadingPlaceholder text={t('working')} />
        ) : (
          <>
            <ProfileForm me={me.value} onSaved={me.reload} />
            <PasswordForm me={me.value} onSaved={me.reload} />
            <Factors me={me.value} onChanged={me.reload} />
            <Sessions />
          </>
        )}
      </div>
    </Shell>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  const styles = useStyles2(getStyles);
  return (
    <section className={styles.section} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function ProfileForm({ me, onSaved }: { me: Me; onSaved: () => void }) {
  const { t } = useTexts();
  const [display, setDisplay] = useState(me.displayName);
  const [given, setGiven] = useState(me.givenName ?? '');
  const [family, setFamily] = useState(me.familyName ?? '');
  const [language, setLanguage] = useState(me.language);
  const [note, setNote] = useState('');
  const form = useSubmit(async () => {
    await saveMe({ displayName: display, givenName: given, familyName: family, language });
    setNote(t('saved'));
    onSaved();
  });
  const mail = useSubmit(async () => {
    await verifyMe();
    setNote(t('mailSent'));
  });
  return (
    <Section title={t('profile')}>
      <p>
        <strong>{me.login}</strong> {me.email}{' '}
        {me.email !== '' && <Badge color={me.emailVerified ? 'green' : 'orange'} text={t(me.emailVerified ? 'verifiedYes' : 'verifiedNo')} />}{' '}
        {me.email !== '' && !me.emailVerified && (
          <Button size="sm" variant="secondary" disabled={mail.busy} onClick={() => mail.submit()}>
            {t('sendVerification')}
          </Button>
        )}
      </p>
      {mail.note}
      {form.note}
      <form onSubmit={form.submit}>
        <Field label={t('display')} value={display} onChange={setDisplay} autoComplete="name" />
        <Field label={t('given')} value={given} onChange={setGiven} required={false} autoComplete="given-name" />
        <Field label={t('family')} value={family} onChange={setFamily} required={false} autoComplete="family-name" />
        <p>
          <span>{t('language')}</span>
          <RadioButtonGroup value={language} onChange={setLanguage} options={[{ label: 'English', value: 'en' }, { label: '한국어', value: 'ko' }]} />
        </p>
        <Button type="submit" disabled={form.busy}>
          {t('save')}
        </Button>{' '}
        <span role="status">{note}</span>
      </form>
    </Section>
  );
}

function PasswordForm({ me, onSaved }: { me: Me; onSaved: () => void }) {
  const { t } = useTexts();
  const [present, setPresent] = useState('');
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const [note, setNote] = useState('');
  const form = useSubmit(async () => {
    if (next !== again) {
      throw new Error(t('differ'));
    }
    await changePassword(present, next);
    setPresent('');
    setNext('');
    setAgain('');
    setNote(t('changed'));
    onSaved();
  });
  return (
    <Section title={t('password')}>
      {form.note}
      <form onSubmit={form.submit}>
        {me.hasPassword && <Field label={t('present')} value={present} onChange={setPresent} type="password" autoComplete="current-password" />}
        <Field label={t('newPassword')} hint={t('rules')} value={next} onChange={setNext} type="password" autoComplete="new-password" />
        <Field label={t('again')} value={again} onChange={setAgain} type="password" autoComplete="new-password" />
        <Button type="submit" disabled={form.busy}>
          {t(me.hasPassword ? 'change' : 'set')}
        </Button>{' '}
        <span role="status">{note}</span>
      </form>
    </Section>
  );
}

function Factors({ me, onChanged }: { me: Me; onChanged: () => void }) {
  const { t, problem } = useTexts();
  const [name, setName] = useState('');
  const [enrolment, setEnrolment] = useState<Enrolment | null>(null);
  const [codes, setCodes] = useState<string[]>([]);
  const { guarded, dialog } = useStepUp(me);
  const begin = useSubmit(() => guarded(async () => setEnrolment(await beginFactor(name))));
  const key = useSubmit(() =>
    guarded(async () => {
      setCodes(await addPasskey(name));
      setName('');
      onChanged();
    })
  );
  const other = useSubmit(async () => undefined);
  const act = (work: () => Promise<void>) => {
    guarded(async () => {
      await work();
      onChanged();
    }).catch((err: unknown) => other.setFailure(problem(err)));
  };
  return (
    <Section title={t('factors')}>
      {dialog}
      {other.note}
      {codes.length > 0 && <RecoveryCodes codes={codes} onKept={() => setCodes([])} />}
      {me.factors.length === 0 && enrolment === null && <p>{t('factorsNone')}</p>}
      <ul>
        {me.factors.map((f) => (
          <li key={f.id}>
            <span>
              {f.name} <Badge color="blue" text={t(f.kind === 'passkey' ? 'passkey' : 'app')} /> ({new Date(f.created).toLocaleDateString()})
            </span>
            <Button size="sm" variant="destructive" fill="outline" onClick={() => act(async () => void (await removeFactor(f.id)))}>
              {t('remove')}
            </Button>
          </li>
        ))}
      </ul>
      {me.factors.length > 0 && (
        <p>
          {t('recoveryLeft', { n: me.recoveryCodesLeft })}{' '}
          <Button size="sm" variant="secondary" onClick={() => act(async () => setCodes((await newRecoveryCodes()).recoveryCodes))}>
            {t('newCodes')}
          </Button>
        </p>
      )}
      {enrolment === null ? (
        <form onSubmit={begin.submit}>
          {begin.note}
          {key.note}
          <p>{t('passkeyHint')}</p>
          <Field label={t('appName')} value={name} onChange={setName} />
          <Button type="submit" disabled={begin.busy}>
            {t('addApp')}
          </Button>{' '}
          {passkeysThere() && me.passkeyOrigin !== '' && (
            <Button type="button" variant="secondary" icon="key-skeleton-alt" disabled={key.busy || name.trim() === ''} onClick={() => key.submit()}>
              {t('addPasskey')}
            </Button>
          )}
          {me.passkeyOrigin === '' && <p>{t('passkeyNowhere')}</p>}
        </form>
      ) : (
        <Enrolling
          enrolment={enrolment}
          onCancel={() => setEnrolment(null)}
          onDone={(made) => {
            setEnrolment(null);
            setName('');
            setCodes(made);
            onChanged();
          }}
        />
      )}
    </Section>
  );
}

interface Enrolment {
  id: string;
  secret: string;
  qr: string;
}

/** Enrolling ends the set-up of an authenticator app with a code of it. */
function Enrolling({ enrolment, onDone, onCancel }: { enrolment: Enrolment; onDone: (codes: string[]) => void; onCancel: () => void }) {
  const { t } = useTexts();
  const [code, setCode] = useState('');
  const confirm = useSubmit(async () => onDone((await confirmFactor(enrolment.id, code)).recoveryCodes ?? []));
  return (
    <form onSubmit={confirm.submit}>
      {confirm.note}
      <p>{t('scan')}</p>
      <p>
        <img src={enrolment.qr} alt="" width={200} height={200} />
      </p>
      <pre>{enrolment.secret}</pre>
      <Field label={t('code')} value={code} onChange={setCode} autoComplete="one-time-code" autoFocus />
      <Button type="submit" disabled={confirm.busy}>
        {t('confirm')}
      </Button>{' '}
      <Button type="button" variant="secondary" onClick={onCancel}>
        {t('cancel')}
      </Button>
    </form>
  );
}

function RecoveryCodes({ codes, onKept }: { codes: string[]; onKept: () => void }) {
  const { t } = useTexts();
  return (
    <div role="status">
      <h3>{t('recovery')}</h3>
      <p>{t('recoveryHint')}</p>
      <pre>{codes.join('\n')}</pre>
      <ClipboardButton icon="copy" variant="secondary" getText={() => codes.join('\n')}>
        {t('copy')}
      </ClipboardButton>{' '}
      <Button onClick={onKept}>{t('done')}</Button>
    </div>
  );
}

function Sessions() {
  const { t, problem } = useTexts();
  const list = useLoad('sessions', fetchSessions);
  const act = (work: Promise<unknown>) => void work.then(list.reload, list.reload);
  return (
    <Section title={t('sessions')}>
      {list.error && <Alert severity="error" title={problem(list.error)} />}
      <ul>
        {(list.value ?? []).map((s) => (
          <li key={s.id}>
            <span>
              {s.agent === '' ? t('link') : s.agent} {s.address}, {new Date(s.created).toLocaleString()}{' '}
              {s.present && <Badge color="green" text={t('thisOne')} />}
            </span>
            {!s.present && (
              <Button size="sm" variant="secondary" onClick={() => act(endSession(s.id))}>
                {t('end')}
              </Button>
            )}
          </li>
        ))}
      </ul>
      <Button variant="secondary" onClick={() => act(endOthers())}>
        {t('endOthers')}
      </Button>
    </Section>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ maxWidth: 720, margin: '0 auto', padding: theme.spacing(2) }),
  section: css({
    background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default,
    padding: theme.spacing(2), marginBottom: theme.spacing(2), '& h2': { fontSize: theme.typography.h4.fontSize },
    '& ul': { listStyle: 'none' }, '& li': { display: 'flex', justifyContent: 'space-between', alignItems: 'center', gap: theme.spacing(1), marginBottom: theme.spacing(1), overflowWrap: 'anywhere' },
  }),
});
