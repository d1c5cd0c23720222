/** What the pages about folders, permissions and the library share: styles, a list that loads, a choice of folders, dialogs that act. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState, type ReactNode } from 'react';
import { fetchAllFolders, type Hit } from '../data/folders_api';
import { Alert, Button, LoadingPlaceholder, Modal, Select } from '../ui';
import { useLoad, type Loaded } from '../ui/hooks';
import { useFolderTexts } from './folder_texts';

export const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(3), maxWidth: 1100, margin: '0 auto' }),
  head: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1), marginBottom: theme.spacing(2), '& h1': { flex: 1, margin: 0, minWidth: 200 } }),
  note: css({ color: theme.colors.text.secondary, margin: theme.spacing(1, 0) }),
  list: css({
    listStyle: 'none', background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, margin: theme.spacing(2, 0),
    '& > li': { display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1), padding: theme.spacing(1, 2), borderBottom: `1px solid ${theme.colors.border.weak}` },
    '& > li:last-child': { borderBottom: 'none' },
    '& small': { color: theme.colors.text.secondary },
  }),
  grow: css({ flex: 1, minWidth: 180 }),
  form: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1), margin: theme.spacing(2, 0) }),
  field: css({ display: 'block', marginBottom: theme.spacing(2), '& > span': { display: 'block', marginBottom: theme.spacing(0.5) } }),
});

/** sentence is what an error says. */
export const sentence = (err: unknown) => (err instanceof Error ? err.message : String(err));

/** Shown draws what was loaded, or that it is on its way, or why it is not there. */
export function Shown<V>({ loaded, children }: { loaded: Loaded<V>; children: (v: V) => ReactNode }) {
  const text = useFolderTexts();
  if (loaded.value !== null) {
    return <>{children(loaded.value)}</>;
  }
  if (loaded.error && !loaded.loading) {
    return <Alert severity="error" title={loaded.error.message} buttonContent={text('retry')} onRemove={loaded.reload} />;
  }
  return <LoadingPlaceholder text={text('loading')} />;
}

/** paths names folders with those around them, sorted; `without` and what is inside it are left out. */
export function paths(folders: readonly Hit[], without = ''): { uid: string; path: string }[] {
  const byUid = new Map(folders.map((f) => [f.uid, f]));
  const chain = (f: Hit): Hit[] => {
    const list = [f];
    for (let up = byUid.get(f.folderUid ?? ''); up && list.length < 20; up = byUid.get(up.folderUid ?? '')) {
      list.unshift(up);
    }
    return list;
  };
  return folders
    .map((f) => ({ uid: f.uid, chain: chain(f) }))
    .filter((f) => without === '' || !f.chain.some((c) => c.uid === without))
    .map((f) => ({ uid: f.uid, path: f.chain.map((c) => c.title).join(' / ') }))
    .sort((a, b) => a.path.localeCompare(b.path));
}

export function FolderSelect({ value, without = '', label, onChange }: { value: string; without?: string; label: string; onChange: (uid: string) => void }) {
  const text = useFolderTexts();
  const folders = useLoad('editable-folders', (signal) => fetchAllFolders(true, signal));
  return (
    <Select
      aria-label={label} value={value} isLoading={folders.loading} onChange={(v) => onChange(v.value ?? '')}
      options={[{ value: '', label: text('top') }, ...paths(folders.value ?? [], without).map((f) => ({ value: f.uid, label: f.path }))]}
    />
  );
}

interface ActProps {
  title: string;
  action: string;
  destructive?: boolean;
  ready?: boolean;
  act: () => Promise<unknown>;
  onDone: () => void;
  onClose: () => void;
  children: ReactNode;
}

/** Act is a dialog with one action; it says why the action failed, and stays. */
export function Act({ title, action, destructive = false, ready = true, act, onDone, onClose, children }: ActProps) {
  const text = useFolderTexts();
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const go = () => {
    setBusy(true);
    act().then(
      () => (onClose(), onDone()),
      (err: unknown) => (setBusy(false), setProblem(sentence(err)))
    );
  };
  return (
    <Modal isOpen title={title} onDismiss={onClose}>
      {problem !== '' && <Alert severity="error" title={problem} />}
      <form onSubmit={(e) => (e.preventDefault(), ready && !busy && go())}>
        {children}
        <Modal.ButtonRow>
          <Button type="button" variant="secondary" onClick={onClose}>
            {text('cancel')}
          </Button>
          <Button type="submit" variant={destructive ? 'destructive' : 'primary'} disabled={!ready || busy}>
            {action}
          </Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
  );
}
