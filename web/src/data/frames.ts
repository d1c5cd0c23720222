/** Turns Prometheus answers into data frames, with the names and shapes Grafana's Prometheus data source gives them. */
import { FieldType, type DataFrame, type Field, type Labels } from '@grafana/data';
import type { Target } from '../board/model';
import type { QueryData, Sample } from './prometheus';

/** FrameOptions is what a frame needs to know of its query. */
export interface FrameOptions {
  target: Pick<Target, 'refId' | 'legendFormat' | 'format'>;
  /** The query after interpolation; the name of a series that has no labels. */
  expr: string;
  /** Step of a range query; charts break the line where points are further apart. */
  stepMs: number;
  /** More than one query of the panel answers as a table: value columns get their refId. */
  manyTables: boolean;
}

/** parseValue reads a sample value as Prometheus writes it. */
export function parseValue(s: string): number {
  switch (s) {
    case '+Inf':
    case 'Inf':
      return Infinity;
    case '-Inf':
      return -Infinity;
    default:
      return Number(s);
  }
}

/** seriesName gives a series' name: the legend template, else the metric written out, else the query. */
export function seriesName(labels: Labels, legendFormat: string, expr: string): string {
  if (legendFormat !== '' && legendFormat !== '__auto') {
    return legendFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name: string) => labels[name] ?? '');
  }
  if (legendFormat === '__auto' && Object.keys(labels).some((k) => k !== '__name__')) {
    return '';
  }
  const name = metricText(labels);
  return name === '' || name === '{}' ? expr : name;
}

/** metricText writes a label set as PromQL does. */
export function metricText(labels: Labels): string {
  const { __name__: name = '', ...rest } = labels;
  const pairs = Object.entries(rest).map(([k, v]) => `${k}="${v}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(', ')}}`;
}

interface Series {
  labels: Labels;
  samples: Sample[];
}

function seriesOf(data: QueryData): Series[] {
  switch (data.resultType) {
    case 'matrix':
      return data.result.map((s) => ({ labels: s.metric, samples: s.values ?? [] }));
    case 'vector':
      return data.result.map((s) => ({ labels: s.metric, samples: s.value ? [s.value] : [] }));
    default:
      return [{ labels: {}, samples: [data.result] }];
  }
}

/** toFrames makes the frames of one answer: one per series, or one table. */
export function toFrames(data: QueryData, options: FrameOptions): DataFrame[] {
  const series = seriesOf(data);
  if (options.target.format === 'table') {
    return series.length === 0 ? [] : [tableFrame(series, options)];
  }
  const frames = series.map((s) => seriesFrame(s, options));
  return options.target.format === 'heatmap' ? bucketFrames(frames) : frames;
}

/** bucketFrames orders cumulative `le` series by their bound and leaves in each what the one below does not hold already. */
function bucketFrames(frames: DataFrame[]): DataFrame[] {
  const bound = (f: DataFrame) => parseValue(f.fields[1]?.labels?.le ?? '');
  if (frames.length < 2 || frames.some((f) => Number.isNaN(bound(f)))) {
    return frames;
  }
  const sorted = [...frames].sort((a, b) => bound(a) - bound(b));
  return sorted.map((frame, i) => {
    const [time, value] = frame.fields;
    const below = sorted[i - 1];
    if (!time || !value || !below) {
      return frame;
    }
    const lower = new Map((below.fields[0]?.values as number[]).map((t, j) => [t, Number(below.fields[1]?.values[j])]));
    const values = (value.values as number[]).map((v, j) => Math.max(0, v - (lower.get(Number(time.values[j])) ?? 0)));
    return { ...frame, fields: [time, { ...value, values }] };
  });
}

function seriesFrame(s: Series, o: FrameOptions): DataFrame {
  const name = seriesName(s.labels, o.target.legendFormat, o.expr);
  const n = s.samples.length;
  const times = new Array<number>(n);
  const values = new Array<number>(n);
  for (let i = 0; i < n; i++) {
    const [t, v] = s.samples[i] ?? [0, 'NaN'];
    times[i] = t * 1000;
    values[i] = parseValue(v);
  }
  const time: Field = { name: 'Time', type: FieldType.time, config: o.stepMs > 0 ? { interval: o.stepMs } : {}, values: times };
  const value: Field = { name: 'Value', type: FieldType.number, config: name === '' ? {} : { displayNameFromDS: name }, labels: s.labels, values };
  return { refId: o.target.refId, ...(name === '' ? {} : { name }), fields: [time, value], length: n };
}

/** tableFrame lays all series into one table: time, a column per label, the value. */
function tableFrame(series: Series[], o: FrameOptions): DataFrame {
  const names = [...new Set(series.flatMap((s) => Object.keys(s.labels)))].sort();
  const times: number[] = [];
  const values: number[] = [];
  const columns = names.map((): (string | number)[] => []);
  for (const s of series) {
    for (const [t, v] of s.samples) {
      times.push(t * 1000);
      values.push(parseValue(v));
      names.forEach((name, i) => columns[i]?.push(name === 'le' ? parseValue(s.labels[name] ?? '') : (s.labels[name] ?? '')));
    }
  }
  const fields: Field[] = [
    { name: 'Time', type: FieldType.time, config: {}, values: times },
    ...names.map((name, i): Field => ({ name, type: name === 'le' ? FieldType.number : FieldType.string, config: { filterable: true }, values: columns[i] ?? [] })),
    { name: o.manyTables ? `Value #${o.target.refId}` : 'Value', type: FieldType.number, config: {}, values },
  ];
  return { refId: o.target.refId, fields, length: times.length, meta: { preferredVisualisationType: 'table' } };
}

/** countSeries tells how many series an answer holds. */
export function countSeries(data: QueryData): number {
  return data.resultType === 'matrix' || data.resultType === 'vector' ? data.result.length : 1;
}
