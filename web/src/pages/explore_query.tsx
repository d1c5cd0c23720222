/** One query of Explore: its editor, legend, what became of it, and its explanation. */
import { css } from '@emotion/css';
import type { GrafanaTheme2, TimeRange } from '@grafana/data';
import { lazy, Suspense, useState } from 'react';
import { Button, Icon, IconButton, InlineField, Input, LoadingPlaceholder, useStyles2, useT } from '../ui';
import type { ExploreQuery } from './explore_state';
import { useExploreTexts } from './explore_texts';
import type { QueryOutcome } from './use_explore';

const Editor = lazy(() => import('./promql_editor'));
const ExplainView = lazy(() => import('./explain_view'));

interface Props {
  query: ExploreQuery;
  alone: boolean;
  outcome: QueryOutcome | undefined;
  sourceUid: string;
  range: TimeRange;
  onChange: (change: Partial<ExploreQuery>) => void;
  /** Takes the text as it stands: what the editor holds may be newer than the draft. */
  onRun: (text: string) => void;
  onCopy: () => void;
  onHide: () => void;
  onRemove: () => void;
}

export function QueryRow({ query, alone, outcome, sourceUid, range, onChange, onRun, onCopy, onHide, onRemove }: Props) {
  const t = useT();
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  const [explaining, setExplaining] = useState(false);
  const ref = query.refId;
  return (
    <section className={styles.row} aria-label={x('queryOf', { ref })} data-testid="explore-query" style={query.hidden ? { opacity: 0.6 } : undefined}>
      <div className={styles.line}>
        <span className={styles.letter} aria-hidden="true">
          {ref}
        </span>
        <div className={styles.editor}>
          <Suspense fallback={<LoadingPlaceholder text={t('common.loading')} />}>
            <Editor value={query.expr} onChange={(expr) => onChange({ expr })} onRun={onRun} label={alone ? t('explore.query') : x('queryOf', { ref })} sourceUid={sourceUid} range={range} />
          </Suspense>
        </div>
        <IconButton name="copy" tooltip={x('copyQuery', { ref })} onClick={onCopy} />
        <IconButton name={query.hidden ? 'eye-slash' : 'eye'} tooltip={x(query.hidden ? 'showQuery' : 'hideQuery', { ref })} onClick={onHide} />
        {!alone && <IconButton name="trash-alt" tooltip={x('removeQuery', { ref })} onClick={onRemove} />}
      </div>
      <div className={styles.line}>
        <InlineField label={x('legend')} labelWidth={10}>
          <Input width={28} value={query.legend} placeholder="{{label}}" onChange={(e) => onChange({ legend: e.currentTarget.value })} onKeyDown={(e) => e.key === 'Enter' && onRun(query.expr)} />
        </InlineField>
        <Button size="sm" variant="secondary" fill="text" aria-expanded={explaining} aria-label={x('explainOf', { ref })} onClick={() => setExplaining(!explaining)}>
          <Icon name={explaining ? 'angle-down' : 'angle-right'} /> {x('explain')}
        </Button>
        {!alone && outcome && outcome.error === '' && <span className={styles.stats}>{t('explore.stats', { series: outcome.series, ms: Math.round(outcome.ms) })}</span>}
      </div>
      {explaining && (
        <Suspense fallback={<LoadingPlaceholder text={t('common.loading')} />}>
          <ExplainView expr={outcome?.sent ?? query.expr} sourceUid={sourceUid} range={range} />
        </Suspense>
      )}
    </section>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  row: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(0.5), '&:not(:first-of-type)': { borderTop: `1px solid ${theme.colors.border.weak}`, paddingTop: theme.spacing(1) } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', '& > div': { marginBottom: 0 } }),
  letter: css({ minWidth: 20, color: theme.colors.text.link, fontWeight: theme.typography.fontWeightMedium }),
  editor: css({ flex: 1, minWidth: 220 }),
  stats: css({ marginLeft: 'auto', color: theme.colors.text.secondary }),
});
