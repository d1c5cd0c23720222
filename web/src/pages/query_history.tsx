/** The queries a person ran: found again, starred, commented, run again. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState } from 'react';
import type { DataSource } from '../board/datasource';
import { commentQuery, fetchHistory, forgetQuery, starQuery, type PastQuery } from '../data/history_api';
import { Alert, Button, Drawer, FilterInput, IconButton, Input, LoadingPlaceholder, useLanguage, useStyles2 } from '../ui';
import { useLoad } from '../ui/hooks';
import { useExploreTexts } from './explore_texts';

interface Props {
  source: DataSource | undefined;
  sources: readonly DataSource[];
  onUse: (past: PastQuery) => void;
  onClose: () => void;
}

const PAGE = 50;

export default function QueryHistory({ source, sources, onUse, onClose }: Props) {
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  const [text, setText] = useState('');
  const [starred, setStarred] = useState(false);
  const [here, setHere] = useState(true);
  const [limit, setLimit] = useState(PAGE);
  const [problem, setProblem] = useState('');
  const sourceUid = here ? (source?.uid ?? '') : '';
  const found = useLoad(`history ${text} ${starred} ${sourceUid} ${limit}`, (signal) => fetchHistory({ text, starred, sourceUid, limit }, signal));
  const attempt = (work: Promise<unknown>) => void work.then(found.reload, (err: unknown) => setProblem(err instanceof Error ? err.message : String(err)));
  const list = found.value?.list ?? [];
  return (
    <Drawer title={x('historyOf')} onClose={onClose} size="md">
      <div className={styles.tools}>
        <FilterInput value={text} onChange={setText} placeholder={x('searchHistory')} aria-label={x('searchHistory')} />
        <Check label={x('thisSource')} on={here} onChange={setHere} />
        <Check label={x('starred')} on={starred} onChange={setStarred} />
      </div>
      {(problem !== '' || found.error) && <Alert severity="error" title={problem || String(found.error?.message)} buttonContent={x('retry')} onRemove={() => (setProblem(''), found.reload())} />}
      {!found.value && !found.error && <LoadingPlaceholder text={x('loading')} />}
      {found.value && list.length === 0 && <p>{x('noHistory')}</p>}
      <ul className={styles.list}>
        {list.map((q) => (
          <Entry key={q.uid} past={q} sourceName={here ? '' : (sources.find((s) => s.uid === q.datasourceUid)?.name ?? q.datasourceUid)} onUse={() => onUse(q)} attempt={attempt} />
        ))}
      </ul>
      {found.value && found.value.total > list.length && (
        <Button variant="secondary" onClick={() => setLimit(limit + PAGE)}>
          {x('more')}
        </Button>
      )}
    </Drawer>
  );
}

function Check({ label, on, onChange }: { label: string; on: boolean; onChange: (on: boolean) => void }) {
  return (
    <label style={{ display: 'flex', gap: 4, alignItems: 'center', whiteSpace: 'nowrap' }}>
      <input type="checkbox" checked={on} onChange={(e) => onChange(e.currentTarget.checked)} /> {label}
    </label>
  );
}

function Entry({ past, sourceName, onUse, attempt }: { past: PastQuery; sourceName: string; onUse: () => void; attempt: (work: Promise<unknown>) => void }) {
  const x = useExploreTexts();
  const { language } = useLanguage();
  const styles = useStyles2(getStyles);
  const exprs = past.queries.map((q) => q.expr ?? '').filter((e) => e !== '');
  return (
    <li data-testid="past-query">
      <div className={styles.line}>
        <div className={styles.text}>
          {exprs.map((e, i) => (
            <code key={i}>{e}</code>
          ))}
        </div>
        <Button size="sm" variant="secondary" icon="play" aria-label={`${x('run')}: ${exprs[0] ?? ''}`} onClick={onUse}>
          {x('run')}
        </Button>
        <IconButton name={past.starred ? 'favorite' : 'star'} iconType={past.starred ? 'mono' : 'default'} aria-pressed={past.starred} tooltip={x(past.starred ? 'unstar' : 'star')} onClick={() => attempt(starQuery(past.uid, !past.starred))} />
        <IconButton name="trash-alt" tooltip={x('remove')} onClick={() => attempt(forgetQuery(past.uid))} />
      </div>
      <div className={styles.line}>
        <small>
          {new Date(past.createdAt * 1000).toLocaleString(language)} {sourceName}
        </small>
        <Input
          width={34} aria-label={`${x('comment')}: ${exprs[0] ?? ''}`} placeholder={x('comment')} defaultValue={past.comment} maxLength={500}
          onBlur={(e) => e.currentTarget.value !== past.comment && attempt(commentQuery(past.uid, e.currentTarget.value))}
        />
      </div>
    </li>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  tools: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1, 2), alignItems: 'center', '& > div': { flex: 1, minWidth: 200 } }),
  list: css({ listStyle: 'none', margin: theme.spacing(2, 0), '& > li': { borderBottom: `1px solid ${theme.colors.border.weak}`, padding: theme.spacing(1, 0), display: 'flex', flexDirection: 'column', gap: theme.spacing(0.5) } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', '& small': { flex: 1, color: theme.colors.text.secondary } }),
  text: css({ flex: 1, minWidth: 200, '& code': { display: 'block', background: 'none', border: 'none', padding: 0, wordBreak: 'break-word', whiteSpace: 'pre-wrap', color: theme.colors.text.maxContrast } }),
});
