/** What each part of a query does, in one sentence, English and Korean. */
import type { Part } from '../data/explain';
import type { Language } from '../ui';

/** FUNCTIONS: what a function gives for each series; `{1}` is its first argument that is a number or text, and so on. */
const FUNCTIONS: Record<string, [english: string, korean: string]> = {
  abs: ['the values without their sign', '값의 절댓값'],
  absent: ['1 when there is no such series, nothing otherwise', '해당 계열이 없으면 1, 있으면 없음'],
  absent_over_time: ['1 when no sample came in that time, nothing otherwise', '그 시간 동안 샘플이 없으면 1, 있으면 없음'],
  avg_over_time: ['the average of the samples of that time', '그 시간 동안 샘플의 평균'],
  ceil: ['the values rounded up', '올림한 값'],
  changes: ['how often the value changed in that time', '그 시간 동안 값이 바뀐 횟수'],
  clamp: ['the values, held between {1} and {2}', '{1}에서 {2} 사이로 제한한 값'],
  clamp_max: ['the values, at most {1}', '최대 {1}(으)로 제한한 값'],
  clamp_min: ['the values, at least {1}', '최소 {1}(으)로 제한한 값'],
  count_over_time: ['how many samples came in that time', '그 시간 동안의 샘플 수'],
  days_in_month: ['how many days the month has', '그 달의 일수'],
  delta: ['the difference between the first and last value of that time, for gauges', '그 시간의 첫 값과 마지막 값의 차이(게이지용)'],
  deriv: ['how fast a gauge rises or falls per second, by linear regression', '선형 회귀로 구한 게이지의 초당 변화율'],
  exp: ['e to the power of the values', 'e의 거듭제곱'],
  floor: ['the values rounded down', '내림한 값'],
  histogram_avg: ['the average of native histograms', '네이티브 히스토그램의 평균'],
  histogram_count: ['the number of observations in native histograms', '네이티브 히스토그램의 관측 수'],
  histogram_fraction: ['the share of observations between {1} and {2}', '{1}에서 {2} 사이 관측의 비율'],
  histogram_quantile: ['the value below which a share of {1} of the observations lies, estimated from buckets', '버킷으로 추정한, 관측의 {1} 비율이 그 아래에 있는 값'],
  histogram_sum: ['the sum of observations in native histograms', '네이티브 히스토그램 관측의 합'],
  idelta: ['the difference between the last two samples', '마지막 두 샘플의 차이'],
  increase: ['by how much a counter grew in that time; resets are taken into account', '그 시간 동안 카운터가 증가한 양(재시작 보정)'],
  irate: ['the growth per second of a counter between its last two samples', '마지막 두 샘플 사이 카운터의 초당 증가율'],
  label_join: ['the same values with the label {1} put together from other labels', '다른 레이블을 합쳐 레이블 {1}을(를) 만든 같은 값'],
  label_replace: ['the same values with the label {1} made from {3} by the pattern {4}', '{3}에서 패턴 {4}(으)로 레이블 {1}을(를) 만든 같은 값'],
  last_over_time: ['the last sample of that time', '그 시간의 마지막 샘플'],
  ln: ['the natural logarithm of the values', '값의 자연로그'],
  log10: ['the decimal logarithm of the values', '값의 상용로그'],
  log2: ['the binary logarithm of the values', '값의 이진로그'],
  mad_over_time: ['the median absolute deviation of that time', '그 시간의 중앙값 절대 편차'],
  max_over_time: ['the largest sample of that time', '그 시간의 최댓값'],
  min_over_time: ['the smallest sample of that time', '그 시간의 최솟값'],
  predict_linear: ['the value expected in {1} seconds if the trend of that time goes on', '그 시간의 추세가 이어질 때 {1}초 뒤에 예상되는 값'],
  present_over_time: ['1 for every series that had a sample in that time', '그 시간에 샘플이 있던 계열마다 1'],
  quantile_over_time: ['the value below which a share of {1} of the samples of that time lies', '그 시간 샘플의 {1} 비율이 그 아래에 있는 값'],
  rate: ['the average growth per second of a counter over that time; resets are taken into account', '그 시간 동안 카운터의 초당 평균 증가율(재시작 보정)'],
  resets: ['how often a counter began again in that time', '그 시간 동안 카운터가 다시 시작한 횟수'],
  round: ['the rounded values', '반올림한 값'],
  scalar: ['the one value as a plain number, or NaN when there is not exactly one series', '계열이 하나일 때 그 값, 아니면 NaN'],
  sgn: ['1, 0 or -1 by the sign of the values', '값의 부호에 따라 1, 0, -1'],
  sort: ['the series in ascending order', '오름차순으로 정렬한 계열'],
  sort_desc: ['the series in descending order', '내림차순으로 정렬한 계열'],
  sqrt: ['the square root of the values', '값의 제곱근'],
  stddev_over_time: ['the standard deviation of that time', '그 시간의 표준 편차'],
  stdvar_over_time: ['the variance of that time', '그 시간의 분산'],
  sum_over_time: ['the sum of the samples of that time', '그 시간 샘플의 합'],
  time: ['the time of the evaluation, seconds since 1970', '평가 시각(1970년부터의 초)'],
  timestamp: ['when each sample was taken, seconds since 1970', '각 샘플의 시각(1970년부터의 초)'],
  vector: ['a number as a series without labels', '레이블 없는 계열로 만든 숫자'],
};

const AGGREGATIONS: Record<string, [english: string, korean: string]> = {
  sum: ['the sum', '합계'], avg: ['the average', '평균'], min: ['the smallest value', '최솟값'], max: ['the largest value', '최댓값'], count: ['the number of series', '계열 수'],
  group: ['a 1', '1'], stddev: ['the standard deviation', '표준 편차'], stdvar: ['the variance', '분산'], topk: ['the {1} largest series', '가장 큰 {1}개 계열'], bottomk: ['the {1} smallest series', '가장 작은 {1}개 계열'],
  count_values: ['how many series have each value, which goes into the label {1}', '각 값(레이블 {1})을 가진 계열 수'], quantile: ['the value below which a share of {1} of the series lies', '계열의 {1} 비율이 그 아래에 있는 값'],
  limitk: ['{1} of the series', '계열 {1}개'], limit_ratio: ['a share of {1} of the series', '계열의 {1} 비율'],
};

const OPERATORS: Record<string, [english: string, korean: string]> = {
  '+': ['Adds the right side to the left', '왼쪽에 오른쪽을 더합니다'], '-': ['Subtracts the right side from the left', '왼쪽에서 오른쪽을 뺍니다'], '*': ['Multiplies both sides', '양쪽을 곱합니다'],
  '/': ['Divides the left side by the right', '왼쪽을 오른쪽으로 나눕니다'], '%': ['The remainder of the left side divided by the right', '왼쪽을 오른쪽으로 나눈 나머지입니다'],
  '^': ['The left side to the power of the right', '왼쪽을 오른쪽만큼 거듭제곱합니다'], atan2: ['The angle of both sides, in radians', '양쪽의 각도(라디안)입니다'],
  and: ['Keeps series of the left side that have a partner on the right', '오른쪽에 짝이 있는 왼쪽 계열만 남깁니다'],
  or: ['All series of the left side, and those of the right side that the left side lacks', '왼쪽의 모든 계열과, 왼쪽에 없는 오른쪽 계열입니다'],
  unless: ['Keeps series of the left side that have no partner on the right', '오른쪽에 짝이 없는 왼쪽 계열만 남깁니다'],
};

const COMPARISONS: Record<string, [english: string, korean: string]> = {
  '==': ['equal to', '같은'], '!=': ['different from', '다른'], '>': ['above', '보다 큰'], '<': ['below', '보다 작은'], '>=': ['at least', '이상인'], '<=': ['at most', '이하인'],
};

/** sentenceOf says what a part does. */
export function sentenceOf(part: Part, language: Language): string {
  const ko = language === 'ko';
  const pick = (pair: [string, string]) => pair[ko ? 1 : 0];
  const first = part.children[0];
  const literals = part.children.filter((c) => c.kind === 'number' || c.kind === 'string').map((c) => c.text);
  const fill = (s: string) => s.replace(/\{(\d)\}/g, (_, n: string) => literals[Number(n) - 1] ?? '…');
  switch (part.kind) {
    case 'selector':
      return selectorSentence(part, ko);
    case 'matrix':
      return ko ? `각 계열의 최근 ${part.duration} 샘플입니다.` : `The samples of the last ${part.duration} of each series.`;
    case 'subquery':
      return ko ? `안쪽 식을 최근 ${part.duration} 동안 ${part.step || '기본 간격'}마다 계산한 값입니다.` : `The inner expression, evaluated every ${part.step || 'default interval'} over the last ${part.duration}.`;
    case 'shift':
      return ko ? `${part.duration} 전의 값입니다.` : `As it was ${part.duration} earlier.`;
    case 'at':
      return ko ? `${part.duration} 시점의 값입니다.` : `As it was at ${part.duration}, for every step.`;
    case 'unary':
      return ko ? (part.name === '-' ? '부호를 바꿉니다.' : '그대로입니다.') : part.name === '-' ? 'The values with the opposite sign.' : 'The same values.';
    case 'call': {
      const known = FUNCTIONS[part.name];
      return known ? sentence(fill(pick(known)), ko) : ko ? `함수 ${part.name}입니다.` : `The function ${part.name}.`;
    }
    case 'aggregate':
      return aggregateSentence(part, ko, fill(pick(AGGREGATIONS[part.name] ?? [part.name, part.name])));
    case 'binary':
      return binarySentence(part, ko) + matchingSentence(part, ko);
    case 'number':
      return ko ? `숫자 ${part.text}입니다.` : `The number ${part.text}.`;
    case 'string':
      return part.text;
    default:
      return ko ? `이 부분은 PromQL로 읽을 수 없습니다.` : `This cannot be read as PromQL${first ? '' : '.'}`;
  }
}

function sentence(s: string, ko: boolean): string {
  return ko ? `${s}입니다.` : `${s.charAt(0).toUpperCase()}${s.slice(1)}.`;
}

const list = (all: readonly string[], ko: boolean) => (all.length < 2 ? (all[0] ?? '') : `${all.slice(0, -1).join(', ')}${ko ? ', ' : ' and '}${all.at(-1)}`);

function selectorSentence(part: Part, ko: boolean): string {
  if (part.name === '') {
    return ko ? `${list(part.matchers, ko)}인 모든 계열입니다.` : `All series with ${list(part.matchers, ko)}.`;
  }
  if (part.matchers.length === 0) {
    return ko ? `${part.name}의 모든 계열입니다.` : `All series of ${part.name}.`;
  }
  return ko ? `${part.name} 중 ${list(part.matchers, ko)}인 계열입니다.` : `The series of ${part.name} with ${list(part.matchers, ko)}.`;
}

function aggregateSentence(part: Part, ko: boolean, what: string): string {
  const g = part.grouping;
  if (!g || (g.kind === 'by' && g.labels.length === 0)) {
    return ko ? `모든 계열의 ${what}입니다.` : `${sentence(what, false).slice(0, -1)}, over all series.`;
  }
  if (g.kind === 'by') {
    return ko ? `${list(g.labels, ko)}별 ${what}입니다.` : `${sentence(what, false).slice(0, -1)}, for each ${list(g.labels, ko)}.`;
  }
  return ko ? `${list(g.labels, ko)} 레이블만 무시한 ${what}입니다.` : `${sentence(what, false).slice(0, -1)}, for each combination of labels but ${list(g.labels, ko)}.`;
}

function binarySentence(part: Part, ko: boolean): string {
  const compared = COMPARISONS[part.name];
  if (!compared) {
    const known = OPERATORS[part.name];
    return known ? `${known[ko ? 1 : 0]}.` : `${part.name}.`;
  }
  if (part.bool) {
    return ko ? `왼쪽이 오른쪽${part.name === '==' || part.name === '!=' ? '과 ' : ' '}${compared[1]} 곳은 1, 아니면 0입니다.` : `1 where the left side is ${compared[0]} the right, 0 elsewhere.`;
  }
  return ko ? `왼쪽이 오른쪽${part.name === '==' || part.name === '!=' ? '과 ' : ' '}${compared[1]} 계열만 남깁니다.` : `Keeps series of the left side whose value is ${compared[0]} the right.`;
}

function matchingSentence(part: Part, ko: boolean): string {
  const m = part.matching;
  if (!m || part.children.some((c) => c.value === 'scalar')) {
    return '';
  }
  const labels = list(m.labels, ko);
  const found =
    m.kind === 'on'
      ? ko ? ` ${labels} 레이블이 같은 계열끼리 짝을 이룹니다.` : ` Series are partners when they agree on ${labels || 'nothing'}.`
      : labels === '' ? '' : ko ? ` ${labels}을(를) 뺀 레이블이 같은 계열끼리 짝을 이룹니다.` : ` Series are partners when all labels but ${labels} agree.`;
  if (!m.group) {
    return found;
  }
  const side = ko ? (m.group.side === 'left' ? '왼쪽' : '오른쪽') : m.group.side;
  const taken = list(m.group.labels, ko);
  return found + (ko ? ` ${side}에 여러 계열이 있을 수 있습니다${taken === '' ? '' : `. ${taken}은(는) 반대쪽에서 가져옵니다`}.` : ` The ${side} side may have many for one${taken === '' ? '' : `, and takes over ${taken} from the other side`}.`);
}
