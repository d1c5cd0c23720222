/** A folder: what is in it, its library panels, who may do what; and the tree of all folders at the top. */
import { useContext, useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { countInside, createFolder, deleteFolder, fetchAllFolders, fetchFolder, fetchInside, moveBoard, moveFolder, renameFolder, type Folder, type Hit } from '../data/folders_api';
import { ApiError } from '../data/http';
import { Button, EmptyState, Icon, IconButton, Input, LoadingPlaceholder, Tab, TabsBar, TextArea, useStyles2 } from '../ui';
import { useLoad, type Loaded } from '../ui/hooks';
import { Act, FolderSelect, getStyles, paths, Shown } from './folder_parts';
import { useFolderTexts } from './folder_texts';
import { LibraryList } from './library_list';
import { PermissionList } from './permissions';
import { SessionContext } from './session';
import { Shell } from './shell';

const TABS = ['contents', 'library', 'permissions'] as const;

export default function FoldersPage() {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const mayEdit = ['Admin', 'Editor'].includes(useContext(SessionContext)?.user.orgRole ?? '');
  const folders = useLoad('folders', (signal) => fetchAllFolders(false, signal));
  const [making, setMaking] = useState(false);
  return (
    <Shell crumbs={[{ text: text('home'), to: '/' }, { text: text('boards'), to: '/dashboards' }, { text: text('folders') }]}>
      <div className={styles.page}>
        <div className={styles.head}>
          <h1>{text('folders')}</h1>
          {mayEdit && (
            <Button icon="plus" onClick={() => setMaking(true)}>
              {text('newFolder')}
            </Button>
          )}
        </div>
        <Shown loaded={folders}>
          {(list) =>
            list.length === 0 ? (
              <EmptyState variant="call-to-action" hideImage message={text('folderEmpty')} />
            ) : (
              <ul className={styles.list}>
                {paths(list).map((f) => {
                  const parts = f.path.split(' / ');
                  return (
                    <li key={f.uid} style={{ paddingLeft: 16 + 24 * depthOf(list, f.uid) }}>
                      <Icon name="folder" />
                      <Link to={`/dashboards/f/${f.uid}`}>{list.find((x) => x.uid === f.uid)?.title ?? parts[parts.length - 1]}</Link>
                    </li>
                  );
                })}
              </ul>
            )
          }
        </Shown>
        {making && <NewFolder parent="" onClose={() => setMaking(false)} onDone={folders.reload} />}
      </div>
    </Shell>
  );
}

function depthOf(folders: readonly Hit[], uid: string): number {
  const up = folders.find((f) => f.uid === uid)?.folderUid;
  return up !== undefined && folders.some((f) => f.uid === up) ? 1 + depthOf(folders, up) : 0;
}

export function FolderPage() {
  const text = useFolderTexts();
  const { uid = '' } = useParams();
  const folder = useLoad(`folder-${uid}`, (signal) => fetchFolder(uid, signal));
  const f = folder.value?.uid === uid ? folder.value : null;
  const crumbs = [
    { text: text('boards'), to: '/dashboards' }, { text: text('folders'), to: '/dashboards/folders' },
    ...(f?.parents ?? []).map((p) => ({ text: p.title, to: `/dashboards/f/${p.uid}` })), { text: f?.title ?? uid },
  ];
  const hidden = folder.error instanceof ApiError && [403, 404].includes(folder.error.status);
  return (
    <Shell crumbs={crumbs}>
      {hidden && !folder.loading ? <EmptyState variant="not-found" hideImage message={text('notFound')} /> : <Shown loaded={{ ...folder, value: f }}>{(value) => <FolderView key={value.uid} folder={value} reload={folder.reload} />}</Shown>}
    </Shell>
  );
}

function FolderView({ folder, reload }: { folder: Folder; reload: () => void }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const [tab, setTab] = useState<(typeof TABS)[number]>('contents');
  const [dialog, setDialog] = useState('');
  const inside = useLoad(`inside-${folder.uid}`, (signal) => fetchInside(folder.uid, signal));
  const close = () => setDialog('');
  return (
    <div className={styles.page}>
      <div className={styles.head}>
        <h1>{folder.title}</h1>
        {folder.canEdit && (
          <>
            <Button icon="plus" onClick={() => setDialog('new')}>
              {text('newInside')}
            </Button>
            <Button variant="secondary" icon="pen" onClick={() => setDialog('rename')}>
              {text('rename')}
            </Button>
            <Button variant="secondary" icon="folder" onClick={() => setDialog('move')}>
              {text('move')}
            </Button>
          </>
        )}
        {folder.canDelete && (
          <Button variant="secondary" icon="trash-alt" onClick={() => setDialog('delete')}>
            {text('delete')}
          </Button>
        )}
      </div>
      {folder.description && <p className={styles.note}>{folder.description}</p>}
      <TabsBar>
        {TABS.map((name) => (
          <Tab key={name} label={text(name)} active={tab === name} onChangeTab={() => setTab(name)} />
        ))}
      </TabsBar>
      {tab === 'contents' && <Contents inside={inside} canEdit={folder.canEdit} />}
      {tab === 'library' && <LibraryList folder={folder.uid} />}
      {tab === 'permissions' && <PermissionList resource="folders" uid={folder.uid} mayChange={folder.canAdmin} />}
      {dialog === 'new' && <NewFolder parent={folder.uid} onClose={close} onDone={inside.reload} />}
      {dialog === 'rename' && <Rename folder={folder} onClose={close} onDone={reload} />}
      {dialog === 'move' && <Move title={folder.title} from={folder.parentUid ?? ''} without={folder.uid} move={(to) => moveFolder(folder.uid, to)} onClose={close} onDone={reload} />}
      {dialog === 'delete' && <Delete folder={folder} onClose={close} onDone={() => void navigate(folder.parentUid ? `/dashboards/f/${folder.parentUid}` : '/dashboards/folders')} />}
    </div>
  );
}

function Contents({ inside, canEdit }: { inside: Loaded<Hit[]>; canEdit: boolean }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [moving, setMoving] = useState<Hit | null>(null);
  return (
    <Shown loaded={inside}>
      {(list) => (
        <>
          {list.length === 0 && <EmptyState variant="call-to-action" hideImage message={text('empty')} />}
          {list.length > 0 && (
            <ul className={styles.list}>
              {list.map((h) => (
                <li key={h.uid}>
                  <Icon name={h.type === 'dash-folder' ? 'folder' : 'apps'} />
                  <Link className={styles.grow} to={h.type === 'dash-folder' ? `/dashboards/f/${h.uid}` : `/d/${h.uid}`}>
                    {h.title}
                  </Link>
                  {h.type === 'dash-db' && canEdit && (
                    <>
                      <Link to={`/dashboard/permissions/${h.uid}`}>{text('permissions')}</Link>
                      <IconButton name="folder" aria-label={text('moveTitle', { title: h.title })} tooltip={text('move')} onClick={() => setMoving(h)} />
                    </>
                  )}
                </li>
              ))}
            </ul>
          )}
          {moving && <Move title={moving.title} from={moving.folderUid ?? ''} move={(to) => moveBoard(moving.uid, to, text('moved'))} onClose={() => setMoving(null)} onDone={inside.reload} />}
        </>
      )}
    </Shown>
  );
}

interface DialogProps {
  onClose: () => void;
  onDone: () => void;
}

function NewFolder({ parent, ...more }: DialogProps & { parent: string }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [title, setTitle] = useState('');
  return (
    <Act title={text('newFolder')} action={text('save')} ready={title.trim() !== ''} act={() => createFolder(title.trim(), parent)} {...more}>
      <label className={styles.field}>
        <span>{text('name')}</span>
        <Input autoFocus value={title} maxLength={255} onChange={(e) => setTitle(e.currentTarget.value)} />
      </label>
    </Act>
  );
}

function Rename({ folder, ...more }: DialogProps & { folder: Folder }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [title, setTitle] = useState(folder.title);
  const [description, setDescription] = useState(folder.description ?? '');
  return (
    <Act title={text('rename')} action={text('save')} ready={title.trim() !== ''} act={() => renameFolder(folder, title.trim(), description)} {...more}>
      <label className={styles.field}>
        <span>{text('name')}</span>
        <Input autoFocus value={title} maxLength={255} onChange={(e) => setTitle(e.currentTarget.value)} />
      </label>
      <label className={styles.field}>
        <span>{text('description')}</span>
        <TextArea rows={3} value={description} onChange={(e) => setDescription(e.currentTarget.value)} />
      </label>
    </Act>
  );
}

function Move({ title, from, without, move, ...more }: DialogProps & { title: string; from: string; without?: string; move: (to: string) => Promise<unknown> }) {
  const text = useFolderTexts();
  const [to, setTo] = useState(from);
  return (
    <Act title={text('moveTitle', { title })} action={text('move')} ready={to !== from} act={() => move(to)} {...more}>
      <FolderSelect label={text('into')} value={to} without={without} onChange={setTo} />
    </Act>
  );
}

function Delete({ folder, ...more }: DialogProps & { folder: Folder }) {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  const [typed, setTyped] = useState('');
  const counts = useLoad(`counts-${folder.uid}`, (signal) => countInside(folder.uid, signal));
  const c = counts.value;
  const nothing = c !== null && c.folder + c.dashboard + c.librarypanel + c.alertrule === 0;
  return (
    <Act title={text('deleteTitle', { title: folder.title })} action={text('delete')} destructive ready={nothing || (c !== null && typed === folder.title)} act={() => deleteFolder(folder.uid)} {...more}>
      {!c && !counts.error && <LoadingPlaceholder text={text('counting')} />}
      {counts.error && <Shown loaded={counts}>{() => null}</Shown>}
      {nothing && <p>{text('empty')}</p>}
      {c && !nothing && (
        <>
          <p>{text('deleteSure', { folders: c.folder, boards: c.dashboard, panels: c.librarypanel, rules: c.alertrule })}</p>
          <label className={styles.field}>
            <span>{text('typeTitle')}</span>
            <Input autoFocus value={typed} placeholder={folder.title} onChange={(e) => setTyped(e.currentTarget.value)} />
          </label>
        </>
      )}
    </Act>
  );
}
