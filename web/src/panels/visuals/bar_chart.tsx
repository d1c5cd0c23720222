/** Bar chart and histogram. */
import { VizOrientation } from '@grafana/data';
import { useMemo, useState } from 'react';
import { bool, numberOr, oneOf } from '../options';
import { obj, optNum, str } from '../../board/json';
import { useT, VizLayout, VizLegend } from '../../ui';
import { Bars } from '../../ui/viz/bars';
import { categoriesOf, histogramOf } from '../categories';
import { Sentence } from './sentence';
import { legendOptions, type VisualProps } from './types';

/** Past these many bars a chart is no longer read; the rest is left out, and the panel says so. */
const MOST = 400;

export default function BarChartVisual(p: VisualProps) {
  const t = useT();
  const o = p.panel.options;
  const histogram = p.panel.type === 'histogram';
  const custom = obj(p.fieldConfig.defaults.custom);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const data = useMemo(
    () =>
      histogram
        ? histogramOf(p.frames, { size: optNum(o.bucketSize), offset: numberOr(o.bucketOffset, 0), count: numberOr(o.bucketCount, 30), combine: bool(o.combine, false) })
        : categoriesOf(p.frames, str(o.xField), str(o.colorByField)),
    [histogram, p.frames, o]
  );
  if (!data || data.series.length === 0) {
    return <Sentence text={t('panel.notNumeric')} />;
  }
  const names = data.names.slice(0, MOST);
  const options = legendOptions(o.legend);
  const items = data.series.map((s) => ({ label: s.name, color: s.color, yAxis: 1, disabled: hidden.has(s.name) }));
  const toggle = (name: string) => setHidden((h) => new Set(h.has(name) ? [...h].filter((x) => x !== name) : [...h, name]));
  const legend =
    options.showLegend && (data.series.length > 1 || data.series[0]?.name !== '') ? (
      <VizLayout.Legend placement={options.placement} width={options.width}>
        <VizLegend placement={options.placement} displayMode={options.displayMode} items={items} onLabelClick={(item) => toggle(item.label)} />
      </VizLayout.Legend>
    ) : null;
  const { min, max } = p.fieldConfig.defaults;
  const orientation = oneOf(o.orientation, Object.values(VizOrientation), VizOrientation.Auto);
  return (
    <VizLayout width={p.width} height={p.height} legend={legend}>
      {(width, height) => (
        <Bars
          categories={names} series={data.series.filter((s) => !hidden.has(s.name))} width={width} height={height} label={p.panel.title} format={data.format} edges={histogram}
          horizontal={!histogram && orientation === VizOrientation.Horizontal} stacking={oneOf(histogram ? obj(custom.stacking).mode : o.stacking, ['none', 'normal', 'percent'], 'none')}
          groupWidth={histogram ? 1 : numberOr(o.groupWidth, 0.7)} barWidth={histogram ? 1 : numberOr(o.barWidth, 0.97)} fillOpacity={numberOr(custom.fillOpacity, 80) / 100}
          lineWidth={numberOr(custom.lineWidth, 1)} showValue={oneOf(o.showValue, ['auto', 'always', 'never'], histogram ? 'never' : 'auto')}
          {...(histogram || min === undefined || min === null ? {} : { min })} {...(histogram || max === undefined || max === null ? {} : { max })}
        />
      )}
    </VizLayout>
  );
}
