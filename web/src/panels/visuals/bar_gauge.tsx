/** Bar gauge: one bar per value. */
import { getDisplayValueAlignmentFactors, VizOrientation } from '@grafana/data';
import { BarGaugeDisplayMode, BarGaugeNamePlacement, BarGaugeValueMode } from '@grafana/schema';
import { bool, numberOr, oneOf } from '../options';
import { obj } from '../../board/json';
import { BarGauge, useTheme2, VizRepeater } from '../../ui';
import { Linked } from './linked';
import { gaugeField, useFieldValues } from './field_values';
import type { VisualProps } from './types';

export default function BarGaugeVisual(p: VisualProps) {
  const theme = useTheme2();
  const getValues = useFieldValues(p, false);
  const o = p.panel.options;
  const orientation = oneOf(o.orientation, Object.values(VizOrientation), VizOrientation.Auto);
  return (
    <VizRepeater
      getValues={getValues}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={p.frames}
      width={p.width}
      height={p.height}
      renderCounter={0}
      itemSpacing={8}
      minVizHeight={numberOr(o.minVizHeight, 16)}
      minVizWidth={numberOr(o.minVizWidth, 8)}
      orientation={orientation === VizOrientation.Auto ? VizOrientation.Horizontal : orientation}
      renderValue={({ value, width, height, orientation: direction, alignmentFactors }) => (
        <Linked value={value}>
        {(linked) => (
        <BarGauge
          value={value.display}
          field={gaugeField(value)}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          width={width}
          height={height}
          orientation={direction}
          alignmentFactors={alignmentFactors}
          displayMode={oneOf(o.displayMode, Object.values(BarGaugeDisplayMode), BarGaugeDisplayMode.Gradient)}
          valueDisplayMode={oneOf(o.valueMode, Object.values(BarGaugeValueMode), BarGaugeValueMode.Color)}
          showUnfilled={bool(o.showUnfilled, true)}
          theme={theme}
          text={obj(o.text)}
          namePlacement={oneOf(o.namePlacement, Object.values(BarGaugeNamePlacement), BarGaugeNamePlacement.Auto)}
          onClick={linked.open}
          className={linked.className}
        />
        )}
        </Linked>
      )}
    />
  );
}

