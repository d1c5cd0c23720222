/** Library panels: a list with the boards that show each, and what can be done with them. */
import { useContext, useState } from 'react';
import { Link, useNavigate } from 'react-router';
import { searchBoards } from '../data/api';
import {
  changeLibraryPanel, createLibraryPanel, deleteLibraryPanel, fetchBoardModel, fetchConnections, fetchLibrary, saveModel, type Hit, type LibraryPanel,
} from '../data/folders_api';
import { libraryUid, link, modelOf, panelsOf, unlink } from '../data/library';
import { Alert, Button, EmptyState, FilterInput, Icon, Input, Select, TextArea, useStyles2 } from '../ui';
import { useLoad } from '../ui/hooks';
import { Act, FolderSelect, getStyles, Shown } from './folder_parts';
import { useFolderTexts } from './folder_texts';
import { SessionContext } from './session';

/** LibraryList shows the library, only that of a folder if one is given. */
export function LibraryList({ folder = null }: { folder?: string | null }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const mayEdit = ['Admin', 'Editor'].includes(useContext(SessionContext)?.user.orgRole ?? '');
  const [search, setSearch] = useState('');
  const [making, setMaking] = useState(false);
  const loaded = useLoad(`library-${folder ?? '*'}-${search}`, (signal) => fetchLibrary(search, folder, signal));
  return (
    <>
      <div className={styles.form}>
        <div className={styles.grow}>
          <FilterInput value={search} onChange={setSearch} placeholder={text('searchLibrary')} escapeRegex={false} />
        </div>
        {mayEdit && (
          <Button icon="plus" onClick={() => setMaking(true)}>
            {text('newLibrary')}
          </Button>
        )}
      </div>
      <Shown loaded={loaded}>
        {(list) =>
          list.length === 0 ? (
            <EmptyState variant="call-to-action" hideImage message={text('noLibrary')} />
          ) : (
            <ul className={styles.list}>
              {list.map((p) => (
                <LibraryRow key={p.uid} panel={p} onChanged={loaded.reload} />
              ))}
            </ul>
          )
        }
      </Shown>
      {making && <NewLibraryPanel folder={folder ?? ''} onClose={() => setMaking(false)} onDone={loaded.reload} />}
    </>
  );
}

function LibraryRow({ panel, onChanged }: { panel: LibraryPanel; onChanged: () => void }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [open, setOpen] = useState(false);
  const [dialog, setDialog] = useState('');
  const n = panel.meta.connectedDashboards;
  const done = { onClose: () => setDialog(''), onDone: onChanged };
  return (
    <li>
      <Icon name="cube" />
      <div className={styles.grow}>
        <strong>{panel.name}</strong> {panel.description}
        <br />
        <small>
          {text('type', { type: panel.type })} · {panel.folderUid === '' ? text('top') : panel.meta.folderName} · {n === 0 ? text('unused') : text('usedBy', { n })}
        </small>
      </div>
      <Button size="sm" variant="secondary" fill="text" icon={open ? 'angle-down' : 'angle-right'} aria-expanded={open} onClick={() => setOpen(!open)}>
        {text('connected')}
      </Button>
      <Button size="sm" variant="secondary" icon="plus" onClick={() => setDialog('use')}>
        {text('use')}
      </Button>
      {panel.meta.canEdit && (
        <>
          <Button size="sm" variant="secondary" icon="pen" onClick={() => setDialog('edit')}>
            {text('edit')}
          </Button>
          <Button size="sm" variant="secondary" icon="trash-alt" onClick={() => setDialog('delete')}>
            {text('delete')}
          </Button>
        </>
      )}
      {open && <Connections panel={panel} onChanged={onChanged} />}
      {dialog === 'use' && <Use panel={panel} onClose={done.onClose} />}
      {dialog === 'edit' && <EditPanel panel={panel} {...done} />}
      {dialog === 'delete' && (
        <Act title={text('deleteLibrary', { name: panel.name })} action={text('delete')} destructive ready={n === 0} act={() => deleteLibraryPanel(panel.uid)} {...done}>
          <p>{text(n === 0 ? 'deleteLibrarySure' : 'stillUsed')}</p>
        </Act>
      )}
    </li>
  );
}

function Connections({ panel, onChanged }: { panel: LibraryPanel; onChanged: () => void }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const loaded = useLoad(`connections-${panel.uid}-${panel.meta.connectedDashboards}`, (signal) => fetchConnections(panel.uid, signal));
  const [from, setFrom] = useState<Hit | null>(null);
  const act = async (board: Hit) => {
    const now = await fetchBoardModel(board.uid);
    await saveModel(unlink(now.board, panel.uid), now.folderUid, text('unlinked', { name: panel.name }));
  };
  return (
    <div style={{ flexBasis: '100%' }}>
      <Shown loaded={loaded}>
        {(list) =>
          list.length === 0 ? (
            <p className={styles.note}>{text('noConnected')}</p>
          ) : (
            <ul className={styles.list} aria-label={text('connected')}>
              {list.map((b) => (
                <li key={b.uid}>
                  <Link className={styles.grow} to={`/d/${b.uid}`}>
                    {b.title}
                  </Link>
                  {panel.meta.canEdit && (
                    <Button size="sm" variant="secondary" onClick={() => setFrom(b)}>
                      {text('unlink')}
                    </Button>
                  )}
                </li>
              ))}
            </ul>
          )
        }
      </Shown>
      {from && (
        <Act title={text('unlink')} action={text('unlink')} act={() => act(from)} onClose={() => setFrom(null)} onDone={onChanged}>
          <p>{text('unlinkSure', { title: from.title })}</p>
        </Act>
      )}
    </div>
  );
}

function BoardSelect({ value, onChange }: { value: string; onChange: (uid: string) => void }) {
  const text = useFolderTexts();
  const boards = useLoad('library-boards', (signal) => searchBoards('', [], signal));
  const options = (boards.value ?? []).map((b) => ({ value: b.uid, label: b.folderTitle ? `${b.folderTitle} / ${b.title}` : b.title }));
  return <Select aria-label={text('chooseBoard')} placeholder={text('chooseBoard')} value={value === '' ? null : value} options={options} isLoading={boards.loading} onChange={(v) => onChange(v.value ?? '')} />;
}

/** Use opens a board with the library panel on it, which is not saved yet. */
function Use({ panel, onClose }: { panel: LibraryPanel; onClose: () => void }) {
  const text = useFolderTexts();
  const navigate = useNavigate();
  const [uid, setUid] = useState('');
  const open = () => {
    void navigate(`/d/${uid}`, { state: { addPanel: { ...panel.model, libraryPanel: { uid: panel.uid, name: panel.name } } } });
    return Promise.resolve();
  };
  return (
    <Act title={text('use')} action={text('use')} ready={uid !== ''} act={open} onDone={() => undefined} onClose={onClose}>
      <BoardSelect value={uid} onChange={setUid} />
    </Act>
  );
}

interface DialogProps {
  onClose: () => void;
  onDone: () => void;
}

/** NewLibraryPanel takes a panel of a board into the library; the board shows it from there then. */
function NewLibraryPanel({ folder, ...more }: DialogProps & { folder: string }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [uid, setUid] = useState('');
  const [id, setId] = useState<number | null>(null);
  const [name, setName] = useState('');
  const [into, setInto] = useState(folder);
  const board = useLoad(`library-board-${uid}`, (signal) => (uid === '' ? Promise.resolve(null) : fetchBoardModel(uid, signal)));
  const panels = panelsOf(board.value?.board ?? {}).filter((p) => typeof p.id === 'number' && libraryUid(p) === '');
  const act = async () => {
    const panel = panels.find((p) => p.id === id);
    if (!board.value || !panel || id === null) {
      return;
    }
    const made = await createLibraryPanel(name.trim(), into, modelOf(panel));
    try {
      await saveModel(link(board.value.board, id, made.uid, made.name), board.value.folderUid, text('linked', { name: made.name }));
    } catch (err) {
      await deleteLibraryPanel(made.uid); // nothing half done
      throw err;
    }
  };
  return (
    <Act title={text('newLibrary')} action={text('save')} ready={id !== null && name.trim() !== ''} act={act} {...more}>
      <div className={styles.field}>
        <span>{text('chooseBoard')}</span>
        <BoardSelect value={uid} onChange={(v) => (setUid(v), setId(null))} />
      </div>
      {board.error && <Alert severity="error" title={board.error.message} />}
      {uid !== '' && board.value && panels.length === 0 && <p>{text('noPanels')}</p>}
      {panels.length > 0 && (
        <div className={styles.field}>
          <span>{text('choosePanel')}</span>
          <Select
            aria-label={text('choosePanel')} placeholder={text('choosePanel')} value={id}
            options={panels.map((p) => ({ value: p.id as number, label: `${String(p.title ?? '') || String(p.id)} (${String(p.type ?? '')})` }))}
            onChange={(v) => (setId(v.value ?? null), name === '' && setName(String(panels.find((p) => p.id === v.value)?.title ?? '')))}
          />
        </div>
      )}
      <label className={styles.field}>
        <span>{text('name')}</span>
        <Input value={name} onChange={(e) => setName(e.currentTarget.value)} />
      </label>
      <div className={styles.field}>
        <span>{text('into')}</span>
        <FolderSelect label={text('into')} value={into} onChange={setInto} />
      </div>
    </Act>
  );
}

function EditPanel({ panel, ...more }: DialogProps & { panel: LibraryPanel }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [name, setName] = useState(panel.name);
  const [into, setInto] = useState(panel.folderUid);
  const [json, setJson] = useState(() => JSON.stringify(panel.model, null, 2));
  const act = async () => {
    let model: unknown;
    try {
      model = JSON.parse(json);
    } catch (err) {
      throw new Error(text('badJson', { error: err instanceof Error ? err.message : String(err) }), { cause: err });
    }
    if (typeof model !== 'object' || model === null || Array.isArray(model)) {
      throw new Error(text('badJson', { error: '{}' }));
    }
    await changeLibraryPanel(panel, { name: name.trim(), folderUid: into, model: model as Record<string, unknown> });
  };
  return (
    <Act title={panel.name} action={text('save')} ready={name.trim() !== ''} act={act} {...more}>
      <label className={styles.field}>
        <span>{text('name')}</span>
        <Input autoFocus value={name} onChange={(e) => setName(e.currentTarget.value)} />
      </label>
      <div className={styles.field}>
        <span>{text('into')}</span>
        <FolderSelect label={text('into')} value={into} onChange={setInto} />
      </div>
      <label className={styles.field}>
        <span>{text('json')}</span>
        <TextArea rows={14} spellCheck={false} style={{ fontFamily: 'monospace' }} value={json} onChange={(e) => setJson(e.currentTarget.value)} />
      </label>
    </Act>
  );
}
