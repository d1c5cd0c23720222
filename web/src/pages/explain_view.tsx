/** Says what each part of a query does, how many series it has, how many samples it reads and how long it takes. */
import { css } from '@emotion/css';
import type { GrafanaTheme2, TimeRange } from '@grafana/data';
import { useEffect, useMemo, useState } from 'react';
import { explainQuery, flatten, measureOf, type Part } from '../data/explain';
import { PrometheusApi } from '../data/prometheus';
import { Alert, Spinner, useLanguage, useStyles2 } from '../ui';
import { sentenceOf } from './explain_texts';
import { useExploreTexts } from './explore_texts';

interface Props {
  expr: string;
  sourceUid: string;
  range: TimeRange;
}

interface Measured {
  /** Number of series, or the value of a number. */
  count: string;
  empty: boolean;
  samples: number | null;
  ms: number;
  error: string;
}

/** Parts beyond this many are still explained, but not measured: each costs a query. */
const MAX_MEASURED = 40;

export default function ExplainView({ expr, sourceUid, range }: Props) {
  const x = useExploreTexts();
  const { language } = useLanguage();
  const styles = useStyles2(getStyles);
  const lines = useMemo(() => {
    const tree = explainQuery(expr);
    return tree ? flatten(tree) : [];
  }, [expr]);
  const end = range.to.valueOf();
  const measured = useMeasured(lines, sourceUid, end);
  if (lines.length === 0) {
    return <p>{x('explainEmpty')}</p>;
  }
  const broken = [...measured.values()].find((m) => m.error !== '');
  // Of nested parts that are empty the innermost is the cause.
  const cause = lines.findLastIndex((_, i) => measured.get(i)?.empty);
  return (
    <div className={styles.box} data-testid="explain">
      {broken && <Alert severity="error" title={x('brokenQuery', { reason: broken.error })} />}
      <table className={styles.table}>
        <thead>
          <tr>
            <th scope="col">{x('selects')}</th>
            <th scope="col" className={styles.number}>{x('series')}</th>
            <th scope="col" className={styles.number}>{x('samples')}</th>
            <th scope="col" className={styles.number}>{x('took')}</th>
          </tr>
        </thead>
        <tbody>
          {lines.map(({ part, depth }, i) => (
            <Line key={i} part={part} depth={depth} measured={measured.get(i)} sentence={sentenceOf(part, language)} cause={i === cause} waits={measureOf(part) !== '' && i >= lines.length - MAX_MEASURED} />
          ))}
        </tbody>
      </table>
      <p className={styles.hint}>{x('atEnd', { time: new Date(end).toLocaleString(language) })}</p>
    </div>
  );
}

interface LineProps {
  part: Part;
  depth: number;
  measured: Measured | undefined;
  sentence: string;
  cause: boolean;
  waits: boolean;
}

function Line({ part, depth, measured, sentence, cause, waits }: LineProps) {
  const x = useExploreTexts();
  const styles = useStyles2(getStyles);
  return (
    <tr>
      <td style={{ paddingLeft: 8 + Math.min(depth, 12) * 18 }}>
        <code className={styles.code}>{part.text.replace(/\s+/g, ' ')}</code>
        <span className={styles.sentence}>{sentence}</span>
        {cause && <strong className={styles.cause}>{x('emptyHere')}</strong>}
      </td>
      <td className={styles.number}>{measured ? (measured.empty ? x('nothing') : measured.count) : waits && <Spinner inline />}</td>
      <td className={styles.number}>{measured && measured.samples !== null ? measured.samples.toLocaleString() : ''}</td>
      <td className={styles.number}>{measured && measured.error === '' ? `${measured.ms < 10 ? measured.ms.toFixed(1) : Math.round(measured.ms)} ms` : ''}</td>
    </tr>
  );
}

/** useMeasured asks about the parts one after the other, innermost first, so that explaining never takes more of a server than one query does. */
function useMeasured(lines: readonly { part: Part }[], sourceUid: string, endMs: number): ReadonlyMap<number, Measured> {
  const [measured, setMeasured] = useState<ReadonlyMap<number, Measured>>(new Map());
  useEffect(() => {
    const controller = new AbortController();
    const api = new PrometheusApi(sourceUid);
    const found = new Map<number, Measured>();
    setMeasured(found);
    void (async () => {
      const asked = [...lines.entries()].filter(([, l]) => measureOf(l.part) !== '').reverse().slice(0, MAX_MEASURED);
      for (const [i, { part }] of asked) {
        found.set(i, await measure(api, part, endMs, controller.signal));
        if (controller.signal.aborted) {
          return;
        }
        setMeasured(new Map(found));
      }
    })();
    return () => controller.abort();
  }, [lines, sourceUid, endMs]);
  return measured;
}

async function measure(api: PrometheusApi, part: Part, endMs: number, signal: AbortSignal): Promise<Measured> {
  const began = performance.now();
  try {
    const { data, stats } = await api.measured(measureOf(part), endMs, signal);
    const value = data.resultType === 'scalar' ? String(data.result[1]) : data.resultType === 'vector' ? (data.result[0]?.value?.[1] ?? '') : '';
    return { count: value === '' ? '0' : Number(value).toLocaleString(), empty: value === '', samples: stats?.samples ?? null, ms: stats?.ms ?? performance.now() - began, error: '' };
  } catch (err) {
    return { count: '', empty: false, samples: null, ms: 0, error: err instanceof Error ? err.message : String(err) };
  }
}

const getStyles = (theme: GrafanaTheme2) => ({
  box: css({ overflowX: 'auto' }),
  table: css({ width: '100%', minWidth: 520, '& td, & th': { padding: theme.spacing(0.5, 1), borderBottom: `1px solid ${theme.colors.border.weak}`, verticalAlign: 'top' } }),
  number: css({ textAlign: 'right', whiteSpace: 'nowrap', fontVariantNumeric: 'tabular-nums' }),
  code: css({ background: 'none', border: 'none', padding: 0, whiteSpace: 'pre-wrap', wordBreak: 'break-word', color: theme.colors.text.maxContrast }),
  sentence: css({ display: 'block', color: theme.colors.text.secondary }),
  cause: css({ display: 'block', color: theme.colors.warning.text }),
  hint: css({ color: theme.colors.text.secondary, margin: theme.spacing(1, 0, 0) }),
});
