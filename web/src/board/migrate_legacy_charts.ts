/** The old pie chart plugin and the heatmap from before Grafana 9.1, turned into the modern panels. */
import { num, obj, optNum, str, type Json } from './json';
import type { Converted } from './migrate_legacy';
import { legacyReducer } from './reducers';

/** legacyPie turns grafana-piechart-panel into the pie chart. */
export function legacyPie(raw: Json): Converted {
  const legend = obj(raw.legend);
  const place = str(raw.legendType, 'Under graph');
  const values = ['value', 'percent'].filter((v) => (v === 'value' ? legend.values === true : legend.percentage === true));
  const colors = Object.entries(obj(raw.aliasColors)).filter(([, c]) => typeof c === 'string');
  const defaults: Json = { unit: str(raw.format, 'short'), color: { mode: 'palette-classic' } };
  const decimals = optNum(legend.percentageDecimals) ?? optNum(raw.decimals);
  if (decimals !== undefined) {
    defaults.decimals = decimals;
  }
  return {
    type: 'piechart',
    options: {
      pieType: raw.pieType === 'donut' ? 'donut' : 'pie',
      displayLabels: place === 'On graph' ? ['name', ...(values.length > 0 ? values : ['percent'])] : [],
      legend: { showLegend: legend.show !== false && place !== 'On graph', displayMode: legend.values === true ? 'table' : 'list', placement: place === 'Right side' ? 'right' : 'bottom', values },
      reduceOptions: { calcs: [legacyReducer(str(raw.valueName, 'current'))], values: false, fields: '' },
      tooltip: { mode: 'single', sort: 'none' },
    },
    fieldConfig: defaults,
    overrides: colors.map(([name, c]) => ({ matcher: { id: 'byName', options: name }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: c } }] })),
    transformations: [],
  };
}

/** legacyHeatmap turns the heatmap of Grafana 4 to 9 into today's. */
export function legacyHeatmap(raw: Json): Converted {
  const color = obj(raw.color);
  const y = obj(raw.yAxis);
  const calculate = str(raw.dataFormat, 'timeseries') !== 'tsbuckets';
  const scheme = str(color.colorScheme, 'interpolateOranges').replace(/^interpolate/, '');
  const options: Json = {
    calculate,
    calculation: calculate ? { xBuckets: buckets(raw.xBucketSize, raw.xBucketNumber), yBuckets: { ...buckets(raw.yBucketSize, raw.yBucketNumber), ...logScale(y) } } : {},
    color: {
      mode: color.mode === 'opacity' ? 'opacity' : 'scheme', scheme, steps: 128, exponent: num(color.exponent, 0.5), fill: str(color.cardColor, 'dark-orange'), reverse: false,
      scale: str(color.colorScale, 'exponential') === 'linear' ? 'linear' : 'exponential', ...limits(color),
    },
    cellGap: num(obj(raw.cards).cardPadding, 1),
    filterValues: { le: raw.hideZeroBuckets === true ? 1e-9 : -Infinity },
    yAxis: { unit: str(y.format, 'short'), axisPlacement: y.show === false ? 'hidden' : 'left', reverse: raw.reverseYBuckets === true, ...limits(y), ...(optNum(y.decimals) === undefined ? {} : { decimals: optNum(y.decimals) }) },
    rowsFrame: { layout: str(raw.yBucketBound, 'auto') === 'lower' ? 'ge' : str(raw.yBucketBound) === 'upper' ? 'le' : 'auto' },
    legend: { show: obj(raw.legend).show === true },
    tooltip: { mode: obj(raw.tooltip).show === false ? 'none' : 'single', yHistogram: obj(raw.tooltip).showHistogram === true },
    showValue: 'never',
  };
  if (options.filterValues && (options.filterValues as { le: number }).le === -Infinity) {
    delete options.filterValues;
  }
  return { type: 'heatmap', options, fieldConfig: { custom: { scaleDistribution: { type: 'linear' } } }, overrides: [], transformations: [] };
}

function buckets(size: unknown, count: unknown): Json {
  const s = str(size);
  return s !== '' ? { mode: 'size', value: s } : optNum(count) !== undefined ? { mode: 'count', value: String(num(count, 0)) } : {};
}

function logScale(y: Json): Json {
  return num(y.logBase, 1) > 1 ? { scale: { type: 'log', log: num(y.logBase, 2) } } : {};
}

function limits(o: Json): Json {
  const out: Json = {};
  for (const key of ['min', 'max']) {
    const n = optNum(o[key]);
    if (n !== undefined) {
      out[key] = n;
    }
  }
  return out;
}
