/** Pie and donut. */
import { formattedValueToString, type FieldDisplay } from '@grafana/data';
import { LegendDisplayMode } from '@grafana/schema';
import { useMemo, useState } from 'react';
import { oneOf } from '../options';
import { obj, strings } from '../../board/json';
import { useT, useTheme2, VizLayout, VizLegend } from '../../ui';
import { Linked } from './linked';
import { useFieldValues } from './field_values';
import { Sentence } from './sentence';
import { legendOptions, type VisualProps } from './types';

interface Slice {
  value: FieldDisplay;
  name: string;
  color: string;
  share: number;
  text: string;
}

export default function PieVisual(p: VisualProps) {
  const t = useT();
  const o = p.panel.options;
  const getValues = useFieldValues(p, false);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const all = useMemo(() => getValues().filter((v) => v.field.custom?.hideFrom?.viz !== true), [getValues]);
  const slices = useMemo(() => slicesOf(all, hidden, oneOf(o.sort, ['asc', 'desc', 'none'], 'desc')), [all, hidden, o.sort]);
  if (all.every((v) => Number.isNaN(v.display.numeric))) {
    return <Sentence text={t('panel.notNumeric')} />;
  }
  const options = legendOptions(o.legend);
  const wanted = strings(obj(o.legend).values);
  const total = slices.reduce((n, s) => n + s.value.display.numeric, 0);
  const toggle = (name: string) => {
    const next = new Set(hidden);
    if (!next.delete(name)) {
      next.add(name);
    }
    setHidden(next.size >= all.length ? new Set() : next);
  };
  const items = sortValues(all, 'desc').map((v) => ({
    label: v.display.title ?? '', color: v.display.color, yAxis: 1, disabled: hidden.has(v.display.title ?? ''),
    getDisplayValues: () =>
      wanted.map((w) => (w === 'percent' ? { numeric: v.display.numeric / total, percent: 0, text: `${((v.display.numeric / total) * 100).toFixed(0)}%`, title: t('pie.percent') } : { ...v.display, title: t('pie.value') })),
  }));
  const legend = options.showLegend ? (
    <VizLayout.Legend placement={options.placement} width={options.width}>
      <VizLegend
        placement={options.placement} displayMode={options.displayMode === LegendDisplayMode.Table ? LegendDisplayMode.Table : LegendDisplayMode.List} items={items}
        onLabelClick={(item) => toggle(item.label)}
      />
    </VizLayout.Legend>
  ) : null;
  return (
    <VizLayout width={p.width} height={p.height} legend={legend}>
      {(w, h) => <Pie slices={slices} width={w} height={h} donut={o.pieType === 'donut'} labels={strings(o.displayLabels)} label={p.panel.title} />}
    </VizLayout>
  );
}

function sortValues(values: readonly FieldDisplay[], sort: 'asc' | 'desc' | 'none'): FieldDisplay[] {
  return sort === 'none' ? [...values] : [...values].sort((a, b) => (sort === 'desc' ? 1 : -1) * (b.display.numeric - a.display.numeric));
}

function slicesOf(values: readonly FieldDisplay[], hidden: ReadonlySet<string>, sort: 'asc' | 'desc' | 'none'): Slice[] {
  const shown = sortValues(values, sort).filter((v) => !hidden.has(v.display.title ?? '') && v.display.numeric > 0);
  const total = shown.reduce((n, v) => n + v.display.numeric, 0);
  return shown.map((value) => ({
    value, name: value.display.title ?? '', color: value.display.color ?? '#808080', share: value.display.numeric / total, text: formattedValueToString(value.display),
  }));
}

interface PieProps {
  slices: readonly Slice[];
  width: number;
  height: number;
  donut: boolean;
  labels: readonly string[];
  label: string;
}

function Pie({ slices, width, height, donut, labels, label }: PieProps) {
  const theme = useTheme2();
  const r = Math.max(4, Math.min(width, height) / 2 - 6);
  const inner = donut ? r * 0.7 : 0;
  let at = 0;
  return (
    <svg width={width} height={height} role="group" aria-label={label} style={{ display: 'block' }}>
      <g transform={`translate(${width / 2} ${height / 2})`}>
        {slices.map((s) => {
          const from = at;
          at += s.share;
          const said = `${s.name}: ${s.text} (${(s.share * 100).toFixed(1)}%)`;
          const middle = (from + at) * Math.PI;
          const far = donut ? (r + inner) / 2 : r * 0.62;
          return (
            <Linked key={s.name} value={s.value}>
              {(link) => (
                <g onClick={link.open as never} style={link.has ? { cursor: 'pointer' } : undefined}>
                  <path d={slicePath(r, inner, from, at)} fill={s.color} stroke={theme.colors.background.primary} strokeWidth={1} role="img" aria-label={said}>
                    <title>{said}</title>
                  </path>
                  {labels.length > 0 && s.share > 0.03 && (
                    <text x={Math.sin(middle) * far} y={-Math.cos(middle) * far} textAnchor="middle" dominantBaseline="middle" fontSize={12} fill={theme.colors.getContrastText(solid(s.color))}>
                      {labelText(s, labels)}
                    </text>
                  )}
                </g>
              )}
            </Linked>
          );
        })}
      </g>
    </svg>
  );
}

function solid(color: string): string {
  return /^#|^rgb/.test(color) ? color : '#808080';
}

function labelText(s: Slice, labels: readonly string[]): string {
  return [labels.includes('name') ? s.name : '', labels.includes('value') ? s.text : '', labels.includes('percent') ? `${(s.share * 100).toFixed(0)}%` : ''].filter((x) => x !== '').join(' ');
}

/** slicePath draws one slice from share to share of the circle, clockwise from the top. */
export function slicePath(r: number, inner: number, from: number, to: number): string {
  const whole = to - from > 0.9999;
  const end = whole ? from + 0.9999 : to;
  const at = (share: number, radius: number) => `${(Math.sin(share * 2 * Math.PI) * radius).toFixed(2)} ${(-Math.cos(share * 2 * Math.PI) * radius).toFixed(2)}`;
  const large = end - from > 0.5 ? 1 : 0;
  const back = inner > 0 ? `L ${at(end, inner)} A ${inner} ${inner} 0 ${large} 0 ${at(from, inner)}` : 'L 0 0';
  return `M ${at(from, r)} A ${r} ${r} 0 ${large} 1 ${at(end, r)} ${back} Z`;
}
