/** Small hooks about elements on the screen. */
import { useEffect, useRef, useState, type RefObject } from 'react';

/** useSize follows an element's inner size. */
export function useSize<E extends HTMLElement>(): { ref: RefObject<E | null>; width: number; height: number } {
  const ref = useRef<E | null>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const el = ref.current;
    if (!el) {
      return;
    }
    const observer = new ResizeObserver(() => {
      setSize((s) => (s.width === el.clientWidth && s.height === el.clientHeight ? s : { width: el.clientWidth, height: el.clientHeight }));
    });
    observer.observe(el);
    return () => observer.disconnect();
  }, []);
  return { ref, ...size };
}

/** useVisible tells whether an element is, or is about to be, on screen. */
export function useVisible(ref: RefObject<HTMLElement | null>): boolean {
  const [visible, setVisible] = useState(false);
  useEffect(() => {
    const el = ref.current;
    if (!el) {
      return;
    }
    const observer = new IntersectionObserver((entries) => setVisible(entries[entries.length - 1]?.isIntersecting ?? false), { rootMargin: '120px' });
    observer.observe(el);
    return () => observer.disconnect();
  }, [ref]);
  return visible;
}

/** useDocumentTitle names the browser tab. */
export function useDocumentTitle(title: string): void {
  useEffect(() => {
    document.title = title === '' ? 'Mangru' : `${title} - Mangru`;
  }, [title]);
}

export interface Loaded<V> {
  value: V | null;
  error: Error | null;
  loading: boolean;
  reload: () => void;
}

/** useLoad runs a request for as long as its key stays the same; the former value stays while the next one is on its way. */
export function useLoad<V>(key: string, load: (signal: AbortSignal) => Promise<V>): Loaded<V> {
  const [state, setState] = useState<{ value: V | null; error: Error | null; loading: boolean }>({ value: null, error: null, loading: true });
  const [attempt, setAttempt] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const controller = new AbortController();
    setState((s) => ({ ...s, loading: true }));
    latest.current(controller.signal).then(
      (value) => !controller.signal.aborted && setState({ value, error: null, loading: false }),
      (error: unknown) =>
        !controller.signal.aborted && setState((s) => ({ value: s.value, error: error instanceof Error ? error : new Error(String(error)), loading: false }))
    );
    return () => controller.abort();
  }, [key, attempt]);
  return { ...state, reload: () => setAttempt((n) => n + 1) };
}
