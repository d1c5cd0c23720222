/** Showing again that it is you, before what needs it. */
import { useState } from 'react';
import { ApiError } from '../data/http';
import { Button, Modal } from '../ui';
import { stepUp, type Me } from './api';
import { Field, useSubmit } from './frame';
import { useTexts } from './messages';
import { passkeysThere, stepUpWithPasskey } from './passkeys';

const hasPasskey = (me: Me) => passkeysThere() && me.factors.some((f) => f.kind === 'passkey');

/** useStepUp runs what needs a fresh proof, asking for it first where the server wants one. */
export function useStepUp(me: Me | null) {
  const [pending, setPending] = useState<(() => Promise<void>) | null>(null);
  const guarded = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (err) {
      if (err instanceof ApiError && err.type === 'stepup' && me && (me.hasPassword || hasPasskey(me))) {
        setPending(() => work);
        return;
      }
      throw err;
    }
  };
  const dialog = pending && me && (
    <StepUpDialog
      factor={me.factors.length > 0}
      passkey={hasPasskey(me)}
      onCancel={() => setPending(null)}
      onDone={async () => {
        setPending(null);
        await pending();
      }}
    />
  );
  return { guarded, dialog };
}

function StepUpDialog({ factor, passkey, onDone, onCancel }: { factor: boolean; passkey: boolean; onDone: () => Promise<void>; onCancel: () => void }) {
  const { t } = useTexts();
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const form = useSubmit(async () => {
    await stepUp(password, code);
    await onDone();
  });
  const key = useSubmit(async () => {
    await stepUpWithPasskey();
    await onDone();
  });
  return (
    <Modal title={t('stepTitle')} isOpen onDismiss={onCancel}>
      {passkey && (
        <p>
          <Button type="button" icon="key-skeleton-alt" disabled={key.busy} onClick={() => key.submit()}>
            {t('usePasskey')}
          </Button>
        </p>
      )}
      {key.note}
      <form onSubmit={form.submit}>
        {form.note}
        <Field label={t('password')} value={password} onChange={setPassword} type="password" autoComplete="current-password" autoFocus />
        {factor && <Field label={t('code')} hint={t('codeHint')} value={code} onChange={setCode} autoComplete="one-time-code" />}
        <Button type="submit" disabled={form.busy}>
          {t('confirm')}
        </Button>{' '}
        <Button type="button" variant="secondary" onClick={onCancel}>
          {t('cancel')}
        </Button>
      </form>
    </Modal>
  );
}
