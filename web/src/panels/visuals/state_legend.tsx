/** The legend of state panels: each state that was seen, with its colour. */
import type { VizLegendOptions } from '@grafana/schema';
import { useMemo, type ReactNode } from 'react';
import { VizLayout, VizLegend } from '../../ui';
import type { LaneBox } from '../../ui/viz/lanes';

const MOST = 20;

interface Props {
  options: VizLegendOptions;
  boxes: readonly LaneBox[];
  width: number;
  height: number;
  children: (width: number, height: number) => ReactNode;
}

export function StateLegend({ options, boxes, width, height, children }: Props) {
  const items = useMemo(() => {
    const seen = new Map<string, string>();
    for (const b of boxes) {
      if (seen.size >= MOST) {
        break;
      }
      seen.set(b.text, b.color);
    }
    return [...seen].map(([label, color]) => ({ label, color, yAxis: 1 }));
  }, [boxes]);
  const legend = options.showLegend ? (
    <VizLayout.Legend placement={options.placement} width={options.width}>
      <VizLegend placement={options.placement} displayMode={options.displayMode} items={items} readonly />
    </VizLayout.Legend>
  ) : null;
  return (
    <VizLayout width={width} height={height} legend={legend}>
      {children}
    </VizLayout>
  );
}
