/** What the address of Explore holds: queries, how they are asked, where one came from. The address is all that a shared link needs. */

export type Kind = 'both' | 'range' | 'instant';

/** ExploreQuery is one query of the page. */
export interface ExploreQuery {
  refId: string;
  expr: string;
  legend: string;
  hidden: boolean;
}

export interface ExploreState {
  queries: ExploreQuery[];
  kind: Kind;
  /** The board the reader came from, as a path of this UI; empty when there is none. */
  back: string;
}

/** More queries than this make neither a readable graph nor a short address. */
export const MAX_QUERIES = 26;

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** readExplore reads the address; there is always at least one query, if an empty one. */
export function readExplore(p: URLSearchParams): ExploreState {
  const exprs = p.getAll('expr').slice(0, MAX_QUERIES);
  const legends = p.getAll('legend');
  const hidden = new Set((p.get('hide') ?? '').split(','));
  const kind = p.get('kind');
  const back = p.get('back') ?? '';
  return {
    queries: (exprs.length > 0 ? exprs : ['']).map((expr, i) => ({ refId: LETTERS[i] ?? '', expr, legend: legends[i] ?? '', hidden: hidden.has(LETTERS[i] ?? '') })),
    kind: kind === 'range' || kind === 'instant' ? kind : 'both',
    // Only a board of this UI may stand here: a link must not lead people elsewhere.
    back: /^\/d\/[^/\\?#]+(\/[^/\\?#]*)?(\?.*)?$/.test(back) ? back : '',
  };
}

/** writeQueries puts queries into an address; empty ones are kept only while they are not the last. */
export function writeQueries(p: URLSearchParams, queries: readonly Omit<ExploreQuery, 'refId'>[]): URLSearchParams {
  const next = new URLSearchParams(p);
  ['expr', 'legend', 'hide'].forEach((k) => next.delete(k));
  const kept = queries.slice(0, MAX_QUERIES);
  kept.forEach((q) => next.append('expr', q.expr));
  if (kept.some((q) => q.legend !== '')) {
    kept.forEach((q) => next.append('legend', q.legend));
  }
  const hidden = kept.flatMap((q, i) => (q.hidden ? [LETTERS[i] ?? ''] : []));
  if (hidden.length > 0) {
    next.set('hide', hidden.join(','));
  }
  return next;
}

/** exploreUrl is the address that opens Explore with some queries. */
export function exploreUrl(queries: readonly { expr: string; legend?: string }[], more: { source: string; from: string; to: string; back?: string }): string {
  const p = writeQueries(new URLSearchParams(), queries.map((q) => ({ expr: q.expr, legend: q.legend ?? '', hidden: false })));
  for (const [key, value] of [['ds', more.source], ['from', more.from], ['to', more.to], ['back', more.back ?? '']] as const) {
    if (value !== '') {
      p.set(key, value);
    }
  }
  return `/explore?${p}`;
}
