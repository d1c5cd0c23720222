/** Stat: big values with a sparkline. */
import { getDisplayValueAlignmentFactors, VizOrientation, type FieldDisplay } from '@grafana/data';
import { oneOf } from '../options';
import { obj } from '../../board/json';
import { BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, BigValueTextMode, useTheme2, VizRepeater } from '../../ui';
import { Linked } from './linked';
import { useFieldValues } from './field_values';
import type { VisualProps } from './types';

export default function StatVisual(p: VisualProps) {
  const theme = useTheme2();
  const o = p.panel.options;
  const graphMode = oneOf(o.graphMode, Object.values(BigValueGraphMode), BigValueGraphMode.Area);
  const getValues = useFieldValues(p, graphMode !== BigValueGraphMode.None);
  return (
    <VizRepeater
      getValues={getValues}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={p.frames}
      width={p.width}
      height={p.height}
      renderCounter={0}
      autoGrid
      orientation={oneOf(o.orientation, Object.values(VizOrientation), VizOrientation.Auto)}
      renderValue={({ value, width, height, alignmentFactors, count }) => {
        const sparkline = value.sparkline ? { ...value.sparkline, timeRange: p.range } : undefined;
        return (
          <Linked value={value}>
          {(linked) => (
          <BigValue
            value={value.display}
            count={count}
            sparkline={sparkline}
            colorMode={oneOf(o.colorMode, Object.values(BigValueColorMode), BigValueColorMode.Value)}
            graphMode={graphMode}
            justifyMode={oneOf(o.justifyMode, Object.values(BigValueJustifyMode), BigValueJustifyMode.Auto)}
            textMode={textMode(o.textMode, getValues())}
            alignmentFactors={alignmentFactors}
            disableWideLayout={o.wideLayout === false}
            percentChangeColorMode={oneOf(o.percentChangeColorMode, ['standard', 'inverted', 'same_as_value'], 'standard') as never}
            text={obj(o.text)}
            width={width}
            height={height}
            theme={theme}
            hasLinks={linked.has}
            className={linked.className}
            onClick={linked.open}
          />
          )}
          </Linked>
        );
      }}
    />
  );
}

/** A lone value with no name of its own shows no name, as in Grafana's automatic text mode. */
function textMode(raw: unknown, values: FieldDisplay[]): BigValueTextMode {
  const mode = oneOf(raw, Object.values(BigValueTextMode), BigValueTextMode.Auto);
  return mode === BigValueTextMode.Auto && values.length === 1 ? BigValueTextMode.Value : mode;
}

