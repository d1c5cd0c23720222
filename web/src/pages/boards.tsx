/** The list of boards, with search and tags. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useContext, useMemo, useState } from 'react';
import { Link, useNavigate, useSearchParams } from 'react-router';
import { filterBoards, searchBoards } from '../data/api';
import { Alert, Button, EmptyState, FilterInput, Icon, LoadingPlaceholder, Select, TagList, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { useFolderTexts } from './folder_texts';
import { SessionContext } from './session';
import { Shell } from './shell';

export default function BoardsPage() {
  const t = useT();
  const styles = useStyles2(getStyles);
  const [params, setParams] = useSearchParams();
  const [starredOnly, setStarredOnly] = useState(false);
  const [folder, setFolder] = useState('');
  const query = params.get('query') ?? '';
  const tags = params.getAll('tag');
  const all = useLoad('boards', (signal) => searchBoards('', [], signal));
  const folders = useMemo(() => [...new Set((all.value ?? []).map((b) => b.folderTitle ?? '').filter((f) => f !== ''))].sort(), [all.value]);
  const hits = useMemo(
    () => filterBoards(all.value ?? [], query, tags).filter((b) => (!starredOnly || b.isStarred) && (folder === '' || b.folderTitle === folder)),
    [all.value, query, tags, starredOnly, folder]
  );
  const update = (next: { query?: string; tags?: string[] }) => {
    const p = new URLSearchParams();
    const q = next.query ?? query;
    if (q !== '') {
      p.set('query', q);
    }
    (next.tags ?? tags).forEach((tag) => p.append('tag', tag));
    setParams(p, { replace: true });
  };
  const toggleTag = (tag: string) => update({ tags: tags.includes(tag) ? tags.filter((x) => x !== tag) : [...tags, tag] });
  return (
    <Shell crumbs={[{ text: t('nav.home'), to: '/' }, { text: t('boards.title') }]}>
      <div className={styles.page}>
        <Head />
        <div className={styles.search}>
          <FilterInput value={query} onChange={(v) => update({ query: v })} placeholder={t('boards.search')} escapeRegex={false} />
          {folders.length > 0 && (
            <Select
              aria-label={t('edit.folder')} width={24} value={folder} onChange={(v) => setFolder(v.value ?? '')}
              options={[{ value: '', label: t('boards.allFolders') }, ...folders.map((f) => ({ value: f, label: f }))]}
            />
          )}
          <Button variant="secondary" fill={starredOnly ? 'solid' : 'outline'} icon="star" aria-pressed={starredOnly} onClick={() => setStarredOnly(!starredOnly)}>
            {t('boards.starred')}
          </Button>
          {tags.length > 0 && (
            <>
              <TagList tags={tags} onClick={toggleTag} />
              <Button variant="secondary" fill="text" icon="times" onClick={() => update({ tags: [] })}>
                {t('boards.clearTags')}
              </Button>
            </>
          )}
        </div>
        {all.error && (
          <Alert severity="error" title={all.error.message} buttonContent={t('common.retry')} onRemove={all.reload} />
        )}
        {!all.value && all.loading && <LoadingPlaceholder text={t('common.loading')} />}
        {all.value && hits.length === 0 && <EmptyState variant="not-found" hideImage message={t(all.value.length === 0 ? 'boards.empty' : 'boards.none')} />}
        {hits.length > 0 && (
          <>
            <p className={styles.count} aria-live="polite">
              {t(hits.length === 1 ? 'boards.countOne' : 'boards.count', { n: hits.length })}
            </p>
            <ul className={styles.list}>
              {hits.map((b) => (
                <li key={b.uid}>
                  <Icon name={b.isStarred ? 'favorite' : 'apps'} />
                  <Link to={`/d/${b.uid}`}>{b.title}</Link>
                  {b.folderTitle && (
                    <Link to={`/dashboards/f/${b.folderUid}`} className={styles.folder}>
                      {b.folderTitle}
                    </Link>
                  )}
                  <TagList tags={b.tags} onClick={toggleTag} className={styles.tags} />
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </Shell>
  );
}

function Head() {
  const t = useT();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const text = useFolderTexts();
  const role = useContext(SessionContext)?.user.orgRole;
  return (
    <div className={styles.head}>
      <h1>{t('boards.title')}</h1>
      <Button variant="secondary" fill="text" icon="folder" onClick={() => void navigate('/dashboards/folders')}>
        {text('folders')}
      </Button>
      <Button variant="secondary" fill="text" icon="cube" onClick={() => void navigate('/library-panels')}>
        {text('library')}
      </Button>
      {(role === 'Admin' || role === 'Editor') && (
        <>
          <Button icon="plus" onClick={() => void navigate('/dashboard/new')}>
            {t('edit.newBoard')}
          </Button>
          <Button variant="secondary" icon="upload" onClick={() => void navigate('/dashboard/import')}>
            {t('import.title')}
          </Button>
        </>
      )}
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ padding: theme.spacing(3), maxWidth: 1100, margin: '0 auto' }),
  head: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1), '& h1': { flex: 1, margin: 0 } }),
  search: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', margin: theme.spacing(2, 0), '& > :first-child': { flex: 1 } }),
  count: css({ color: theme.colors.text.secondary }),
  list: css({
    listStyle: 'none', background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default,
    '& > li': { display: 'flex', alignItems: 'center', gap: theme.spacing(1), padding: theme.spacing(1, 2), borderBottom: `1px solid ${theme.colors.border.weak}` },
    '& > li:last-child': { borderBottom: 'none' },
    '& > li:hover': { background: theme.colors.action.hover },
  }),
  folder: css({ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }),
  tags: css({ flex: 1, justifyContent: 'flex-end' }),
});
