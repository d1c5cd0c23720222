/** Saving a board: what changed, a message, what of the screen becomes the default, and what to do when somebody else was faster. */
import { css } from '@emotion/css';
import { rangeUtil, type GrafanaTheme2 } from '@grafana/data';
import { useMemo, useState } from 'react';
import { urlValues } from '../board/variables';
import { edgeToUrl } from '../board/timerange';
import { fetchFolders, saveBoard } from '../data/boards_api';
import { ApiError } from '../data/http';
import { Alert, Button, InlineField, Input, Modal, Select, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import type { EditState, OnScreen } from './board_edit_tools';
import { differences, listPanels, withVariables, type Difference, type Json } from './board_json';
import { useEditTexts } from './edit_texts';

interface Props {
  edit: EditState;
  screen: OnScreen;
  onClose: () => void;
}

export default function SaveDialog({ edit, screen, onClose }: Props) {
  const t = useT();
  const x = useEditTexts();
  const provisioned = edit.meta.provisioned === true;
  const board = edit.draft.value ?? edit.base;
  const folders = useLoad('edit-folders', fetchFolders);
  const [message, setMessage] = useState('');
  const [title, setTitle] = useState(provisioned ? `${String(board.title)} (${x('copy')})` : String(board.title ?? ''));
  const [folder, setFolder] = useState(edit.meta.folderUid ?? '');
  const [keep, setKeep] = useState({ time: false, variables: false });
  const [problem, setProblem] = useState('');
  const [conflict, setConflict] = useState(false);
  const body = useMemo<Json>(() => {
    const { from, to } = screen.range.raw;
    const timed = keep.time ? { ...board, title, time: { from: edgeToUrl(from), to: edgeToUrl(to) } } : { ...board, title };
    return keep.variables ? withVariables(timed, urlValues(screen.variables)) : timed;
  }, [board, title, keep, screen]);
  const save = (overwrite: boolean) => {
    // What a provisioner keeps can't be saved over: a copy of one's own is made.
    void saveBoard(provisioned ? { ...body, uid: '', id: null } : body, { message, folderUid: folder, overwrite }).then(
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
    <Modal isOpen title={x('saveTitle')} onDismiss={onClose}>
      {provisioned && <Alert severity="info" title={x('provisioned')} />}
      {problem !== '' && <Alert severity="error" title={conflict ? x('conflict') : problem} />}
      <InlineField label={t('edit.name')} labelWidth={18} grow>
        <Input aria-label={t('edit.name')} value={title} onChange={(e) => setTitle(e.currentTarget.value)} />
      </InlineField>
      <InlineField label={t('edit.folder')} labelWidth={18} grow>
        <Select
          aria-label={t('edit.folder')} value={folder} onChange={(v) => setFolder(v.value ?? '')}
          options={[{ value: '', label: t('edit.noFolder') }, ...(folders.value ?? []).map((f) => ({ value: f.uid, label: f.title }))]}
        />
      </InlineField>
      <InlineField label={x('message')} labelWidth={18} grow>
        <Input aria-label={x('message')} value={message} maxLength={500} placeholder={x('messageHint')} onChange={(e) => setMessage(e.currentTarget.value)} />
      </InlineField>
      <label style={{ display: 'block' }}>
        <input type="checkbox" checked={keep.time} onChange={(e) => setKeep({ ...keep, time: e.currentTarget.checked })} /> {x('saveTime', { range: rangeUtil.describeTimeRange(screen.range.raw) })}
      </label>
      {screen.variables.length > 0 && (
        <label style={{ display: 'block' }}>
          <input type="checkbox" checked={keep.variables} onChange={(e) => setKeep({ ...keep, variables: e.currentTarget.checked })} /> {x('saveVariables')}
        </label>
      )}
      <Changes before={edit.uid === '' ? null : edit.base} after={body} />
      <Modal.ButtonRow>
        <Button variant="secondary" onClick={onClose}>
          {x('cancel')}
        </Button>
        <Button variant={conflict ? 'destructive' : 'primary'} disabled={title.trim() === ''} onClick={() => save(conflict)}>
          {x(conflict ? 'overwrite' : 'save')}
        </Button>
      </Modal.ButtonRow>
    </Modal>
  );
}

function Changes({ before, after }: { before: Json | null; after: Json }) {
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const all = useMemo(() => (before ? differences(before, after) : []), [before, after]);
  if (!before) {
    return <p className={styles.summary}>{x('newOne', { n: listPanels(after).length })}</p>;
  }
  return (
    <details className={styles.summary}>
      <summary>{all.length === 0 ? x('noChanges') : x(all.length === 1 ? 'changesOne' : 'changesOf', { n: all.length })}</summary>
      <DiffList changes={all} />
    </details>
  );
}

const MAX_SHOWN = 200;

/** DiffList shows each changed value, old and new. */
export function DiffList({ changes }: { changes: readonly Difference[] }) {
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  if (changes.length === 0) {
    return <p>{x('noChanges')}</p>;
  }
  const text = (v: unknown) => (JSON.stringify(v) ?? '').slice(0, 400);
  return (
    <ul className={styles.diff}>
      {changes.slice(0, MAX_SHOWN).map((c) => (
        <li key={c.path}>
          <code>{c.path}</code>
          {c.old !== undefined && <del>{text(c.old)}</del>}
          {c.new !== undefined && <ins>{text(c.new)}</ins>}
        </li>
      ))}
      {changes.length > MAX_SHOWN && <li>{x('moreChanges', { n: changes.length - MAX_SHOWN })}</li>}
    </ul>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  summary: css({ margin: theme.spacing(2, 0), '& summary': { cursor: 'pointer' } }),
  diff: css({
    listStyle: 'none', maxHeight: 320, overflow: 'auto', '& del': { display: 'block', color: theme.colors.error.text, wordBreak: 'break-all' },
    '& ins': { display: 'block', color: theme.colors.success.text, textDecoration: 'none', wordBreak: 'break-all' },
  }),
});
