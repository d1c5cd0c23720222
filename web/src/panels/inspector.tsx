/** The panel inspector: what was asked, what came back, and the panel's definition. Loaded when first opened. */
import { FieldType, rangeUtil, transformDataFrame, type DataFrame } from '@grafana/data';
import { useEffect, useMemo, useState, type ReactNode } from 'react';
import { firstValueFrom } from 'rxjs';
import { formatDuration } from '../board/intervals';
import type { Panel } from '../board/model';
import { origins } from '../data/provenance';
import { PrometheusApi } from '../data/prometheus';
import { Button, Drawer, Spinner, Tab, TabContent, TabsBar, TextArea, useT, useTheme2 } from '../ui';
import { useLoad, useSize } from '../ui/hooks';
import { TableViz } from '../ui/viz/table';
import type { InspectorTab } from './panel_host';
import { save } from './picture';
import { applyOptions, registerTransformations, toCsv } from './prepare';
import type { PanelData } from './use_panel_data';

interface Props {
  panel: Panel;
  title: string;
  data: PanelData;
  tab: InspectorTab;
  onClose: () => void;
}

export default function Inspector({ panel, title, data, tab: initial, onClose }: Props) {
  const t = useT();
  const [tab, setTab] = useState<InspectorTab>(initial);
  return (
    <Drawer title={title} onClose={onClose} size="md">
      <TabsBar>
        <Tab label={t('panel.inspectData')} active={tab === 'data'} onChangeTab={() => setTab('data')} />
        <Tab label={t('panel.stats')} active={tab === 'stats'} onChangeTab={() => setTab('stats')} />
        <Tab label={t('panel.queries')} active={tab === 'queries'} onChangeTab={() => setTab('queries')} />
        <Tab label={t('panel.inspectJson')} active={tab === 'json'} onChangeTab={() => setTab('json')} />
        <Tab label={t('panel.provenance')} active={tab === 'origin'} onChangeTab={() => setTab('origin')} />
      </TabsBar>
      <TabContent style={{ paddingTop: 16 }}>
        {tab === 'data' && <DataTab panel={panel} frames={data.frames} title={title} />}
        {tab === 'stats' && <StatsTab data={data} />}
        {tab === 'origin' && <OriginTab data={data} />}
        {tab === 'queries' && <QueriesTab data={data} />}
        {tab === 'json' && <TextArea readOnly rows={30} aria-label={t('panel.inspectJson')} value={JSON.stringify(panel, infinite, 2)} />}
      </TabContent>
    </Drawer>
  );
}

/** JSON has no infinity; the base threshold step is written as null, as Grafana writes it. */
function infinite(_key: string, value: unknown): unknown {
  return value === -Infinity || value === Infinity ? null : value;
}

function DataTab({ panel, frames, title }: { panel: Panel; frames: DataFrame[]; title: string }) {
  const t = useT();
  const theme = useTheme2();
  const { ref, width } = useSize<HTMLDivElement>();
  const [joined, setJoined] = useState<DataFrame | null>(null);
  useEffect(() => {
    let current = true;
    registerTransformations();
    const series = frames.length > 1 && frames.every((f) => f.fields.some((x) => x.type === FieldType.time));
    const plain = applyOptions({ ...panel, type: 'table' }, frames, theme, 'browser', (s) => s).frames;
    const options = series ? [{ id: 'joinByField', options: { mode: 'outer' } }] : [];
    void firstValueFrom(transformDataFrame(options, plain)).then((result) => current && setJoined(result[0] ?? null));
    return () => {
      current = false;
    };
  }, [frames, panel, theme]);
  return (
    <div ref={ref}>
      <Button size="sm" icon="download-alt" variant="secondary" disabled={!joined} onClick={() => joined && save(`${title || 'panel'}.csv`, new Blob([toCsv(joined)], { type: 'text/csv' }))}>
        {t('panel.download')}
      </Button>
      <div style={{ marginTop: 16 }}>
        {joined ? width > 0 && <TableViz frame={joined} width={width} height={560} label={title} /> : t('panel.empty.unknown')}
      </div>
    </div>
  );
}

function QueriesTab({ data }: { data: PanelData }) {
  const errors = useMemo(() => new Map(data.errors.map((e) => [e.refId, e.message])), [data.errors]);
  return (
    <dl>
      {data.plan.queries.map((q) => (
        <div key={`${q.target.refId}-${q.kind}`} style={{ marginBottom: 16 }}>
          <dt>
            {q.target.refId} ({q.kind}
            {q.kind === 'range' ? `, step ${formatDuration(q.stepMs)}` : ''})
          </dt>
          <dd>
            <pre>{q.expr}</pre>
            {errors.get(q.target.refId)}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** StatsTab shows what each query cost and gave. */
function StatsTab({ data }: { data: PanelData }) {
  const t = useT();
  const sum = (of: 'series' | 'points') => data.timings.reduce((n, q) => n + q[of], 0);
  const step = (refId: string) => data.plan.queries.find((q) => q.target.refId === refId && q.kind === 'range')?.stepMs;
  return (
    <Grid head={[t('stats.query'), t('stats.kind'), t('stats.ms'), t('stats.step'), t('stats.series'), t('stats.points')]}>
      {data.timings.map((q) => (
        <Row key={`${q.refId}-${q.kind}`} cells={[q.refId, q.kind, q.ms.toFixed(0), q.kind === 'range' ? formatDuration(step(q.refId) ?? 0) : '', q.series, q.points]} />
      ))}
      <Row cells={[t('stats.total'), '', Math.max(0, ...data.timings.map((q) => q.ms)).toFixed(0), '', sum('series'), sum('points')]} />
    </Grid>
  );
}

/** OriginTab answers where the panel's numbers come from: targets, whether they are up, and when they were scraped last. */
function OriginTab({ data }: { data: PanelData }) {
  const t = useT();
  const theme = useTheme2();
  const at = data.range.to.valueOf();
  const queries = useMemo(() => [...new Map(data.plan.queries.map((q) => [`${q.sourceUid} ${q.expr}`, q])).values()], [data.plan]);
  const found = useLoad(`origin-${queries.map((q) => q.key).join()}`, async (signal) => (await Promise.all(queries.map((q) => origins(q.expr, new PrometheusApi(q.sourceUid), at, signal)))).flat());
  if (found.error) {
    return <p role="alert">{t('origin.failed', { reason: found.error.message })}</p>;
  }
  if (!found.value) {
    return <Spinner />;
  }
  const seen = new Set<string>();
  const rows = found.value.filter((o) => {
    const key = `${o.selector} ${o.job} ${o.instance}`;
    return seen.has(key) ? false : (seen.add(key), true);
  });
  if (rows.length === 0) {
    return <p>{t('origin.none')}</p>;
  }
  const state = (up: boolean | null) => t(up === null ? 'origin.gone' : up ? 'origin.isUp' : 'origin.isDown');
  return (
    <Grid head={[t('origin.selector'), t('origin.job'), t('origin.instance'), t('origin.series'), t('origin.up'), t('origin.last')]}>
      {rows.slice(0, 500).map((o, i) => (
        <Row
          key={i}
          color={o.up === false ? theme.colors.error.text : undefined}
          cells={[o.selector, o.job, o.instance, o.series, state(o.up), o.lastScrape === null ? '-' : t('origin.ago', { age: rangeUtil.secondsToHms(Math.max(0, (at - o.lastScrape) / 1000)) || '0s' })]}
        />
      ))}
    </Grid>
  );
}

function Grid({ head, children }: { head: string[]; children: ReactNode }) {
  return (
    <table style={{ width: '100%', borderSpacing: 0 }}>
      <thead>
        <tr>
          {head.map((h) => (
            <th key={h} scope="col" style={CELL}>{h}</th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

const CELL = { padding: '4px 8px', textAlign: 'left', verticalAlign: 'top', overflowWrap: 'anywhere' } as const;

function Row({ cells, color }: { cells: (string | number)[]; color?: string }) {
  return (
    <tr style={{ color }}>
      {cells.map((c, i) => (
        <td key={i} style={CELL}>{c}</td>
      ))}
    </tr>
  );
}
