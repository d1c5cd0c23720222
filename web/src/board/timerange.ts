/** Time ranges: Grafana's `now-1h` arithmetic, epoch milliseconds and ISO dates, as URLs and boards hold them. */
import { dateMath, dateTime, dateTimeForTimeZone, rangeUtil, type DateTime, type RawTimeRange, type TimeRange } from '@grafana/data';

export const DEFAULT_RANGE: { from: string; to: string } = { from: 'now-1h', to: 'now' };

/** readTimeZone accepts what boards and URLs name: UTC, a zone of the IANA list, or anything else for the browser's own zone. */
export function readTimeZone(name: string): string {
  if (name.toLowerCase() === 'utc') {
    return 'utc';
  }
  try {
    return name === '' || name === 'browser' ? 'browser' : (new Intl.DateTimeFormat('en', { timeZone: name }), name);
  } catch {
    return 'browser';
  }
}

/** parseEdge reads one end as a URL or a board holds it; null when it is not a time. */
export function parseEdge(text: string, roundUp: boolean, timeZone: string): DateTime | null {
  const s = text.trim();
  if (/^\d{12,14}$/.test(s)) {
    return dateTime(Number(s));
  }
  if (/^\d{9,10}$/.test(s)) {
    return dateTime(Number(s) * 1000);
  }
  if (/^\d{8}(T\d{6})?Z?$/.test(s)) {
    const t = dateTimeForTimeZone(timeZone, s, s.includes('T') ? 'YYYYMMDDTHHmmss' : 'YYYYMMDD');
    return t.isValid() ? t : null;
  }
  if (s.startsWith('now')) {
    const t = dateMath.toDateTime(s, { roundUp, timezone: timeZone });
    return t?.isValid() ? t : null;
  }
  if (!/^\d{4}-\d{2}(-\d{2})?([T ]\d{2}:\d{2}|$)/.test(s)) {
    return null;
  }
  const t = dateTimeForTimeZone(timeZone, s);
  return t.isValid() ? t : null;
}

/** parseRange makes a range of two ends; a bad or reversed one becomes the default, so that a broken URL still opens. */
export function parseRange(from: string, to: string, timeZone: string): TimeRange {
  const f = parseEdge(from, false, timeZone);
  const t = parseEdge(to, true, timeZone);
  if (!f || !t || f.valueOf() >= t.valueOf()) {
    return rangeUtil.convertRawToRange(DEFAULT_RANGE, timeZone);
  }
  return { from: f, to: t, raw: { from: rawEdge(from, f), to: rawEdge(to, t) } };
}

function rawEdge(text: string, parsed: DateTime): string | DateTime {
  return text.trim().startsWith('now') ? text.trim() : parsed;
}

/** isRelative tells whether a range moves with the clock. */
export function isRelative(raw: RawTimeRange): boolean {
  return typeof raw.from === 'string' || typeof raw.to === 'string';
}

/** edgeToUrl writes one end the way Grafana's URLs hold it. */
export function edgeToUrl(edge: string | DateTime): string {
  return typeof edge === 'string' ? edge : String(edge.valueOf());
}

/** panelRange applies a panel's own "Relative time" and "Time shift" to the board's range, and names what it did. */
export function panelRange(range: TimeRange, timeFrom: string, timeShift: string, timeZone: string): { range: TimeRange; info: string } {
  let out = range;
  const info: string[] = [];
  if (timeFrom !== '' && isRelative(range.raw)) {
    const from = timeFrom.startsWith('now') ? timeFrom : `now-${timeFrom}`;
    if (parseEdge(from, false, timeZone)) {
      out = parseRange(from, from.startsWith('now/') ? from : 'now', timeZone);
      info.push(rangeUtil.describeTimeRange({ from, to: from.startsWith('now/') ? from : 'now' }));
    }
  }
  if (timeShift !== '') {
    const shift = timeShift.startsWith('-') || timeShift.startsWith('+') ? timeShift : `-${timeShift}`;
    const from = dateMath.parseDateMath(shift, dateTime(out.from), false);
    const to = dateMath.parseDateMath(shift, dateTime(out.to), true);
    if (from?.isValid() && to?.isValid()) {
      out = { from, to, raw: { from, to } };
      info.push(`timeshift ${shift}`);
    }
  }
  return { range: out, info: info.join(' ') };
}

/** zoomOut widens a range to twice its length around its middle. */
export function zoomOut(range: TimeRange): { from: number; to: number } {
  const span = range.to.valueOf() - range.from.valueOf();
  return { from: range.from.valueOf() - span / 2, to: range.to.valueOf() + span / 2 };
}

/** shiftRange moves a range by half its length, backwards with -1 and forwards with 1, never past now. */
export function shiftRange(range: TimeRange, direction: -1 | 1, now: number): { from: number; to: number } {
  const span = range.to.valueOf() - range.from.valueOf();
  let to = range.to.valueOf() + (direction * span) / 2;
  if (direction > 0 && to > now) {
    to = Math.max(now, range.to.valueOf());
  }
  return { from: to - span, to };
}
