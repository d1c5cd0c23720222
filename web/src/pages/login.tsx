/** Sign-in by the one-time link. The token stands in the URL's fragment, which no server log sees, and is removed before anything else. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useEffect, useState } from 'react';
import { useNavigate } from 'react-router';
import { loginWithLink } from '../data/api';
import { Alert, Spinner, useStyles2, useT } from '../ui';
import { useDocumentTitle } from '../ui/hooks';
import { wantedPage } from './session';
import { Tower } from './shell';

/** takeToken reads the token from the fragment and clears it from the address bar and the history. */
function takeToken(): string {
  const token = new URLSearchParams(window.location.hash.replace(/^#/, '')).get('token') ?? '';
  if (window.location.hash !== '') {
    window.history.replaceState(window.history.state, '', window.location.pathname + window.location.search);
  }
  return token;
}

// Read once, when this module loads: React may begin the first render more than once, and the fragment is gone after one look.
let unused = takeToken();

export default function LoginPage() {
  const t = useT();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const [token, setToken] = useState(() => unused);
  const [failure, setFailure] = useState('');
  useDocumentTitle(t('login.title'));
  useEffect(() => {
    // A second link pasted into the same tab changes only the fragment, which loads nothing.
    const onHash = () => {
      const next = takeToken();
      if (next !== '') {
        setFailure('');
        setToken(next);
      }
    };
    window.addEventListener('hashchange', onHash);
    return () => window.removeEventListener('hashchange', onHash);
  }, []);
  useEffect(() => {
    if (token === '') {
      return;
    }
    unused = '';
    let current = true;
    loginWithLink(token).then(
      () => {
        void navigate(wantedPage(window.location.search), { replace: true });
      },
      (err: unknown) => current && setFailure(err instanceof Error ? err.message : String(err))
    );
    return () => {
      current = false;
    };
  }, [token, navigate]);
  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <Tower size={56} />
        <h1>{t('login.title')}</h1>
        {token !== '' && failure === '' ? (
          <p role="status">
            <Spinner inline /> {t('login.working')}
          </p>
        ) : (
          <>
            {failure !== '' && (
              <Alert severity="error" title={t('login.failed', { reason: failure })}>
                {t('login.failedHint')}
              </Alert>
            )}
            <p>{t('login.intro')}</p>
            <p>{t('login.up')}</p>
            <pre>mangru up</pre>
            <p>{t('login.link')}</p>
            <pre>mangru login-link</pre>
          </>
        )}
      </div>
    </main>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ minHeight: '100vh', display: 'flex', alignItems: 'center', justifyContent: 'center', background: theme.colors.background.canvas, padding: theme.spacing(2) }),
  card: css({
    width: 440, maxWidth: '100%', padding: theme.spacing(5), textAlign: 'center', background: theme.colors.background.primary,
    border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.lg, color: theme.colors.text.primary,
    '& h1': { fontSize: theme.typography.h2.fontSize, margin: theme.spacing(2, 0, 3) }, '& pre': { textAlign: 'left' },
  }),
});
