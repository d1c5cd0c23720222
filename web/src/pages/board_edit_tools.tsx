/** The buttons of a board's bar that change it: star, edit, save, discard; and the guard of what is not saved yet. */
import { lazy, Suspense, useEffect, useState } from 'react';
import type { TimeRange } from '@grafana/data';
import type { DataSource } from '../board/datasource';
import { ApiError } from '../data/http';
import { deleteBoard, fetchFolders, saveBoard, starBoard, type Saved } from '../data/boards_api';
import { Alert, Button, IconButton, InlineField, Input, Modal, Select, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { sameBoard, type Json } from './board_json';

const BoardEditor = lazy(() => import('./board_editor'));

export interface BoardMeta {
  canSave?: boolean;
  canDelete?: boolean;
  canStar?: boolean;
  isStarred?: boolean;
  provisioned?: boolean;
  folderUid?: string;
}

export interface EditState {
  uid: string;
  meta: BoardMeta;
  base: Json;
  draft: Json | null;
  problem: string;
  change: (draft: Json | null) => void;
  saved: (result: Saved) => void;
  deleted: () => void;
  reload: () => void;
}

export function EditTools({ edit, sources, range }: { edit: EditState; sources: readonly DataSource[]; range: TimeRange }) {
  const t = useT();
  const [open, setOpen] = useState(edit.uid === '');
  const [saving, setSaving] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const dirty = edit.draft !== null && !sameBoard(edit.draft, edit.base);
  useUnsavedGuard(dirty, t('edit.leave'));
  return (
    <>
      {edit.meta.canStar && edit.uid !== '' && <Star uid={edit.uid} starred={edit.meta.isStarred === true} />}
      {edit.meta.canSave && (
        <Button variant="secondary" icon="pen" onClick={() => setOpen(true)}>
          {t('edit.edit')}
        </Button>
      )}
      {(dirty || edit.uid === '') && edit.meta.canSave && (
        <Button icon="save" onClick={() => setSaving(true)}>
          {t('edit.save')}
        </Button>
      )}
      {dirty && (
        <Button variant="secondary" fill="text" onClick={() => edit.change(null)}>
          {t('edit.discard')}
        </Button>
      )}
      {edit.meta.canDelete && !edit.meta.provisioned && edit.uid !== '' && <IconButton name="trash-alt" tooltip={t('edit.deleteBoard')} onClick={() => setDeleting(true)} />}
      {edit.problem !== '' && <Alert severity="error" title={edit.problem} />}
      {open && (
        <Suspense fallback={null}>
          <BoardEditor
            uid={edit.uid} draft={edit.draft ?? edit.base} sources={sources} range={range} onChange={edit.change} onRestored={edit.reload} onClose={() => setOpen(false)}
          />
        </Suspense>
      )}
      {saving && <SaveDialog edit={edit} onClose={() => setSaving(false)} />}
      {deleting && <DeleteDialog edit={edit} onClose={() => setDeleting(false)} />}
    </>
  );
}

function Star({ uid, starred }: { uid: string; starred: boolean }) {
  const t = useT();
  const [on, setOn] = useState(starred);
  const toggle = () => {
    setOn(!on);
    void starBoard(uid, !on).catch(() => setOn(on));
  };
  return <IconButton name={on ? 'favorite' : 'star'} size="lg" iconType={on ? 'mono' : 'default'} tooltip={t(on ? 'edit.unstar' : 'edit.star')} aria-pressed={on} onClick={toggle} />;
}

function SaveDialog({ edit, onClose }: { edit: EditState; onClose: () => void }) {
  const t = useT();
  const board = edit.draft ?? edit.base;
  const provisioned = edit.meta.provisioned === true;
  const folders = useLoad('edit-folders', fetchFolders);
  const [message, setMessage] = useState('');
  const [title, setTitle] = useState(provisioned ? `${String(board.title)} (${t('edit.copy')})` : String(board.title ?? ''));
  const [folder, setFolder] = useState(edit.meta.folderUid ?? '');
  const [problem, setProblem] = useState('');
  const [conflict, setConflict] = useState(false);
  const save = (overwrite: boolean) => {
    // What a provisioner keeps can't be saved over: a copy of one's own is made.
    const body = provisioned ? { ...board, title, uid: '', id: null } : { ...board, title };
    void saveBoard(body, { message, folderUid: folder, overwrite }).then(
      (result) => {
        onClose();
        edit.saved(result);
      },
      (err: unknown) => {
        setConflict(err instanceof ApiError && err.status === 412);
        setProblem(err instanceof Error ? err.message : String(err));
      }
    );
  };
  return (
    <Modal isOpen title={t('edit.saveTitle')} onDismiss={onClose}>
      {provisioned && <Alert severity="info" title={t('edit.provisioned')} />}
      {problem !== '' && <Alert severity="error" title={conflict ? t('edit.conflict') : problem} />}
      <InlineField label={t('edit.name')} labelWidth={18} grow>
        <Input value={title} onChange={(e) => setTitle(e.currentTarget.value)} />
      </InlineField>
      <InlineField label={t('edit.folder')} labelWidth={18} grow>
        <Select
          aria-label={t('edit.folder')} value={folder} onChange={(v) => setFolder(v.value ?? '')}
          options={[{ value: '', label: t('edit.noFolder') }, ...(folders.value ?? []).map((f) => ({ value: f.uid, label: f.title }))]}
        />
      </InlineField>
      <InlineField label={t('edit.message')} labelWidth={18} grow>
        <Input value={message} maxLength={500} placeholder={t('edit.messageHint')} onChange={(e) => setMessage(e.currentTarget.value)} />
      </InlineField>
      <Modal.ButtonRow>
        <Button variant="secondary" onClick={onClose}>
          {t('edit.cancel')}
        </Button>
        <Button variant={conflict ? 'destructive' : 'primary'} disabled={title.trim() === ''} onClick={() => save(conflict)}>
          {t(conflict ? 'edit.overwrite' : 'edit.save')}
        </Button>
      </Modal.ButtonRow>
    </Modal>
  );
}

function DeleteDialog({ edit, onClose }: { edit: EditState; onClose: () => void }) {
  const t = useT();
  const [problem, setProblem] = useState('');
  const remove = () => void deleteBoard(edit.uid).then(edit.deleted, (err: unknown) => setProblem(err instanceof Error ? err.message : String(err)));
  return (
    <Modal isOpen title={t('edit.deleteBoard')} onDismiss={onClose}>
      {problem !== '' && <Alert severity="error" title={problem} />}
      <p>{t('edit.deleteSure', { title: String(edit.base.title ?? '') })}</p>
      <Modal.ButtonRow>
        <Button variant="secondary" onClick={onClose}>
          {t('edit.cancel')}
        </Button>
        <Button variant="destructive" onClick={remove}>
          {t('edit.delete')}
        </Button>
      </Modal.ButtonRow>
    </Modal>
  );
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
