/** What a panel says of itself when it is empty, out of date, or counts things twice: one sentence each, with the fix one click away. */
import { rangeUtil } from '@grafana/data';
import { useEffect, useState, type ReactNode } from 'react';
import { useNavigate } from 'react-router';
import type { Reason } from '../data/diagnose';
import type { Doubled } from '../data/provenance';
import { Button, IconButton, useT, type MessageKey } from '../ui';
import { useBoardData } from './board_data';
import { useBoardContext } from './context';
import type { PanelData } from './use_panel_data';
import { Sentence } from './visuals/sentence';

export function Empty({ data }: { data: PanelData }) {
  const t = useT();
  const reason = data.reason;
  const sentence = reason ? t(`panel.empty.${reason.kind}` as MessageKey, { ...reason }) : t('panel.empty.unknown');
  return (
    <div data-testid="panel-empty" style={{ height: '100%' }}>
      <Sentence text={sentence}>{reason && <Fix reason={reason} data={data} />}</Sentence>
    </div>
  );
}

function Fix({ reason, data }: { reason: Reason; data: PanelData }) {
  const t = useT();
  const ctx = useBoardContext();
  const navigate = useNavigate();
  const first = data.plan.queries[0];
  if (!first) {
    return null;
  }
  const go = (expr: string, label: string): ReactNode => (
    <Button size="sm" variant="secondary" fill="outline" onClick={() => void navigate(ctx.exploreUrl([{ expr }], first.sourceUid))}>
      {label}
    </Button>
  );
  switch (reason.kind) {
    case 'other-time':
      return (
        <Button size="sm" variant="secondary" fill="outline" onClick={() => ctx.onZoom({ from: data.range.to.valueOf() - 7 * 86_400_000, to: data.range.to.valueOf() })}>
          {t('panel.fix.week')}
        </Button>
      );
    case 'no-metric':
      // A metric that is not there most often means a target that is not.
      return go('up == 0', t('panel.fix.targets'));
    case 'no-match':
    case 'no-combination':
      return go(reason.metric, t('panel.fix.explore', { metric: reason.metric }));
    default:
      return go(first.expr, t('panel.fix.why'));
  }
}

/** Notices are the small signs in a panel's header. */
export function Notices({ data, visible, onWhy }: { data: PanelData; visible: boolean; onWhy: () => void }) {
  return (
    <>
      <StaleNotice data={data} onWhy={onWhy} />
      <DoubledNotice data={data} visible={visible} />
    </>
  );
}

/** StaleNotice says how old the newest value is when samples have stopped coming; a click shows the targets they came from. */
function StaleNotice({ data, onWhy }: { data: PanelData; onWhy: () => void }) {
  const t = useT();
  if (data.staleSince === null || data.state !== 'done') {
    return null;
  }
  const text = t('panel.stale', { age: rangeUtil.secondsToHms((data.range.to.valueOf() - data.staleSince) / 1000) });
  return <IconButton name="clock-nine" size="md" variant="destructive" aria-label={`${text} ${t('panel.fix.why')}`} tooltip={text} onClick={onWhy} data-testid="panel-stale" />;
}

/** DoubledNotice asks once per board and set of metrics whether several jobs scrape the same target. */
function DoubledNotice({ data, visible }: { data: PanelData; visible: boolean }) {
  const t = useT();
  const ctx = useBoardContext();
  const { doubled } = useBoardData();
  const navigate = useNavigate();
  const [found, setFound] = useState<Doubled | null>(null);
  const first = data.plan.queries[0];
  const ready = visible && data.state === 'done' && data.frames.length > 0 && first !== undefined;
  const key = ready ? `${first.sourceUid} ${data.plan.queries.map((q) => q.target.expr).join('\n')}` : '';
  useEffect(() => {
    if (key === '' || !first) {
      return;
    }
    let current = true;
    const ask = async () => {
      const [{ doubledMetrics }, { PrometheusApi }] = await Promise.all([import('../data/provenance'), import('../data/prometheus')]);
      return doubledMetrics(data.plan.queries.map((q) => q.expr), new PrometheusApi(first.sourceUid), data.range.to.valueOf(), new AbortController().signal);
    };
    const answer = doubled.get(key) ?? ask().catch(() => null);
    doubled.set(key, answer);
    void answer.then((d) => current && setFound(d));
    return () => {
      current = false;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the key stands for the queries
  }, [key, doubled]);
  if (!found || !first) {
    return null;
  }
  const text = t('panel.doubled', { jobs: found.jobs.join(', '), metric: found.metric, instance: found.instance });
  return (
    <IconButton
      name="exclamation-triangle" size="md" variant="destructive" aria-label={`${text} ${t('panel.fix.jobs')}`} tooltip={text} data-testid="panel-doubled"
      onClick={() => void navigate(ctx.exploreUrl([{ expr: `count by (job) (${found.metric}{instance=${JSON.stringify(found.instance)}})` }], first.sourceUid))}
    />
  );
}
