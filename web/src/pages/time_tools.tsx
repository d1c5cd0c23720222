/** The time range and refresh pickers of boards and Explore, and the clock that drives refreshing. */
import type { TimeRange } from '@grafana/data';
import { useCallback, useEffect, useState } from 'react';
import { parseDuration } from '../board/intervals';
import { edgeToUrl, shiftRange, zoomOut } from '../board/timerange';
import { RefreshPicker, TimeRangePicker, useT } from '../ui';

/** useTick grows with every refresh: by the clock while the page is visible, at once when it becomes visible again, or by hand. */
export function useTick(refresh: string): [number, () => void] {
  const [tick, setTick] = useState(0);
  const ms = parseDuration(refresh) ?? 0;
  useEffect(() => {
    if (ms < 1000) {
      return;
    }
    let last = Date.now();
    const next = () => {
      if (document.visibilityState === 'visible' && Date.now() - last >= ms * 0.9) {
        last = Date.now();
        setTick((n) => n + 1);
      }
    };
    const timer = setInterval(next, ms);
    document.addEventListener('visibilitychange', next);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', next);
    };
  }, [ms]);
  return [tick, useCallback(() => setTick((n) => n + 1), [])];
}

interface Props {
  range: TimeRange;
  timeZone: string;
  refresh: string;
  intervals: string[];
  onRefresh: () => void;
  patch: (change: (p: URLSearchParams) => URLSearchParams) => void;
}

export function TimeTools({ range, timeZone, refresh, intervals, onRefresh, patch }: Props) {
  const t = useT();
  const setRange = (from: string, to: string) =>
    patch((p) => {
      p.set('from', from);
      p.set('to', to);
      return p;
    });
  const setMs = (r: { from: number; to: number }) => setRange(String(Math.round(r.from)), String(Math.round(r.to)));
  return (
    <>
      <TimeRangePicker
        value={range}
        timeZone={timeZone}
        onChange={(r) => setRange(edgeToUrl(r.raw.from), edgeToUrl(r.raw.to))}
        onChangeTimeZone={(tz) => patch((p) => (p.set('timezone', tz), p))}
        onMoveBackward={() => setMs(shiftRange(range, -1, Date.now()))}
        onMoveForward={() => setMs(shiftRange(range, 1, Date.now()))}
        onZoom={() => setMs(zoomOut(range))}
        isOnCanvas
      />
      <RefreshPicker
        value={refresh}
        tooltip={t('common.refresh')}
        intervals={intervals.length > 0 ? intervals : undefined}
        onRefresh={onRefresh}
        onIntervalChanged={(v) => patch((p) => (p.set('refresh', v), p))}
        isOnCanvas
      />
    </>
  );
}
