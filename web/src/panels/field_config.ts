/** The field options that defaults and overrides may set, and the defaults each panel type has in Grafana. */
import {
  FieldColorModeId, FieldConfigOptionsRegistry, FieldType, identityOverrideProcessor, numberOverrideProcessor, ThresholdsMode, unitOverrideProcessor,
  type Field, type FieldConfig, type FieldConfigPropertyItem, type FieldConfigSource, type FieldOverrideContext,
} from '@grafana/data';

const always = (_f: Field) => true;
const numeric = (f: Field) => f.type === FieldType.number;
/** The default label of axes is that of values, not of the time or the categories below them. */
const value = (f: Field) => f.type !== FieldType.time && f.type !== FieldType.string;

function item(id: string, process: FieldConfigPropertyItem['process'] = identityOverrideProcessor as never, shouldApply = always): FieldConfigPropertyItem {
  const custom = id.startsWith('custom.');
  const nothing = () => null;
  return {
    id, path: custom ? id.slice(7) : id, name: id, isCustom: custom, process, shouldApply, editor: nothing, override: nothing, settings: {},
  } as unknown as FieldConfigPropertyItem;
}

function text(value: unknown, context: FieldOverrideContext): string | undefined {
  if (value === null || value === undefined) {
    return undefined;
  }
  // Names with ${__field.labels.x} differ from field to field, so they are filled in here.
  return context.replaceVariables && context.field
    ? context.replaceVariables(String(value), { ...context.field.state?.scopedVars })
    : String(value);
}

const CUSTOM = [
  'drawStyle', 'lineInterpolation', 'lineWidth', 'fillOpacity', 'gradientMode', 'lineStyle', 'barAlignment', 'barWidthFactor', 'barMaxWidth', 'pointSize',
  'showPoints', 'spanNulls', 'stacking', 'transform', 'fillBelowTo', 'fillColor', 'lineColor', 'pointColor', 'hideFrom', 'hideFrom.viz', 'hideFrom.legend', 'hideFrom.tooltip',
  'axisPlacement', 'axisWidth', 'axisSoftMin', 'axisSoftMax', 'axisGridShow', 'axisColorMode', 'axisCenteredZero', 'axisBorderShow', 'scaleDistribution',
  'thresholdsStyle', 'align', 'width', 'minWidth', 'cellOptions', 'filterable', 'hidden', 'inspect', 'wrapText', 'wrapHeaderText', 'footer', 'neutral', 'insertNulls',
];

/** fieldRegistry knows every property of a field's configuration. Processing an id that is missing here would drop it silently. */
export const fieldRegistry = new FieldConfigOptionsRegistry(() => [
  item('displayName', text as never),
  item('unit', unitOverrideProcessor as never),
  item('min', numberOverrideProcessor as never, numeric),
  item('max', numberOverrideProcessor as never, numeric),
  item('decimals', numberOverrideProcessor as never, numeric),
  item('noValue', text as never),
  item('nullValueMode'),
  item('fieldMinMax'),
  item('thresholds'),
  item('mappings'),
  item('links'),
  item('color'),
  item('filterable'),
  item('description'),
  item('custom.axisLabel', undefined, value),
  ...CUSTOM.map((id) => item(`custom.${id}`)),
]);

const GREEN_RED = { mode: ThresholdsMode.Absolute, steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] };

const BY_PALETTE = new Set(['timeseries', 'barchart', 'piechart', 'histogram', 'trend', 'xychart']);

const SERIES_DEFAULTS: Record<string, unknown> = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', pointSize: 5, showPoints: 'auto', spanNulls: false,
  stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisLabel: '', axisColorMode: 'text', axisCenteredZero: false, axisBorderShow: false,
  scaleDistribution: { type: 'linear' }, hideFrom: { tooltip: false, viz: false, legend: false }, thresholdsStyle: { mode: 'off' }, barAlignment: 0,
};

const CUSTOM_DEFAULTS: Readonly<Record<string, Record<string, unknown>>> = {
  timeseries: SERIES_DEFAULTS,
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
  barchart: { fillOpacity: 80, lineWidth: 1 },
  histogram: { fillOpacity: 80, lineWidth: 1 },
  'state-timeline': { fillOpacity: 70, lineWidth: 0 },
  'status-history': { fillOpacity: 70, lineWidth: 1 },
};

function colorMode(type: string): FieldColorModeId {
  return BY_PALETTE.has(type) ? FieldColorModeId.PaletteClassic : type === 'state-timeline' ? FieldColorModeId.ContinuousGrYlRd : FieldColorModeId.Thresholds;
}

/** withDefaults adds what Grafana assumes for a panel type where the board says nothing. */
export function withDefaults(type: string, source: FieldConfigSource): FieldConfigSource {
  const d = source.defaults;
  const defaults: FieldConfig = {
    ...d,
    color: d.color ?? { mode: colorMode(type) },
    thresholds: d.thresholds ?? structuredClone(GREEN_RED),
    mappings: d.mappings ?? [],
    custom: { ...CUSTOM_DEFAULTS[type], ...d.custom },
  };
  return { defaults, overrides: source.overrides };
}
