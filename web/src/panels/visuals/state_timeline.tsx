/** State timeline and status history: what each series was, over time. */
import { dateTimeFormat } from '@grafana/data';
import { useMemo } from 'react';
import { bool, numberOr, oneOf } from '../options';
import { obj } from '../../board/json';
import { useT } from '../../ui';
import { LaneChart } from '../../ui/viz/lanes';
import { historyLanes, stateLanes } from '../lanes';
import { Sentence } from './sentence';
import { StateLegend } from './state_legend';
import { legendOptions, type VisualProps } from './types';

export default function StateTimelineVisual(p: VisualProps) {
  const t = useT();
  const o = p.panel.options;
  const history = p.panel.type === 'status-history';
  const end = p.range.to.valueOf();
  const lanes = useMemo(
    () => (history ? historyLanes(p.frames, numberOr(o.colWidth, 0.9)) : stateLanes(p.frames, bool(o.mergeValues, true), end)),
    [history, p.frames, o.colWidth, o.mergeValues, end]
  );
  const custom = obj(p.fieldConfig.defaults.custom);
  if (lanes.names.length === 0) {
    return <Sentence text={t('panel.notNumeric')} />;
  }
  const describe = (time: number, lane: number) => {
    const box = lanes.boxes.find((b) => b.lane === lane && b.x0 <= time && time < b.x1);
    return (
      <div style={{ padding: 8 }}>
        <div>{dateTimeFormat(box?.x0 ?? time, { timeZone: p.timeZone })}</div>
        <strong>{lanes.names[lane]}</strong> {box?.text ?? '-'}
      </div>
    );
  };
  return (
    <StateLegend options={legendOptions(o.legend)} boxes={lanes.boxes} width={p.width} height={p.height}>
      {(width, height) => (
        <LaneChart
          lanes={lanes.names} boxes={lanes.boxes} width={width} height={height} timeRange={p.range} timeZone={p.timeZone} label={p.panel.title}
          fill={numberOr(o.rowHeight, 0.9)} gap={history ? 1 : 0} fillOpacity={numberOr(custom.fillOpacity, 70) / 100} lineWidth={numberOr(custom.lineWidth, history ? 1 : 0)}
          showText={oneOf(o.showValue, ['auto', 'always', 'never'], 'auto')} align={oneOf(o.alignValue, ['left', 'center', 'right'], history ? 'center' : 'left')}
          sync={p.sync} syncScope={p.syncScope} onZoom={p.onZoom} marks={p.marks ?? []} describe={describe}
        />
      )}
    </StateLegend>
  );
}
