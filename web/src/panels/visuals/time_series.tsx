/** Time series. */
import { useMemo, useState } from 'react';
import { useT } from '../../ui';
import { TimeSeriesViz } from '../../ui/viz/time_series';
import { graphable } from '../prepare';
import { TooMany } from './too_many';
import { Sentence } from './sentence';
import { legendOptions, tooltipOptions, type VisualProps } from './types';

/** MAX_SERIES bounds what one chart draws at first; past it a browser is busier with lines than a reader can tell apart. */
export const MAX_SERIES = 1000;

export default function TimeSeriesVisual(p: VisualProps) {
  const t = useT();
  const [all, setAll] = useState(false);
  const frames = useMemo(() => graphable(p.frames), [p.frames]);
  const shown = useMemo(() => (frames.length > MAX_SERIES && !all ? frames.slice(0, MAX_SERIES) : frames), [frames, all]);
  const legend = useMemo(() => legendOptions(p.panel.options.legend), [p.panel.options.legend]);
  const tooltip = useMemo(() => tooltipOptions(p.panel.options.tooltip), [p.panel.options.tooltip]);
  if (shown.length === 0) {
    return <Sentence text={t('panel.notNumeric')} />;
  }
  const cut = shown.length < frames.length;
  return (
    <>
      {cut && <TooMany shown={shown.length} all={frames.length} onAll={() => setAll(true)} />}
      <TimeSeriesViz
        frames={shown} width={p.width} height={p.height - (cut ? 28 : 0)} timeRange={p.range} timeZone={p.timeZone} legend={legend} tooltip={tooltip}
        sync={p.sync} syncScope={p.syncScope} onZoom={p.onZoom} marks={p.marks ?? []}
      />
    </>
  );
}
