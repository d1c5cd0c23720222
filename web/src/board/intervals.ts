/**
 * Steps and intervals as Grafana's Prometheus data source computes them: the panel's interval in the browser, then the step and
 * `$__rate_interval` that its backend derives from it.
 */

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, M: 2_592_000_000, y: 31_536_000_000 };

/** parseDuration reads "15s", "1h30m", ">10s" or plain seconds; null when it is none of those. */
export function parseDuration(text: string): number | null {
  const s = text.trim().replace(/^[<>]/, '');
  if (/^\d+(\.\d+)?$/.test(s)) {
    return Number(s) * 1000;
  }
  if (!/^(\d+(\.\d+)?(ms|[smhdwMy]))+$/.test(s)) {
    return null;
  }
  let total = 0;
  for (const [, n, unit] of s.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwMy])/g)) {
    total += Number(n) * (UNITS[unit ?? ''] ?? 0);
  }
  return total;
}

/** formatInterval writes an interval in its largest whole unit, cut off, as Grafana writes `$__interval`. */
export function formatInterval(ms: number): string {
  for (const unit of ['y', 'd', 'h', 'm', 's'] as const) {
    const size = UNITS[unit] ?? 1;
    if (ms >= size) {
      return `${Math.floor(ms / size)}${unit}`;
    }
  }
  return ms >= 1 ? `${Math.floor(ms)}ms` : '1ms';
}

/** formatDuration writes every unit that is not zero ("1m30s"), which is exact where formatInterval is not. */
export function formatDuration(ms: number): string {
  if (ms < 1000) {
    return `${Math.max(1, Math.round(ms))}ms`;
  }
  let rest = Math.round(ms);
  let out = '';
  for (const unit of ['h', 'm', 's', 'ms'] as const) {
    const size = UNITS[unit] ?? 1;
    const n = Math.floor(rest / size);
    if (n > 0) {
      out += `${n}${unit}`;
      rest -= n * size;
    }
  }
  return out;
}

// Upper bound of the raw interval, and what it is rounded to.
const ROUNDING: ReadonlyArray<readonly [number, number]> = [
  [10, 1], [15, 10], [35, 20], [75, 50], [150, 100], [350, 200], [750, 500], [1500, 1000], [3500, 2000], [7500, 5000],
  [12500, 10000], [17500, 15000], [25000, 20000], [45000, 30000], [90000, 60000], [210000, 120000], [450000, 300000],
  [750000, 600000], [1050000, 900000], [1500000, 1200000], [2700000, 1800000], [5400000, 3600000], [9000000, 7200000],
  [16200000, 10800000], [32400000, 21600000], [86400000, 43200000], [604800000, 86400000], [1814400000, 604800000],
  [3628800000, 2592000000],
];

/** roundInterval rounds to a step people can read: 1, 2, 5, 10, 15, 20, 30 and so on. */
export function roundInterval(ms: number): number {
  for (const [below, value] of ROUNDING) {
    if (ms < below) {
      return value;
    }
  }
  return 31_536_000_000;
}

/** panelInterval is the interval the browser asks for: range by points, rounded, at least the panel's or source's minimum. */
export function panelInterval(rangeMs: number, maxDataPoints: number, min: string): number {
  const rounded = roundInterval(rangeMs / Math.max(1, maxDataPoints));
  const minMs = parseDuration(min) ?? 0;
  return Math.max(rounded, minMs, 1);
}

export interface StepInput {
  rangeMs: number;
  maxDataPoints: number;
  /** The panel's "Min interval"; empty when not set. */
  panelMin: string;
  /** The target's "Min step", interpolated except for `$__interval` and `$__rate_interval`. */
  targetMin: string;
  intervalFactor: number;
  /** The data source's scrape interval. */
  scrapeInterval: string;
}

export interface Steps {
  stepMs: number;
  intervalMs: number;
  rateIntervalMs: number;
}

const SAFE_RESOLUTION = 11_000;
const DEFAULT_SCRAPE = '15s';

function isRateVariable(s: string): boolean {
  return s === '$__rate_interval' || s === '${__rate_interval}';
}

function isIntervalVariable(s: string): boolean {
  return s === '$__interval' || s === '${__interval}';
}

/** computeSteps gives the step of a query and the values of `$__interval` and `$__rate_interval` in it. */
export function computeSteps(input: StepInput): Steps {
  const scrape = parseDuration(input.scrapeInterval) !== null ? input.scrapeInterval : DEFAULT_SCRAPE;
  const intervalMs = panelInterval(input.rangeMs, input.maxDataPoints, input.panelMin || scrape);
  const ownMin = isRateVariable(input.targetMin) || isIntervalVariable(input.targetMin) ? null : parseDuration(input.targetMin);
  const minMs = ownMin !== null && ownMin > 0 ? ownMin : intervalMs;
  const raw = input.rangeMs / Math.max(1, input.maxDataPoints);
  const calculated = raw < minMs ? minMs : roundInterval(raw);
  const safe = roundInterval(input.rangeMs / SAFE_RESOLUTION);
  const adjusted = Math.max(calculated, safe);
  if (isRateVariable(input.targetMin)) {
    const rate = rateInterval(adjusted, scrape);
    return { stepMs: rate, intervalMs: rate, rateIntervalMs: rate };
  }
  const stepMs = adjusted * Math.max(1, input.intervalFactor);
  const minStep = isIntervalVariable(input.targetMin) ? formatDuration(stepMs) : ownMin !== null && ownMin > 0 ? input.targetMin : scrape;
  // Grafana adds the scrape interval to the panel's interval here, not to the step.
  return { stepMs, intervalMs: stepMs, rateIntervalMs: rateInterval(intervalMs, minStep) };
}

/** rateInterval is the shortest range over which rate() always sees two samples: max(interval + scrape, 4 * scrape). */
function rateInterval(intervalMs: number, scrapeInterval: string): number {
  const scrape = parseDuration(scrapeInterval) ?? 15_000;
  return Math.max(intervalMs + scrape, 4 * scrape);
}

/** intervalMacros are the built-in variables that depend on step and range. */
export function intervalMacros(steps: Steps, rangeMs: number): Record<string, string> {
  const seconds = Math.round(rangeMs / 1000);
  return {
    __interval: formatInterval(steps.intervalMs),
    __interval_ms: String(Math.floor(steps.intervalMs)),
    __rate_interval: formatDuration(steps.rateIntervalMs),
    __rate_interval_ms: String(steps.rateIntervalMs),
    __range: `${seconds}s`,
    __range_s: String(seconds),
    __range_ms: String(Math.round(rangeMs)),
  };
}

/** alignRange moves both ends down to a multiple of the step, so that consecutive refreshes draw the same points. */
export function alignRange(fromMs: number, toMs: number, stepMs: number): { start: number; end: number } {
  return { start: Math.floor(fromMs / stepMs) * stepMs, end: Math.floor(toMs / stepMs) * stepMs };
}
