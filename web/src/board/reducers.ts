/** The names calculations had in the old panels, and what they are called today. */
const CALCS: Readonly<Record<string, string>> = {
  avg: 'mean', current: 'lastNotNull', total: 'sum', last: 'lastNotNull', min: 'min', max: 'max', first: 'firstNotNull', delta: 'delta',
  diff: 'diff', range: 'range', count: 'count', last_time: 'lastNotNull',
};

/** legacyReducer names the calculation an angular panel meant; `fallback` when it names none. */
export function legacyReducer(name: string, fallback = name): string {
  return CALCS[name] ?? fallback;
}

/** seriesReducer renames the aliases stat and gauge options may still hold; "last" there is today's own and stays. */
export function seriesReducer(name: string): string {
  return name === 'avg' ? 'mean' : name === 'current' ? 'lastNotNull' : name === 'total' ? 'sum' : name;
}
