/** The radial gauge with threshold band. @grafana/ui 13 no longer exports one, so this draws it as SVG in the same look. */
import { formattedValueToString, type DisplayProcessor, type DisplayValue, type FieldConfig, type GrafanaTheme2 } from '@grafana/data';
import { measureText, useTheme2 } from '@grafana/ui';

export interface GaugeProps {
  width: number;
  height: number;
  value: DisplayValue;
  field: FieldConfig;
  display?: DisplayProcessor;
  showThresholdMarkers: boolean;
  showThresholdLabels: boolean;
  showName: boolean;
}

const START = -225;
const SWEEP = 270;

/** Arc is a piece of the threshold band, as shares of the sweep. */
export interface Arc {
  from: number;
  to: number;
  color: string;
}

/** Gauge draws one value. */
export function Gauge(props: GaugeProps) {
  const theme = useTheme2();
  const { width, height, value, field } = props;
  const min = field.min ?? 0;
  const max = field.max ?? 100;
  const nameHeight = props.showName && value.title ? Math.min(28, height * 0.18) : 0;
  const box = geometry(width, height - nameHeight);
  const share = Number.isNaN(value.numeric) ? 0 : clamp((value.numeric - min) / (max - min || 1));
  const arcs = thresholdArcs(field, min, max, theme);
  const text = formattedValueToString(value);
  const size = textSize(text, box.inner * 1.35, box.radius * 0.42);
  const bandWidth = props.showThresholdMarkers ? Math.max(2, box.radius * 0.05) : 0;
  const barWidth = box.radius * 0.2;
  const barRadius = box.radius - bandWidth - (bandWidth > 0 ? 2 : 0) - barWidth / 2;
  return (
    <svg width={width} height={height} role="img" aria-label={`${value.title ?? ''} ${text}`.trim()}>
      {props.showThresholdMarkers &&
        arcs.map((a, i) => (
          <path key={i} d={arcPath(box, box.radius - bandWidth / 2, a.from, a.to)} stroke={a.color} strokeWidth={bandWidth} fill="none" />
        ))}
      <path d={arcPath(box, barRadius, 0, 1)} stroke={theme.isDark ? theme.colors.background.secondary : theme.colors.secondary.main} strokeWidth={barWidth} fill="none" />
      {share > 0 && <path d={arcPath(box, barRadius, 0, Math.max(share, 0.004))} stroke={value.color ?? theme.colors.primary.main} strokeWidth={barWidth} fill="none" />}
      <text x={box.cx} y={box.cy + size * 0.35} textAnchor="middle" fontSize={size} fontWeight={500} fill={value.color ?? theme.colors.text.primary}>
        {text}
      </text>
      {props.showThresholdLabels && <ThresholdLabels box={box} field={field} min={min} max={max} display={props.display} theme={theme} />}
      {nameHeight > 0 && (
        <text x={width / 2} y={height - nameHeight * 0.3} textAnchor="middle" fontSize={Math.min(14, nameHeight * 0.6)} fill={theme.colors.text.primary}>
          {value.title}
        </text>
      )}
    </svg>
  );
}

interface Box {
  cx: number;
  cy: number;
  radius: number;
  inner: number;
}

function geometry(width: number, height: number): Box {
  // The sweep leaves out the bottom quarter, so the drawing is 1.707 radii high.
  const radius = Math.max(8, Math.min(width / 2 - 4, (height - 8) / 1.72));
  return { cx: width / 2, cy: Math.max(radius + 4, (height - radius * 1.72) / 2 + radius), radius, inner: radius * 0.7 };
}

function clamp(x: number): number {
  return Math.max(0, Math.min(1, x));
}

function point(box: Box, r: number, share: number): string {
  const angle = ((START + SWEEP * share) * Math.PI) / 180;
  return `${(box.cx + r * Math.cos(angle)).toFixed(2)} ${(box.cy + r * Math.sin(angle)).toFixed(2)}`;
}

function arcPath(box: Box, r: number, from: number, to: number): string {
  const large = (to - from) * SWEEP > 180 ? 1 : 0;
  return `M ${point(box, r, from)} A ${r.toFixed(2)} ${r.toFixed(2)} 0 ${large} 1 ${point(box, r, to)}`;
}

function textSize(text: string, maxWidth: number, max: number): number {
  const width = measureText(text, 20).width || 1;
  return Math.max(8, Math.min(max, (maxWidth / width) * 20));
}

/** thresholdArcs cuts the sweep at each threshold. */
export function thresholdArcs(field: FieldConfig, min: number, max: number, theme: GrafanaTheme2): Arc[] {
  const steps = field.thresholds?.steps ?? [];
  const percentage = field.thresholds?.mode === 'percentage';
  const share = (v: number) => clamp(percentage ? v / 100 : (v - min) / (max - min || 1));
  const arcs: Arc[] = [];
  steps.forEach((step, i) => {
    const from = i === 0 ? 0 : share(step.value);
    const next = steps[i + 1];
    const to = next ? share(next.value) : 1;
    if (to > from) {
      arcs.push({ from, to, color: theme.visualization.getColorByName(step.color) });
    }
  });
  return arcs;
}

interface LabelsProps {
  box: Box;
  field: FieldConfig;
  min: number;
  max: number;
  display?: DisplayProcessor;
  theme: GrafanaTheme2;
}

function ThresholdLabels({ box, field, min, max, display, theme }: LabelsProps) {
  const percentage = field.thresholds?.mode === 'percentage';
  const values = (field.thresholds?.steps ?? []).slice(1).map((s) => (percentage ? min + ((max - min) * s.value) / 100 : s.value)).filter((v) => v >= min && v <= max);
  return (
    <>
      {values.map((v) => {
        const [x = '0', y = '0'] = point(box, box.radius + 8, clamp((v - min) / (max - min || 1))).split(' ');
        return (
          <text key={v} x={x} y={y} fontSize={10} textAnchor={Number(x) < box.cx ? 'end' : 'start'} fill={theme.colors.text.secondary}>
            {display ? formattedValueToString(display(v)) : String(v)}
          </text>
        );
      })}
    </>
  );
}
