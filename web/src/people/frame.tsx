/** The frame of pages for people who are not signed in, and small parts that forms share. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useId, useState, type FormEvent, type ReactNode } from 'react';
import { Tower } from '../pages/shell';
import { Alert, Input, useLanguage, useStyles2, useT } from '../ui';
import { useDocumentTitle } from '../ui/hooks';
import { useTexts } from './messages';

/** takeFragment reads the fragment, which no server log sees, and clears it from the address bar and the history. */
function takeFragment(): URLSearchParams {
  const fragment = new URLSearchParams(window.location.hash.replace(/^#/, ''));
  if (window.location.hash !== '') {
    window.history.replaceState(window.history.state, '', window.location.pathname + window.location.search);
  }
  return fragment;
}

/** takeToken reads a one-time token from the fragment. */
export const takeToken = () => takeFragment().get('token') ?? '';

/** fragment is that with which the page was opened. Read once, here: it is gone after one look, and several pages want it. */
export const fragment = takeFragment();

/** arrived is the token with which the page was opened. */
export const arrived = fragment.get('token') ?? '';

export function Frame({ title, children }: { title: string; children: ReactNode }) {
  const styles = useStyles2(getStyles);
  const t = useT();
  const { language, setLanguage } = useLanguage();
  useDocumentTitle(title);
  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <div className={styles.head}>
          <Tower size={48} />
          <h1>{title}</h1>
        </div>
        {children}
        <button type="button" className={styles.language} lang={language === 'en' ? 'ko' : 'en'} onClick={() => setLanguage(language === 'en' ? 'ko' : 'en')}>
          {t('nav.language')}
        </button>
      </div>
    </main>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onChange: (v: string) => void;
  type?: string;
  hint?: string;
  autoComplete?: string;
  autoFocus?: boolean;
  required?: boolean;
}

/** Field is a labelled input. */
export function Field({ label, value, onChange, hint, type = 'text', required = true, ...rest }: FieldProps) {
  const styles = useStyles2(getStyles);
  const id = useId();
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      <Input id={id} type={type} value={value} required={required} aria-describedby={hint ? `${id}-hint` : undefined} onChange={(e) => onChange(e.currentTarget.value)} {...rest} />
      {hint && <small id={`${id}-hint`}>{hint}</small>}
    </div>
  );
}

/** useSubmit runs a form's work once at a time and keeps what went wrong. */
export function useSubmit(work: () => Promise<void>) {
  const { problem } = useTexts();
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState('');
  const submit = (e?: FormEvent) => {
    e?.preventDefault();
    if (busy) {
      return;
    }
    setBusy(true);
    setFailure('');
    work().then(
      () => setBusy(false),
      (err: unknown) => {
        setFailure(problem(err));
        setBusy(false);
      }
    );
  };
  const note = failure === '' ? null : <Alert severity="error" title={failure} />;
  return { busy, submit, note, setFailure };
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ minHeight: '100vh', display: 'flex', alignItems: 'center', justifyContent: 'center', background: theme.colors.background.canvas, padding: theme.spacing(2) }),
  card: css({
    width: 420, maxWidth: '100%', padding: theme.spacing(4), background: theme.colors.background.primary,
    border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.lg, color: theme.colors.text.primary,
    '& form > button[type=submit]': { width: '100%', justifyContent: 'center' }, '& pre': { marginBottom: 0 },
    '& .wide': { margin: theme.spacing(1, 0) }, '& .wide > *': { width: '100%', justifyContent: 'center' },
  }),
  head: css({ textAlign: 'center', '& h1': { fontSize: theme.typography.h3.fontSize, margin: theme.spacing(1, 0, 2) } }),
  language: css({ display: 'block', margin: `${theme.spacing(2)} auto 0`, background: 'none', border: 'none', color: theme.colors.text.secondary, '&:hover': { color: theme.colors.text.primary } }),
  field: css({
    marginBottom: theme.spacing(2), '& label': { display: 'block', marginBottom: theme.spacing(0.5), fontWeight: theme.typography.fontWeightMedium },
    '& small': { color: theme.colors.text.secondary },
  }),
});
