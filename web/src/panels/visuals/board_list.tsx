/** Dashboard list: boards by tag, name or star, as links that keep the range and the variables when asked. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { Link } from 'react-router';
import { queryParam } from '../../board/interpolate';
import { numberOr } from '../options';
import { str, strings } from '../../board/json';
import { searchBoards, type BoardHit } from '../../data/api';
import { Button, TagList, useStyles2, useT } from '../../ui';
import { useLoad } from '../../ui/hooks';
import { useBoardContext } from '../context';
import { Sentence } from './sentence';
import type { VisualProps } from './types';

export default function BoardListVisual(p: VisualProps) {
  const t = useT();
  const ctx = useBoardContext();
  const styles = useStyles2(getStyles);
  const o = p.panel.options;
  const [tags, query, starred] = [strings(o.tags), p.replace(str(o.query)), o.showStarred !== false];
  const search = o.showSearch === true;
  const loaded = useLoad(`boards-${query}-${tags.join()}-${search}-${starred}`, async (signal) => {
    const [found, stars] = await Promise.all([search ? searchBoards(query, tags, signal) : [], starred ? searchBoards('', [], signal, { starred: true }) : []]);
    return { found, stars };
  });
  if (loaded.error) {
    return (
      <Sentence text={loaded.error.message}>
        <Button size="sm" variant="secondary" onClick={loaded.reload}>
          {t('common.retry')}
        </Button>
      </Sentence>
    );
  }
  const suffix = linkSuffix(o, ctx.scope, p.range.raw);
  const most = numberOr(o.maxItems, 10);
  const groups: [string, BoardHit[]][] = [[t('boardList.starred'), loaded.value?.stars ?? []], [t('boardList.found'), loaded.value?.found ?? []]];
  const filled = groups.filter(([, hits]) => hits.length > 0);
  if (loaded.value && filled.length === 0) {
    return <Sentence text={t('boards.none')} />;
  }
  return (
    <div className={styles.lists} tabIndex={0}>
      {filled.map(([title, hits]) => (
        <section key={title}>
          {o.showHeadings !== false && <h3>{title}</h3>}
          <ul>
            {hits.slice(0, most).map((b) => (
              <li key={b.uid}>
                <Link to={`/d/${encodeURIComponent(b.uid)}${suffix}`}>{b.title}</Link> <TagList tags={b.tags.slice(0, 4)} />
              </li>
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
}

function linkSuffix(o: Record<string, unknown>, scope: ReturnType<typeof useBoardContext>['scope'], raw: VisualProps['range']['raw']): string {
  const parts: string[] = [];
  if (o.keepTime === true) {
    parts.push(`from=${encodeURIComponent(String(raw.from.valueOf()))}`, `to=${encodeURIComponent(String(raw.to.valueOf()))}`);
  }
  if (o.includeVars === true) {
    scope.forEach((v, name) => parts.push(queryParam(name, v)));
  }
  return parts.length > 0 ? `?${parts.join('&')}` : '';
}

const getStyles = (theme: GrafanaTheme2) => ({
  lists: css({
    height: '100%', overflow: 'auto', '& h3': { fontSize: theme.typography.body.fontSize, marginBottom: theme.spacing(0.5) },
    '& ul': { listStyle: 'none', margin: 0, padding: 0 }, '& li': { display: 'flex', justifyContent: 'space-between', padding: theme.spacing(0.5, 0) },
    '& a': { color: theme.colors.text.link },
  }),
});
