/** Sign-in: by password and second factor, or by a one-time link. */
import { useEffect, useState } from 'react';
import { useNavigate } from 'react-router';
import { loginWithLink } from '../data/api';
import { basename } from '../data/base';
import { wantedPage } from '../pages/session';
import { Alert, Button, LinkButton, Spinner } from '../ui';
import { fetchOutside, forgot, sendCode, signIn, type Progress } from './api';
import { useLoad } from '../ui/hooks';
import { arrived, Field, fragment, Frame, takeToken, useSubmit } from './frame';
import { useTexts } from './messages';
import { SetPassword } from './accept';
import { passkeyAsFactor, passkeysThere, signInWithPasskey } from './passkeys';

// Used once: React may begin the first render more than once, and people come back to this page after they signed out.
let unused = arrived;

/** After an identity provider outside, a second factor of one's own may be left to show, or there was a problem. */
const left = fragment.get('factor') ?? fragment.get('factor-passkey');
const leftOver: Progress | null = left === null ? null : { next: 'factor', token: left, passkey: fragment.has('factor-passkey') };
let problemOutside = fragment.get('problem') ?? '';

export default function SignInPage() {
  const { t } = useTexts();
  const navigate = useNavigate();
  const [step, setStep] = useState<Progress | null>(leftOver);
  const [forgetting, setForgetting] = useState(false);
  const [chosen, setChosen] = useState(basename === '');
  const [link, setLink] = useState(() => unused);
  const follow = (p: Progress) => {
    if (p.next === 'done') {
      void navigate(wantedPage(window.location.search), { replace: true });
      return;
    }
    setStep(p);
  };
  useEffect(() => {
    // A second link pasted into the same tab changes only the fragment, which loads nothing.
    const onHash = () => {
      const next = takeToken();
      if (next !== '') {
        setLink(next);
      }
    };
    window.addEventListener('hashchange', onHash);
    return () => window.removeEventListener('hashchange', onHash);
  }, []);
  if (step?.next === 'factor') {
    return <FactorForm token={step.token ?? ''} passkey={step.passkey === true && passkeysThere()} onProgress={follow} onBack={() => setStep(null)} />;
  }
  if (step?.next === 'change') {
    return (
      <Frame title={t('acceptTitle')}>
        <p>{t('mustChange')}</p>
        <SetPassword token={step.token ?? ''} onProgress={follow} />
      </Frame>
    );
  }
  if (!chosen && link === '') {
    return <WorkspaceDoor onChosen={() => setChosen(true)} />;
  }
  if (forgetting) {
    return <ForgotForm onBack={() => setForgetting(false)} />;
  }
  return <PasswordForm link={link} onLinkUsed={() => setLink('')} onProgress={follow} onForgot={() => setForgetting(true)} />;
}

/** A workspace names what one signs in with before it asks for anything. */
function WorkspaceDoor({ onChosen }: { onChosen: () => void }) {
  const { t } = useTexts();
  return (
    <Frame title={t('workspaceTitle')}>
      <Button onClick={onChosen} autoFocus>
        {t('withCenter')}
      </Button>
    </Frame>
  );
}

function PasswordForm({ link, onLinkUsed, onProgress, onForgot }: { link: string; onLinkUsed: () => void; onProgress: (p: Progress) => void; onForgot: () => void }) {
  const { t } = useTexts();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const form = useSubmit(async () => onProgress(await signIn(name, password)));
  const key = useSubmit(async () => onProgress(await signInWithPasskey()));
  const [problem] = useState(problemOutside);
  useEffect(() => {
    problemOutside = '';
  }, []);
  const { setFailure } = form;
  useEffect(() => {
    if (link === '') {
      return;
    }
    unused = '';
    loginWithLink(link).then(
      () => onProgress({ next: 'done' }),
      (err: unknown) => {
        setFailure(err instanceof Error ? err.message : String(err));
        onLinkUsed();
      }
    );
    // A link is used once, whatever else changes.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [link]);
  return (
    <Frame title={t('title')}>
      {problem !== '' && !form.busy && <Alert severity="error" title={problem} />}
      {form.note}
      {key.note}
      {link !== '' ? (
        <p role="status">
          <Spinner inline /> {t('signingIn')}
        </p>
      ) : (
        <form onSubmit={form.submit}>
          <Field label={t('name')} value={name} onChange={setName} autoComplete="username" autoFocus />
          <Field label={t('password')} value={password} onChange={setPassword} type="password" autoComplete="current-password" />
          <Button type="submit" disabled={form.busy}>
            {t('signIn')}
          </Button>
          {passkeysThere() && (
            <p className="wide">
              <Button type="button" variant="secondary" icon="key-skeleton-alt" disabled={key.busy} onClick={() => key.submit()}>
                {t('withPasskey')}
              </Button>
            </p>
          )}
          <Providers />
          <p>
            <Button fill="text" type="button" onClick={onForgot}>
              {t('forgotten')}
            </Button>
          </p>
          <p>{t('noAccount')}</p>
          <pre>mangru login-link</pre>
        </form>
      )}
    </Frame>
  );
}

/** Providers are the buttons of identity providers outside. */
function Providers() {
  const { t } = useTexts();
  const list = useLoad('outside', fetchOutside);
  const to = encodeURIComponent(`${basename}${wantedPage(window.location.search)}`);
  return (
    <>
      {(list.value ?? []).map((p) => (
        <p key={p.id} className="wide">
          <LinkButton href={`/api/outside/${p.id}/start?redirectTo=${to}`} variant="secondary" icon="signin">
            {t('withProvider', { name: p.name })}
          </LinkButton>
        </p>
      ))}
    </>
  );
}

function FactorForm({ token, passkey, onProgress, onBack }: { token: string; passkey: boolean; onProgress: (p: Progress) => void; onBack: () => void }) {
  const { t } = useTexts();
  const [code, setCode] = useState('');
  const [remember, setRemember] = useState(false);
  const form = useSubmit(async () => onProgress(await sendCode(token, code, remember)));
  const key = useSubmit(async () => onProgress(await passkeyAsFactor(token, remember)));
  return (
    <Frame title={t('code')}>
      {form.note}
      {key.note}
      {passkey && (
        <p className="wide">
          <Button type="button" icon="key-skeleton-alt" disabled={key.busy} onClick={() => key.submit()}>
            {t('usePasskey')}
          </Button>
        </p>
      )}
      <form onSubmit={form.submit}>
        <Field label={t('code')} hint={t('codeHint')} value={code} onChange={setCode} autoComplete="one-time-code" autoFocus />
        <p>
          <label>
            <input type="checkbox" checked={remember} onChange={(e) => setRemember(e.currentTarget.checked)} /> {t('remember')}
          </label>
        </p>
        <Button type="submit" disabled={form.busy}>
          {t('go')}
        </Button>
        <Button fill="text" type="button" onClick={onBack}>
          {t('back')}
        </Button>
      </form>
    </Frame>
  );
}

function ForgotForm({ onBack }: { onBack: () => void }) {
  const { t } = useTexts();
  const [email, setEmail] = useState('');
  const [sent, setSent] = useState(false);
  const form = useSubmit(async () => {
    await forgot(email);
    setSent(true);
  });
  return (
    <Frame title={t('forgotTitle')}>
      {form.note}
      {sent ? (
        <p role="status">{t('forgotHint')}</p>
      ) : (
        <form onSubmit={form.submit}>
          <Field label={t('email')} value={email} onChange={setEmail} type="email" autoComplete="email" autoFocus />
          <Button type="submit" disabled={form.busy}>
            {t('send')}
          </Button>
        </form>
      )}
      <Button fill="text" type="button" onClick={onBack}>
        {t('back')}
      </Button>
    </Frame>
  );
}
