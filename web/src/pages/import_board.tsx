/** Import of a board: a file dropped or chosen, pasted JSON, a number of grafana.com, or an address; then where it goes and what it reads from. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState, type DragEvent } from 'react';
import { useNavigate } from 'react-router';
import { migrateBoard } from '../board/migrate';
import type { DataSource } from '../board/datasource';
import { fetchDataSources } from '../data/api';
import { fetchCatalogue, fetchFolders, fetchFromGrafanaCom, fetchFromUrl, importBoard, type FolderHit, type ImportInput } from '../data/boards_api';
import { Alert, Button, InlineField, Input, LoadingPlaceholder, Select, TextArea, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { Shell } from './shell';

type Json = Record<string, unknown>;

/** readImport parses text and makes sure that it is a board; it throws an error with the reason. */
export function readImport(value: unknown): Json {
  migrateBoard(value);
  const object = value as Json;
  return typeof object.dashboard === 'object' && object.dashboard !== null && object.panels === undefined ? (object.dashboard as Json) : object;
}

/** inputsOf lists what an exported board asks for. */
export function inputsOf(board: Json): ImportInput[] {
  const list = Array.isArray(board.__inputs) ? (board.__inputs as Json[]) : [];
  return list.map((i) => ({ name: String(i.name ?? ''), type: String(i.type ?? ''), pluginId: String(i.pluginId ?? ''), value: String(i.value ?? '') }));
}

export default function ImportPage() {
  const t = useT();
  const styles = useStyles2(getStyles);
  const [board, setBoard] = useState<Json | null>(null);
  const [problem, setProblem] = useState('');
  const take = (work: Promise<unknown>) =>
    void work.then((v) => setBoard(readImport(v))).then(() => setProblem(''), (err: unknown) => setProblem(err instanceof Error ? err.message : String(err)));
  return (
    <Shell crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('boards.title'), to: '/dashboards' }, { text: t('import.title') }]}>
      <div className={styles.page}>
        <h1>{t('import.title')}</h1>
        {problem !== '' && <Alert severity="error" title={problem} />}
        {board ? <Target board={board} onBack={() => setBoard(null)} /> : <SourceForm take={take} />}
      </div>
    </Shell>
  );
}

function SourceForm({ take }: { take: (work: Promise<unknown>) => void }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const catalogue = useLoad('catalogue', fetchCatalogue);
  const [id, setId] = useState('');
  const [url, setUrl] = useState('');
  const [text, setText] = useState('');
  const readFile = (file: File | undefined) => file && take(file.text().then((s) => JSON.parse(s) as unknown));
  const drop = (e: DragEvent) => {
    e.preventDefault();
    readFile(e.dataTransfer.files[0]);
  };
  return (
    <>
      <label className={styles.drop} onDragOver={(e) => e.preventDefault()} onDrop={drop}>
        {t('import.drop')}
        <input type="file" accept="application/json,.json" onChange={(e) => readFile(e.currentTarget.files?.[0])} />
      </label>
      <form className={styles.line} onSubmit={(e) => (e.preventDefault(), take(fetchFromGrafanaCom(/\d+/.exec(id)?.[0] ?? id)))}>
        <InlineField label={t('import.number')} labelWidth={24} grow>
          <Input value={id} placeholder="13548" onChange={(e) => setId(e.currentTarget.value)} />
        </InlineField>
        <Button type="submit" disabled={id.trim() === ''}>
          {t('import.load')}
        </Button>
      </form>
      <form className={styles.line} onSubmit={(e) => (e.preventDefault(), take(fetchFromUrl(url)))}>
        <InlineField label={t('import.url')} labelWidth={24} grow>
          <Input value={url} placeholder="https://" onChange={(e) => setUrl(e.currentTarget.value)} />
        </InlineField>
        <Button type="submit" disabled={url.trim() === ''}>
          {t('import.load')}
        </Button>
      </form>
      <TextArea rows={8} spellCheck={false} aria-label={t('import.paste')} placeholder={t('import.paste')} value={text} onChange={(e) => setText(e.currentTarget.value)} />
      <Button style={{ alignSelf: 'flex-start' }} disabled={text.trim() === ''} onClick={() => take(Promise.resolve().then(() => JSON.parse(text) as unknown))}>
        {t('import.load')}
      </Button>
      <h2>{t('import.catalogue')}</h2>
      {catalogue.error && <Alert severity="error" title={catalogue.error.message} buttonContent={t('common.retry')} onRemove={catalogue.reload} />}
      {!catalogue.value && !catalogue.error && <LoadingPlaceholder text={t('common.loading')} />}
      <ul className={styles.list}>
        {(catalogue.value ?? []).map((b) => (
          <li key={b.id}>
            <div>
              <strong>{b.title}</strong> <small>{b.id}</small>
              <p>{b.description}</p>
            </div>
            <Button size="sm" variant="secondary" onClick={() => take(fetchFromGrafanaCom(String(b.id)))} aria-label={`${t('import.load')}: ${b.title}`}>
              {t('import.load')}
            </Button>
          </li>
        ))}
      </ul>
    </>
  );
}

function Target({ board, onBack }: { board: Json; onBack: () => void }) {
  const t = useT();
  const lists = useLoad('import-target', (signal) => Promise.all([fetchDataSources(signal), fetchFolders(signal)]));
  if (!lists.value) {
    return lists.error ? <Alert severity="error" title={lists.error.message} buttonContent={t('common.retry')} onRemove={lists.reload} /> : <LoadingPlaceholder text={t('common.loading')} />;
  }
  return <TargetForm board={board} sources={lists.value[0]} folders={lists.value[1]} onBack={onBack} />;
}

function TargetForm({ board, sources, folders, onBack }: { board: Json; sources: DataSource[]; folders: FolderHit[]; onBack: () => void }) {
  const t = useT();
  const navigate = useNavigate();
  const [title, setTitle] = useState(String(board.title ?? ''));
  const [folder, setFolder] = useState('');
  const first = (sources.find((s) => s.isDefault) ?? sources[0])?.uid ?? '';
  const [inputs, setInputs] = useState(() => inputsOf(board).map((i) => (i.type === 'datasource' ? { ...i, value: first } : i)));
  const [problem, setProblem] = useState('');
  const [exists, setExists] = useState(false);
  const set = (name: string, value: string) => setInputs(inputs.map((i) => (i.name === name ? { ...i, value } : i)));
  const run = (overwrite: boolean) =>
    void importBoard({ ...board, title }, folder, inputs, overwrite).then(
      (url) => navigate(url),
      (err: unknown) => {
        setProblem(err instanceof Error ? err.message : String(err));
        setExists((err as { status?: number }).status === 412);
      }
    );
  return (
    <>
      {problem !== '' && <Alert severity="error" title={exists ? t('import.exists') : problem} />}
      <InlineField label={t('edit.name')} labelWidth={24} grow>
        <Input value={title} onChange={(e) => setTitle(e.currentTarget.value)} />
      </InlineField>
      <InlineField label={t('edit.folder')} labelWidth={24} grow>
        <Select aria-label={t('edit.folder')} options={[{ value: '', label: t('edit.noFolder') }, ...folders.map((f) => ({ value: f.uid, label: f.title }))]} value={folder} onChange={(v) => setFolder(v.value ?? '')} />
      </InlineField>
      {inputs.map((i) => (
        <InlineField key={i.name} label={i.name} labelWidth={24} grow>
          {i.type === 'datasource' ? (
            <Select aria-label={i.name} options={sources.map((s) => ({ value: s.uid, label: s.name }))} value={i.value} onChange={(v) => set(i.name, v.value ?? '')} />
          ) : (
            <Input value={i.value} onChange={(e) => set(i.name, e.currentTarget.value)} />
          )}
        </InlineField>
      ))}
      <Button onClick={() => run(exists)} variant={exists ? 'destructive' : 'primary'} disabled={title.trim() === ''}>
        {t(exists ? 'import.overwrite' : 'import.import')}
      </Button>{' '}
      <Button variant="secondary" onClick={onBack}>
        {t('import.back')}
      </Button>
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(3), maxWidth: 900, margin: '0 auto', display: 'flex', flexDirection: 'column', gap: theme.spacing(1), alignItems: 'stretch' }),
  drop: css({ border: `2px dashed ${theme.colors.border.medium}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(3), textAlign: 'center', '&:focus-within': { outline: `2px solid ${theme.colors.primary.border}` }, '& input': { display: 'block', margin: `${theme.spacing(1)} auto 0` } }),
  line: css({ display: 'flex', gap: theme.spacing(1), alignItems: 'flex-start' }),
  list: css({
    listStyle: 'none', '& li': { display: 'flex', justifyContent: 'space-between', alignItems: 'center', gap: theme.spacing(2), padding: theme.spacing(1, 0), borderBottom: `1px solid ${theme.colors.border.weak}` },
    '& p, & small': { color: theme.colors.text.secondary, margin: 0 },
  }),
});
