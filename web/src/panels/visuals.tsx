/** The visualisations: each takes frames that had their options applied and draws them with Grafana's components. */
import {
  FieldType, getDisplayValueAlignmentFactors, getFieldDisplayName, getFieldDisplayValues, renderTextPanelMarkdown,
  textUtil, VizOrientation, type DashboardCursorSync, type DataFrame, type FieldConfigSource, type FieldDisplay, type InterpolateFunction, type TimeRange,
} from '@grafana/data';
import { BarGaugeDisplayMode, BarGaugeValueMode, LegendDisplayMode, SortOrder, TooltipDisplayMode, type VizLegendOptions } from '@grafana/schema';
import { useMemo, useState } from 'react';
import { bool, numberOr, oneOf } from './options';
import { obj, objects, str, strings } from '../board/json';
import type { Panel } from '../board/model';
import {
  BarGauge, BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, BigValueTextMode, Select, useT, useTheme2, VizRepeater,
} from '../ui';
import { Gauge } from '../ui/viz/gauge';
import { TableViz } from '../ui/viz/table';
import { TimeSeriesViz } from '../ui/viz/time_series';
import { graphable } from './prepare';

export interface VisualProps {
  panel: Panel;
  frames: DataFrame[];
  fieldConfig: FieldConfigSource;
  width: number;
  height: number;
  range: TimeRange;
  timeZone: string;
  replace: InterpolateFunction;
  sync: DashboardCursorSync;
  syncScope: string;
  onZoom: (range: { from: number; to: number }) => void;
}

/** MAX_SERIES bounds what one chart draws; past it a browser is busier with lines than a reader can tell apart. */
export const MAX_SERIES = 1000;

/** legendOptions reads a legend in today's form, with Grafana's defaults. */
export function legendOptions(raw: unknown): VizLegendOptions {
  const l = obj(raw);
  const hidden = l.showLegend === false || l.displayMode === 'hidden';
  return {
    showLegend: !hidden,
    displayMode: l.displayMode === 'table' ? LegendDisplayMode.Table : LegendDisplayMode.List,
    placement: l.placement === 'right' ? 'right' : 'bottom',
    calcs: strings(l.calcs),
    ...(str(l.sortBy) === '' ? {} : { sortBy: str(l.sortBy), sortDesc: l.sortDesc === true }),
    ...(typeof l.width === 'number' ? { width: l.width } : {}),
  };
}

export function TimeSeriesVisual(p: VisualProps) {
  const t = useT();
  const frames = useMemo(() => graphable(p.frames), [p.frames]);
  const shown = frames.length > MAX_SERIES ? frames.slice(0, MAX_SERIES) : frames;
  const tooltip = obj(p.panel.options.tooltip);
  const legend = useMemo(() => legendOptions(p.panel.options.legend), [p.panel.options.legend]);
  const tooltipOptions = useMemo(
    () => ({
      mode: oneOf(tooltip.mode, [TooltipDisplayMode.Single, TooltipDisplayMode.Multi, TooltipDisplayMode.None], TooltipDisplayMode.Single),
      sort: oneOf(tooltip.sort, [SortOrder.None, SortOrder.Ascending, SortOrder.Descending], SortOrder.None),
      hideZeros: tooltip.hideZeros === true,
    }),
    [tooltip.mode, tooltip.sort, tooltip.hideZeros]
  );
  if (shown.length === 0) {
    return <Sentence text={t('panel.notNumeric')} />;
  }
  return (
    <TimeSeriesViz
      frames={shown} width={p.width} height={p.height} timeRange={p.range} timeZone={p.timeZone} legend={legend} tooltip={tooltipOptions}
      sync={p.sync} syncScope={p.syncScope} onZoom={p.onZoom}
    />
  );
}

function useFieldValues(p: VisualProps, sparkline: boolean): () => FieldDisplay[] {
  const theme = useTheme2();
  return useMemo(() => {
    const reduce = obj(p.panel.options.reduceOptions);
    const calcs = strings(reduce.calcs);
    const reduceOptions = {
      calcs: calcs.length > 0 ? calcs : ['lastNotNull'],
      values: reduce.values === true,
      fields: str(reduce.fields),
      ...(typeof reduce.limit === 'number' ? { limit: reduce.limit } : {}),
    };
    let cached: FieldDisplay[] | null = null;
    return () =>
      (cached ??= getFieldDisplayValues({
        fieldConfig: p.fieldConfig, reduceOptions, replaceVariables: p.replace, theme, data: p.frames, sparkline, timeZone: p.timeZone,
      }));
  }, [p.fieldConfig, p.panel.options.reduceOptions, p.replace, theme, p.frames, sparkline, p.timeZone]);
}

export function StatVisual(p: VisualProps) {
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
            text={obj(o.text)}
            width={width}
            height={height}
            theme={theme}
          />
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

export function GaugeVisual(p: VisualProps) {
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

/** Percent units without limits run to 100 %, as Grafana's gauges do. */
function gaugeField(value: FieldDisplay): FieldDisplay['field'] {
  const f = value.field;
  const min = f.min ?? 0;
  const max = f.max ?? (f.unit === 'percentunit' ? 1 : 100);
  return { ...f, min, max };
}

export function BarGaugeVisual(p: VisualProps) {
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
        />
      )}
    />
  );
}

export function TableVisual(p: VisualProps) {
  const o = p.panel.options;
  const [picked, setPicked] = useState<number | null>(null);
  const frames = p.frames.filter((f) => f.fields.length > 0);
  const index = Math.min(picked ?? numberOr(o.frameIndex, 0), Math.max(0, frames.length - 1));
  const frame = frames[index];
  const sortBy = useMemo(
    () => objects(o.sortBy).map((s) => ({ displayName: str(s.displayName), desc: s.desc === true })),
    [o.sortBy]
  );
  const shown = useMemo(() => (frame ? visibleColumns(frame) : undefined), [frame]);
  if (!shown) {
    return null;
  }
  const many = frames.length > 1;
  const choices = many ? frames.map((f, value) => ({ value, label: frameTitle(f, frames) })) : [];
  return (
    <div>
      <TableViz
        frame={shown}
        width={p.width}
        height={p.height - (many ? 40 : 0)}
        label={p.panel.title}
        noHeader={o.showHeader === false}
        sortBy={sortBy}
        cellHeight={oneOf(o.cellHeight, ['sm', 'md', 'lg'], 'sm') as never}
        pagination={obj(o.footer).enablePagination === true || o.enablePagination === true}
        fieldConfig={p.fieldConfig}
      />
      {many && (
        <div style={{ paddingTop: 8 }}>
          <Select aria-label={p.panel.title} options={choices} value={index} onChange={(v) => setPicked(v.value ?? 0)} />
        </div>
      )}
    </div>
  );
}

function frameTitle(frame: DataFrame, frames: DataFrame[]): string {
  const value = frame.fields.find((f) => f.type === FieldType.number);
  return value ? getFieldDisplayName(value, frame, frames) : (frame.name ?? frame.refId ?? '');
}

/** visibleColumns takes out columns that were hidden by an override, which the table itself also honours under another name. */
function visibleColumns(frame: DataFrame): DataFrame {
  const fields = frame.fields.filter((f) => f.config.custom?.hidden !== true && f.config.custom?.hideFrom?.viz !== true);
  return fields.length === frame.fields.length ? frame : { ...frame, fields };
}

export function TextVisual({ panel, replace, width, height }: VisualProps) {
  const mode = str(panel.options.mode, 'markdown');
  const content = replace(str(panel.options.content));
  const style = { width, height, overflow: 'auto' };
  if (mode === 'code') {
    return <pre style={style}>{content}</pre>;
  }
  const html = mode === 'html' ? textUtil.sanitizeTextPanelContent(content) : renderTextPanelMarkdown(content, { noSanitize: false });
  return <div className="markdown-html" style={style} dangerouslySetInnerHTML={{ __html: html }} />;
}

/** Sentence fills a panel with one sentence, in the middle. */
export function Sentence({ text, children }: { text: string; children?: React.ReactNode }) {
  const theme = useTheme2();
  return (
    <div
      role="status"
      style={{
        height: '100%', display: 'flex', flexDirection: 'column', gap: 8, alignItems: 'center', justifyContent: 'safe center', textAlign: 'center', overflow: 'auto',
        color: theme.colors.text.secondary, padding: 8,
      }}
    >
      <span style={{ overflowWrap: 'anywhere', maxWidth: '100%' }}>{text}</span>
      {children}
    </div>
  );
}

/** noValueText is what a panel shows in place of a value when its options name one. */
export function noValueText(panel: Panel): string {
  return str(panel.fieldConfig.defaults.noValue);
}

