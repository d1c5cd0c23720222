/** The panel inspector: what was asked, what came back, and the panel's definition. Loaded when first opened. */
import { FieldType, transformDataFrame, type DataFrame } from '@grafana/data';
import { useEffect, useMemo, useState } from 'react';
import { firstValueFrom } from 'rxjs';
import { formatDuration } from '../board/intervals';
import type { Panel } from '../board/model';
import { Button, Drawer, Tab, TabContent, TabsBar, TextArea, useT, useTheme2 } from '../ui';
import { useSize } from '../ui/hooks';
import { TableViz } from '../ui/viz/table';
import { applyOptions, registerTransformations, toCsv } from './prepare';
import type { PanelData } from './use_panel_data';

interface Props {
  panel: Panel;
  title: string;
  data: PanelData;
  tab: 'data' | 'json';
  onClose: () => void;
}

export default function Inspector({ panel, title, data, tab: initial, onClose }: Props) {
  const t = useT();
  const [tab, setTab] = useState<'data' | 'queries' | 'json'>(initial);
  return (
    <Drawer title={title} onClose={onClose} size="md">
      <TabsBar>
        <Tab label={t('panel.inspectData')} active={tab === 'data'} onChangeTab={() => setTab('data')} />
        <Tab label={t('panel.queries')} active={tab === 'queries'} onChangeTab={() => setTab('queries')} />
        <Tab label={t('panel.inspectJson')} active={tab === 'json'} onChangeTab={() => setTab('json')} />
      </TabsBar>
      <TabContent style={{ paddingTop: 16 }}>
        {tab === 'data' && <DataTab panel={panel} frames={data.frames} title={title} />}
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
      <Button size="sm" icon="download-alt" variant="secondary" disabled={!joined} onClick={() => joined && download(`${title || 'panel'}.csv`, toCsv(joined))}>
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

function download(name: string, content: string): void {
  const url = URL.createObjectURL(new Blob([content], { type: 'text/csv' }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name.replace(/[^\p{L}\p{N}._ -]/gu, '_');
  a.click();
  URL.revokeObjectURL(url);
}
