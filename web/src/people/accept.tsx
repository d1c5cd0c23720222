/** The pages behind the links of mails: choose a password, verify an address. */
import { basename } from '../data/base';
import { useEffect, useState } from 'react';
import { useNavigate } from 'react-router';
import { Alert, Button, LinkButton, Spinner } from '../ui';
import { accept, invited, verify, type Progress } from './api';
import { Field, Frame, arrived as token, useSubmit } from './frame';
import { useTexts } from './messages';

export function SetPassword({ token: link, onProgress }: { token: string; onProgress: (p: Progress) => void }) {
  const { t } = useTexts();
  const [first, setFirst] = useState('');
  const [second, setSecond] = useState('');
  const form = useSubmit(async () => {
    if (first !== second) {
      throw new Error(t('differ'));
    }
    onProgress(await accept(link, first));
  });
  return (
    <form onSubmit={form.submit}>
      {form.note}
      <Field label={t('newPassword')} hint={t('rules')} value={first} onChange={setFirst} type="password" autoComplete="new-password" autoFocus />
      <Field label={t('again')} value={second} onChange={setSecond} type="password" autoComplete="new-password" />
      <Button type="submit" disabled={form.busy}>
        {t('set')}
      </Button>
    </form>
  );
}

export function AcceptPage() {
  const { t, problem } = useTexts();
  const navigate = useNavigate();
  const [who, setWho] = useState<{ login: string; name: string } | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  useEffect(() => {
    invited(token).then(setWho, setFailure);
  }, []);
  return (
    <Frame title={t('acceptTitle')}>
      {failure !== null ? (
        <>
          <Alert severity="error" title={problem(failure)} />
          <LinkButton href={`${basename}/login`} fill="text">
            {t('back')}
          </LinkButton>
        </>
      ) : who === null ? (
        <p role="status">
          <Spinner inline /> {t('working')}
        </p>
      ) : (
        <>
          <p>{t('acceptFor', who)}</p>
          {/* Where a second factor is due, the sign-in page asks for all of it. */}
          <SetPassword token={token} onProgress={(p) => void navigate(p.next === 'done' ? '/' : '/login', { replace: true })} />
        </>
      )}
    </Frame>
  );
}

export function VerifyPage() {
  const { t, problem } = useTexts();
  const [email, setEmail] = useState('');
  const [failure, setFailure] = useState<unknown>(null);
  // A click, not the mere opening, uses the link up: mail programs open links.
  const form = useSubmit(async () => {
    try {
      setEmail((await verify(token)).email);
    } catch (err) {
      setFailure(err);
    }
  });
  return (
    <Frame title={t('verifyTitle')}>
      {failure !== null && <Alert severity="error" title={problem(failure)} />}
      {email !== '' ? (
        <>
          <p role="status">{t('verified', { email })}</p>
          <LinkButton href={`${basename}/`}>{t('toPortal')}</LinkButton>
        </>
      ) : (
        <form onSubmit={form.submit}>
          <Button type="submit" disabled={form.busy}>
            {t('verifyTitle')}
          </Button>
        </form>
      )}
    </Frame>
  );
}
