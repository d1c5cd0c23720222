/** The options of panels as data: where each stands in the JSON, what it may be, and which types of panel have it. One table serves the form and its search. */
import { getValueFormats } from '@grafana/data';

/** A path begins with `panel`, `options` or `field` (the defaults of fieldConfig). */
export interface PanelOption {
  path: string;
  group: [english: string, korean: string];
  label: [english: string, korean: string];
  kind: 'text' | 'area' | 'number' | 'switch' | 'select' | 'calcs' | 'unit';
  choices?: readonly [value: string | number | boolean, label: string][];
  /** Without it every type of panel has the option. */
  types?: readonly string[];
  /** What Grafana assumes where nothing is set. */
  otherwise?: unknown;
}

const PANEL: [string, string] = ['Panel', '패널'];
const STANDARD: [string, string] = ['Values', '값'];
const LEGEND: [string, string] = ['Legend and tooltip', '범례와 도구 설명'];
const GRAPH: [string, string] = ['Graph', '그래프'];
const AXIS: [string, string] = ['Axis', '축'];
const SHOWN: [string, string] = ['Display', '표시'];

const words = (...all: string[]): [string, string][] => all.map((w) => [w, w]);
const SERIES = ['timeseries'];
const SINGLE = ['stat', 'gauge', 'bargauge'];
const WITH_LEGEND = ['timeseries', 'barchart', 'histogram', 'piechart', 'state-timeline', 'status-history'];
const LANES = ['state-timeline', 'status-history'];

export const PANEL_TYPES = ['timeseries', 'stat', 'gauge', 'bargauge', 'table', 'piechart', 'heatmap', 'barchart', 'histogram', 'state-timeline', 'status-history', 'text', 'alertlist', 'dashlist'];

export const CALCS = ['lastNotNull', 'last', 'mean', 'max', 'min', 'sum', 'count', 'range', 'delta', 'diff', 'diffperc', 'first', 'firstNotNull', 'median', 'p90', 'p95', 'p99', 'stdDev', 'variance', 'changeCount', 'distinctCount', 'allIsNull', 'allIsZero', 'allValues', 'uniqueValues', 'step'];

export const OPTIONS: readonly PanelOption[] = [
  { path: 'panel.title', group: PANEL, label: ['Title', '제목'], kind: 'text' },
  { path: 'panel.description', group: PANEL, label: ['Description', '설명'], kind: 'area' },
  { path: 'panel.transparent', group: PANEL, label: ['Transparent background', '투명 배경'], kind: 'switch', otherwise: false },
  { path: 'panel.repeat', group: PANEL, label: ['Repeat by variable', '변수별 반복'], kind: 'text' },
  { path: 'panel.repeatDirection', group: PANEL, label: ['Repeat direction', '반복 방향'], kind: 'select', choices: [['h', '→'], ['v', '↓']], otherwise: 'h' },
  { path: 'panel.maxPerRow', group: PANEL, label: ['At most in a row', '한 행의 최대 개수'], kind: 'select', choices: [2, 3, 4, 6, 8, 12].map((n) => [n, String(n)]), otherwise: 4 },
  { path: 'panel.interval', group: PANEL, label: ['Minimum interval', '최소 간격'], kind: 'text' },
  { path: 'panel.maxDataPoints', group: PANEL, label: ['Maximum data points', '최대 데이터 포인트'], kind: 'number' },
  { path: 'panel.timeFrom', group: PANEL, label: ['Own time range', '자체 시간 범위'], kind: 'text' },
  { path: 'panel.timeShift', group: PANEL, label: ['Time shift', '시간 이동'], kind: 'text' },
  { path: 'panel.hideTimeOverride', group: PANEL, label: ['Hide the note of its own time', '자체 시간 표시 숨기기'], kind: 'switch', otherwise: false },

  { path: 'options.mode', group: SHOWN, label: ['Text is', '텍스트 형식'], kind: 'select', choices: words('markdown', 'html', 'code'), types: ['text'], otherwise: 'markdown' },
  { path: 'options.content', group: SHOWN, label: ['Content', '내용'], kind: 'area', types: ['text'] },
  { path: 'options.reduceOptions.calcs', group: SHOWN, label: ['Calculation', '계산'], kind: 'calcs', types: [...SINGLE, 'piechart'], otherwise: ['lastNotNull'] },
  { path: 'options.reduceOptions.values', group: SHOWN, label: ['Show every row', '모든 행 표시'], kind: 'switch', types: [...SINGLE, 'piechart'], otherwise: false },
  { path: 'options.reduceOptions.fields', group: SHOWN, label: ['Fields', '필드'], kind: 'text', types: [...SINGLE, 'piechart'] },
  { path: 'options.textMode', group: SHOWN, label: ['Text mode', '텍스트 모드'], kind: 'select', choices: words('auto', 'value', 'value_and_name', 'name', 'none'), types: ['stat'], otherwise: 'auto' },
  { path: 'options.colorMode', group: SHOWN, label: ['Colour mode', '색상 모드'], kind: 'select', choices: words('value', 'background', 'background_solid', 'none'), types: ['stat'], otherwise: 'value' },
  { path: 'options.graphMode', group: SHOWN, label: ['Graph mode', '그래프 모드'], kind: 'select', choices: words('area', 'none'), types: ['stat'], otherwise: 'area' },
  { path: 'options.justifyMode', group: SHOWN, label: ['Alignment', '정렬'], kind: 'select', choices: words('auto', 'center'), types: ['stat'], otherwise: 'auto' },
  { path: 'options.orientation', group: SHOWN, label: ['Orientation', '방향'], kind: 'select', choices: words('auto', 'horizontal', 'vertical'), types: [...SINGLE, 'barchart'], otherwise: 'auto' },
  { path: 'options.showThresholdLabels', group: SHOWN, label: ['Threshold labels', '임계값 레이블'], kind: 'switch', types: ['gauge'], otherwise: false },
  { path: 'options.showThresholdMarkers', group: SHOWN, label: ['Threshold markers', '임계값 표시'], kind: 'switch', types: ['gauge'], otherwise: true },
  { path: 'options.displayMode', group: SHOWN, label: ['Display mode', '표시 모드'], kind: 'select', choices: words('gradient', 'lcd', 'basic'), types: ['bargauge'], otherwise: 'gradient' },
  { path: 'options.valueMode', group: SHOWN, label: ['Value colour', '값 색상'], kind: 'select', choices: words('color', 'text', 'hidden'), types: ['bargauge'], otherwise: 'color' },
  { path: 'options.showUnfilled', group: SHOWN, label: ['Show the unfilled part', '채워지지 않은 부분 표시'], kind: 'switch', types: ['bargauge'], otherwise: true },
  { path: 'options.showHeader', group: SHOWN, label: ['Show header', '머리글 표시'], kind: 'switch', types: ['table'], otherwise: true },
  { path: 'options.cellHeight', group: SHOWN, label: ['Cell height', '셀 높이'], kind: 'select', choices: words('sm', 'md', 'lg'), types: ['table'], otherwise: 'sm' },
  { path: 'field.custom.align', group: SHOWN, label: ['Column alignment', '열 정렬'], kind: 'select', choices: words('auto', 'left', 'center', 'right'), types: ['table'], otherwise: 'auto' },
  { path: 'field.custom.width', group: SHOWN, label: ['Column width', '열 너비'], kind: 'number', types: ['table'] },
  { path: 'field.custom.cellOptions.type', group: SHOWN, label: ['Cell type', '셀 유형'], kind: 'select', choices: words('auto', 'color-text', 'color-background', 'gauge', 'sparkline', 'json-view'), types: ['table'], otherwise: 'auto' },
  { path: 'field.custom.filterable', group: SHOWN, label: ['Column filter', '열 필터'], kind: 'switch', types: ['table'], otherwise: false },
  { path: 'options.pieType', group: SHOWN, label: ['Chart', '차트'], kind: 'select', choices: words('pie', 'donut'), types: ['piechart'], otherwise: 'pie' },
  { path: 'options.showValue', group: SHOWN, label: ['Show values', '값 표시'], kind: 'select', choices: words('auto', 'always', 'never'), types: [...LANES, 'barchart'], otherwise: 'auto' },
  { path: 'options.mergeValues', group: SHOWN, label: ['Merge equal values', '같은 값 병합'], kind: 'switch', types: ['state-timeline'], otherwise: true },
  { path: 'options.alignValue', group: SHOWN, label: ['Align values', '값 정렬'], kind: 'select', choices: words('left', 'center', 'right'), types: ['state-timeline'], otherwise: 'left' },
  { path: 'options.rowHeight', group: SHOWN, label: ['Row height, 0 to 1', '행 높이(0~1)'], kind: 'number', types: LANES, otherwise: 0.9 },
  { path: 'options.colWidth', group: SHOWN, label: ['Column width, 0 to 1', '열 너비(0~1)'], kind: 'number', types: ['status-history'], otherwise: 0.9 },
  { path: 'options.calculate', group: SHOWN, label: ['Calculate from series', '계열에서 계산'], kind: 'switch', types: ['heatmap'], otherwise: false },
  { path: 'options.color.scheme', group: SHOWN, label: ['Colour scheme', '색 구성표'], kind: 'select', choices: words('Oranges', 'Blues', 'Greens', 'Reds', 'Purples', 'Greys', 'Spectral', 'RdYlGn', 'Turbo', 'Viridis', 'Magma', 'Inferno', 'Plasma'), types: ['heatmap'], otherwise: 'Oranges' },
  { path: 'options.stacking', group: SHOWN, label: ['Stacking', '누적'], kind: 'select', choices: words('none', 'normal', 'percent'), types: ['barchart'], otherwise: 'none' },
  { path: 'options.barWidth', group: SHOWN, label: ['Bar width, 0 to 1', '막대 너비(0~1)'], kind: 'number', types: ['barchart'], otherwise: 0.97 },
  { path: 'options.bucketCount', group: SHOWN, label: ['Number of buckets', '버킷 수'], kind: 'number', types: ['histogram'], otherwise: 30 },
  { path: 'options.bucketSize', group: SHOWN, label: ['Bucket size', '버킷 크기'], kind: 'number', types: ['histogram'] },

  { path: 'field.custom.drawStyle', group: GRAPH, label: ['Style', '스타일'], kind: 'select', choices: words('line', 'bars', 'points'), types: SERIES, otherwise: 'line' },
  { path: 'field.custom.lineInterpolation', group: GRAPH, label: ['Line interpolation', '선 보간'], kind: 'select', choices: words('linear', 'smooth', 'stepBefore', 'stepAfter'), types: SERIES, otherwise: 'linear' },
  { path: 'field.custom.lineWidth', group: GRAPH, label: ['Line width', '선 두께'], kind: 'number', types: [...SERIES, 'barchart', 'histogram', ...LANES], otherwise: 1 },
  { path: 'field.custom.fillOpacity', group: GRAPH, label: ['Fill opacity, %', '채우기 불투명도(%)'], kind: 'number', types: [...SERIES, 'barchart', 'histogram', ...LANES], otherwise: 0 },
  { path: 'field.custom.gradientMode', group: GRAPH, label: ['Gradient', '그라데이션'], kind: 'select', choices: words('none', 'opacity', 'hue', 'scheme'), types: [...SERIES, 'barchart'], otherwise: 'none' },
  { path: 'field.custom.lineStyle.fill', group: GRAPH, label: ['Line style', '선 스타일'], kind: 'select', choices: words('solid', 'dash', 'dot'), types: SERIES, otherwise: 'solid' },
  { path: 'field.custom.showPoints', group: GRAPH, label: ['Points', '점'], kind: 'select', choices: words('auto', 'always', 'never'), types: SERIES, otherwise: 'auto' },
  { path: 'field.custom.pointSize', group: GRAPH, label: ['Point size', '점 크기'], kind: 'number', types: SERIES, otherwise: 5 },
  { path: 'field.custom.spanNulls', group: GRAPH, label: ['Connect over gaps', '빈 구간 연결'], kind: 'switch', types: SERIES, otherwise: false },
  { path: 'field.custom.stacking.mode', group: GRAPH, label: ['Stack series', '계열 누적'], kind: 'select', choices: words('none', 'normal', 'percent'), types: SERIES, otherwise: 'none' },
  { path: 'field.custom.thresholdsStyle.mode', group: GRAPH, label: ['Show thresholds', '임계값 표시'], kind: 'select', choices: words('off', 'line', 'dashed', 'area', 'line+area'), types: SERIES, otherwise: 'off' },
  { path: 'field.custom.axisPlacement', group: AXIS, label: ['Placement', '위치'], kind: 'select', choices: words('auto', 'left', 'right', 'hidden'), types: [...SERIES, 'barchart'], otherwise: 'auto' },
  { path: 'field.custom.axisLabel', group: AXIS, label: ['Label', '레이블'], kind: 'text', types: [...SERIES, 'barchart', 'histogram'] },
  { path: 'field.custom.axisSoftMin', group: AXIS, label: ['Soft minimum', '유연한 최솟값'], kind: 'number', types: SERIES },
  { path: 'field.custom.axisSoftMax', group: AXIS, label: ['Soft maximum', '유연한 최댓값'], kind: 'number', types: SERIES },
  { path: 'field.custom.axisCenteredZero', group: AXIS, label: ['Centred zero', '0을 가운데로'], kind: 'switch', types: SERIES, otherwise: false },
  { path: 'field.custom.scaleDistribution.type', group: AXIS, label: ['Scale', '눈금'], kind: 'select', choices: words('linear', 'log', 'symlog'), types: SERIES, otherwise: 'linear' },

  { path: 'options.legend.showLegend', group: LEGEND, label: ['Show legend', '범례 표시'], kind: 'switch', types: WITH_LEGEND, otherwise: true },
  { path: 'options.legend.displayMode', group: LEGEND, label: ['Legend mode', '범례 모드'], kind: 'select', choices: words('list', 'table'), types: WITH_LEGEND, otherwise: 'list' },
  { path: 'options.legend.placement', group: LEGEND, label: ['Legend placement', '범례 위치'], kind: 'select', choices: words('bottom', 'right'), types: WITH_LEGEND, otherwise: 'bottom' },
  { path: 'options.legend.calcs', group: LEGEND, label: ['Legend values', '범례 값'], kind: 'calcs', types: WITH_LEGEND, otherwise: [] },
  { path: 'options.tooltip.mode', group: LEGEND, label: ['Tooltip', '도구 설명'], kind: 'select', choices: words('single', 'multi', 'none'), types: [...WITH_LEGEND, 'heatmap'], otherwise: 'single' },
  { path: 'options.tooltip.sort', group: LEGEND, label: ['Tooltip order', '도구 설명 순서'], kind: 'select', choices: words('none', 'asc', 'desc'), types: WITH_LEGEND, otherwise: 'none' },

  { path: 'field.unit', group: STANDARD, label: ['Unit', '단위'], kind: 'unit' },
  { path: 'field.min', group: STANDARD, label: ['Minimum', '최솟값'], kind: 'number' },
  { path: 'field.max', group: STANDARD, label: ['Maximum', '최댓값'], kind: 'number' },
  { path: 'field.decimals', group: STANDARD, label: ['Decimals', '소수 자릿수'], kind: 'number' },
  { path: 'field.displayName', group: STANDARD, label: ['Display name', '표시 이름'], kind: 'text' },
  { path: 'field.noValue', group: STANDARD, label: ['Text for no value', '값이 없을 때의 텍스트'], kind: 'text' },
  { path: 'field.color.mode', group: STANDARD, label: ['Colour scheme', '색 구성표'], kind: 'select', choices: words('thresholds', 'palette-classic', 'palette-classic-by-name', 'fixed', 'shades', 'continuous-GrYlRd', 'continuous-RdYlGr', 'continuous-BlYlRd', 'continuous-YlRd', 'continuous-BlPu', 'continuous-YlBl', 'continuous-blues', 'continuous-reds', 'continuous-greens', 'continuous-purples') },
  { path: 'field.color.fixedColor', group: STANDARD, label: ['Fixed colour', '고정 색상'], kind: 'text' },
];

/** optionsFor lists a type's options whose label, group or path has every word; in both languages, as people remember names of either. */
export function optionsFor(type: string, text: string): PanelOption[] {
  const wanted = text.toLowerCase().split(/\s+/).filter((w) => w !== '');
  return OPTIONS.filter((o) => {
    const told = [...o.label, ...o.group, o.path].join(' ').toLowerCase();
    return (!o.types || o.types.includes(type)) && (type !== 'text' || !o.path.startsWith('field.')) && wanted.every((w) => told.includes(w));
  });
}

type Json = Record<string, unknown>;

function root(path: string): string[] {
  const [head, ...rest] = path.split('.');
  return head === 'field' ? ['fieldConfig', 'defaults', ...rest] : head === 'options' ? ['options', ...rest] : rest;
}

/** readOption reads a value at a path; what is not set is undefined. */
export function readOption(panel: Json, path: string): unknown {
  return root(path).reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Json)[key] : undefined), panel);
}

/** writeOption answers a panel with a value at a path; undefined takes it away. */
export function writeOption(panel: Json, path: string, value: unknown): Json {
  const write = (at: unknown, keys: readonly string[]): unknown => {
    const [key, ...rest] = keys;
    if (key === undefined) {
      return value;
    }
    const o: Json = typeof at === 'object' && at !== null && !Array.isArray(at) ? { ...(at as Json) } : {};
    const next = write(o[key], rest);
    if (next === undefined) {
      delete o[key];
    } else {
      o[key] = next;
    }
    return o;
  };
  return write(panel, root(path)) as Json;
}

/** unitChoices lists every unit that Grafana knows, by group. */
export function unitChoices(): { label: string; value: string }[] {
  return getValueFormats().flatMap((g) => (g.submenu ?? []).map((u) => ({ label: `${g.text} / ${u.text}`, value: u.value })));
}
