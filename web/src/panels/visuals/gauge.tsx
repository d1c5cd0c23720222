/** Gauge: an arc with its thresholds. */
import { VizOrientation } from '@grafana/data';
import { bool, oneOf } from '../options';
import { VizRepeater } from '../../ui';
import { Gauge } from '../../ui/viz/gauge';
import { gaugeField, useFieldValues } from './field_values';
import type { VisualProps } from './types';

export default function GaugeVisual(p: VisualProps) {
  const getValues = useFieldValues(p, false);
  const o = p.panel.options;
  return (
    <VizRepeater
      getValues={getValues}
      source={p.frames}
      width={p.width}
      height={p.height}
      renderCounter={0}
      autoGrid
      orientation={oneOf(o.orientation, Object.values(VizOrientation), VizOrientation.Auto)}
      renderValue={({ value, width, height, count }) => (
        <Gauge
          value={value.display}
          field={gaugeField(value)}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          width={width}
          height={height}
          showThresholdMarkers={bool(o.showThresholdMarkers, true)}
          showThresholdLabels={bool(o.showThresholdLabels, false)}
          showName={count > 1 || p.panel.fieldConfig.defaults.displayName !== undefined}
        />
      )}
    />
  );
}

