/** What a board is edited with: panels and rows added, settings, undo and redo, saving; and the guard of what is not saved yet. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { lazy, Suspense, useEffect, useState } from 'react';
import { useNavigate } from 'react-router';
import { deleteBoard } from '../data/boards_api';
import { Alert, Button, IconButton, Modal, useStyles2, useT } from '../ui';
import type { EditState, OnScreen } from './board_edit_tools';
import { addPanel, addRow } from './board_json';
import { useEditTexts } from './edit_texts';

const Settings = lazy(() => import('./board_settings'));
const SaveDialog = lazy(() => import('./save_dialog'));

interface Props {
  edit: EditState;
  screen: OnScreen;
  dirty: boolean;
}

export default function EditBar({ edit, screen, dirty }: Props) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const [open, setOpen] = useState<'' | 'settings' | 'save' | 'delete'>('');
  const close = () => setOpen('');
  const { draft } = edit;
  const board = draft.value ?? edit.base;
  useUnsavedGuard(dirty, x('leave'));
  useUndoKeys(draft.undo, draft.redo);
  const panel = () => {
    const next = addPanel(board, t('edit.newPanel'));
    draft.change(next.board);
    void navigate({ search: withParam(window.location.search, 'editPanel', String(next.id)) });
  };
  return (
    <div className={styles.bar} role="toolbar" aria-label={x('title')}>
      <Button size="sm" variant="secondary" icon="plus" onClick={panel}>
        {x('addPanel')}
      </Button>
      <Button size="sm" variant="secondary" icon="list-ul" onClick={() => draft.change(addRow(board, x('newRow')))}>
        {x('addRow')}
      </Button>
      <Button size="sm" variant="secondary" icon="cog" onClick={() => setOpen('settings')}>
        {x('settings')}
      </Button>
      <IconButton name="corner-up-left" tooltip={`${x('undo')} (Ctrl+Z)`} disabled={!draft.undo} onClick={() => draft.undo?.()} />
      <IconButton name="corner-up-right" tooltip={`${x('redo')} (Ctrl+Shift+Z)`} disabled={!draft.redo} onClick={() => draft.redo?.()} />
      {(dirty || edit.uid === '') && (
        <Button size="sm" icon="save" onClick={() => setOpen('save')}>
          {x('save')}
        </Button>
      )}
      {dirty && (
        <Button size="sm" variant="secondary" fill="text" onClick={draft.discard}>
          {x('discard')}
        </Button>
      )}
      {edit.arranging && (
        <Button size="sm" variant="secondary" icon="check" onClick={() => edit.arrange(false)}>
          {x('done')}
        </Button>
      )}
      {edit.meta.canDelete && !edit.meta.provisioned && edit.uid !== '' && <IconButton name="trash-alt" tooltip={x('deleteBoard')} onClick={() => setOpen('delete')} />}
      {draft.problem !== '' && <Alert severity="error" title={draft.problem} />}
      <Suspense fallback={null}>
        {open === 'settings' && <Settings uid={edit.uid} draft={board} screen={screen} onChange={draft.change} onRestored={edit.reload} onClose={close} />}
        {open === 'save' && <SaveDialog edit={edit} screen={screen} onClose={close} />}
      </Suspense>
      {open === 'delete' && <DeleteDialog edit={edit} onClose={close} />}
    </div>
  );
}

function withParam(search: string, name: string, value: string): string {
  const p = new URLSearchParams(search);
  p.set(name, value);
  return p.toString();
}

function DeleteDialog({ edit, onClose }: { edit: EditState; onClose: () => void }) {
  const t = useT();
  const x = useEditTexts();
  const [problem, setProblem] = useState('');
  const remove = () => void deleteBoard(edit.uid).then(edit.deleted, (err: unknown) => setProblem(err instanceof Error ? err.message : String(err)));
  return (
    <Modal isOpen title={x('deleteBoard')} onDismiss={onClose}>
      {problem !== '' && <Alert severity="error" title={problem} />}
      <p>{x('deleteSure', { title: String(edit.base.title ?? '') })}</p>
      <Modal.ButtonRow>
        <Button variant="secondary" onClick={onClose}>
          {x('cancel')}
        </Button>
        <Button variant="destructive" onClick={remove}>
          {t('edit.delete')}
        </Button>
      </Modal.ButtonRow>
    </Modal>
  );
}

/** useUndoKeys listens for Ctrl+Z and its relatives, but where text is written: there they belong to the text. */
function useUndoKeys(undo: (() => void) | null, redo: (() => void) | null): void {
  useEffect(() => {
    const listen = (e: KeyboardEvent) => {
      const key = e.key.toLowerCase();
      const on = e.target instanceof HTMLElement ? e.target : null;
      if (!(e.ctrlKey || e.metaKey) || (key !== 'z' && key !== 'y') || on?.isContentEditable || (on && /^(INPUT|TEXTAREA|SELECT)$/.test(on.tagName))) {
        return;
      }
      const step = key === 'y' || e.shiftKey ? redo : undo;
      if (step) {
        e.preventDefault();
        step();
      }
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  }, [undo, redo]);
}

/** useUnsavedGuard asks before a page with changes is left, by the browser or by a link. */
function useUnsavedGuard(dirty: boolean, question: string): void {
  useEffect(() => {
    if (!dirty) {
      return;
    }
    const unload = (e: BeforeUnloadEvent) => e.preventDefault();
    const click = (e: MouseEvent) => {
      const link = e.target instanceof Element ? e.target.closest('a[href]') : null;
      const leaves = link instanceof HTMLAnchorElement && link.target !== '_blank' && link.pathname !== window.location.pathname;
      if (leaves && !window.confirm(question)) {
        e.preventDefault();
        e.stopPropagation();
      }
    };
    window.addEventListener('beforeunload', unload);
    document.addEventListener('click', click, true);
    return () => {
      window.removeEventListener('beforeunload', unload);
      document.removeEventListener('click', click, true);
    };
  }, [dirty, question]);
}

const getStyles = (theme: GrafanaTheme2) => ({
  bar: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', marginLeft: 'auto' }),
});
