/** A stand-in for a Prometheus: it knows some metrics and answers any query about them with values made from the query's text and the time. */

type Labels = Record<string, string>;

const NODES = ['ip-10-1-101-166.ec2.internal', 'ip-10-1-102-148.ec2.internal', 'ip-10-1-102-227.ec2.internal'];
const PODS = ['shop-8649fb4698-fhwdd', 'shop-8649fb4698-kk94w', 'shop-8649fb4698-skckg', 'coredns-5d78c9869d-m4qj9'];

/** The value a hostile pod could put into a label: it must never become markup. */
export const HOSTILE = '<img src=x onerror="window.__xss=1">';

function nodeSeries(extra: Labels = {}): Labels[] {
  return NODES.map((node, i) => ({ job: 'node-exporter', instance: `10.1.10${i + 1}.166:9100`, node, nodegroup: i === 2 ? 'spot' : 'on-demand', ...extra }));
}

function podSeries(): Labels[] {
  return PODS.map((pod, i) => ({ job: 'kubelet', namespace: pod.startsWith('shop') ? 'shop' : 'kube-system', pod, container: pod.split('-')[0] ?? '', node: NODES[i % 3] ?? '' }));
}

const METRICS: Record<string, Labels[]> = {
  up: [...nodeSeries(), { job: 'kubernetes-apiservers', instance: '10.0.0.1:443' }, { job: 'kubelet', instance: '10.1.1.1:10250' }],
  scrape_samples_post_metric_relabeling: [...nodeSeries(), { job: 'kubelet', instance: '10.1.1.1:10250' }],
  node_load1: nodeSeries(),
  node_load5: nodeSeries(),
  node_memory_MemAvailable_bytes: nodeSeries(),
  node_memory_MemTotal_bytes: nodeSeries(),
  node_cpu_seconds_total: nodeSeries().flatMap((l) => ['idle', 'user', 'system'].map((mode) => ({ ...l, cpu: '0', mode }))),
  node_network_receive_bytes_total: nodeSeries({ device: 'eth0' }),
  node_network_transmit_bytes_total: nodeSeries({ device: 'eth0' }),
  kube_node_info: NODES.map((node) => ({ job: 'kube-state-metrics', node, kernel_version: '6.1', host_ip: '10.1.101.166' })),
  kube_pod_info: podSeries(),
  kube_deployment_status_replicas: [{ job: 'kube-state-metrics', namespace: 'shop', deployment: 'shop' }, { job: 'kube-state-metrics', namespace: 'kube-system', deployment: 'coredns' }],
  container_cpu_usage_seconds_total: podSeries(),
  container_memory_working_set_bytes: podSeries(),
  hostile_metric: [{ job: 'evil', pod: HOSTILE }],
};

interface Selector {
  metric: string;
  matchers: { name: string; op: string; value: string }[];
}

function parseSelectors(expr: string): Selector[] {
  const out: Selector[] = [];
  for (const m of expr.matchAll(/([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}|\b([a-zA-Z_:][\w:]*)\b/g)) {
    const metric = m[1] ?? m[3] ?? '';
    if (m[2] === undefined && !(metric in METRICS)) {
      continue;
    }
    const matchers = [...(m[2] ?? '').matchAll(/([\w.]+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g)].map((x) => ({
      name: x[1] ?? '', op: x[2] ?? '=', value: JSON.parse(`"${x[3] ?? ''}"`) as string,
    }));
    out.push({ metric, matchers });
  }
  return out;
}

function matches(labels: Labels, s: Selector): boolean {
  return s.matchers.every(({ name, op, value }) => {
    const have = labels[name] ?? '';
    switch (op) {
      case '=':
        return have === value;
      case '!=':
        return have !== value;
      case '=~':
        return new RegExp(`^(?:${value})$`).test(have);
      default:
        return !new RegExp(`^(?:${value})$`).test(have);
    }
  });
}

/** series lists the label sets a selector matches. */
export function series(match: string): Labels[] {
  const s = parseSelectors(match)[0] ?? { metric: match, matchers: [] };
  const name = s.metric || s.matchers.find((m) => m.name === '__name__')?.value || '';
  if (name === '') {
    return Object.entries(METRICS).flatMap(([n, all]) => all.filter((l) => matches(l, s)).map((l) => ({ __name__: n, ...l })));
  }
  return (METRICS[name] ?? []).filter((l) => matches({ __name__: name, ...l }, s)).map((l) => ({ __name__: name, ...l }));
}

export function labelNames(): string[] {
  return [...new Set(Object.values(METRICS).flat().flatMap((l) => Object.keys(l)).concat('__name__'))].sort();
}

export function labelValues(label: string, match: string): string[] {
  if (label === '__name__' && match === '') {
    return Object.keys(METRICS).sort();
  }
  const all = match === '' ? Object.entries(METRICS).flatMap(([n, l]) => l.map((x) => ({ __name__: n, ...x }))) : series(match);
  return [...new Set(all.map((l) => (l as Labels)[label] ?? '').filter((v) => v !== ''))].sort();
}

export function metadata(): Record<string, { type: string; help: string; unit: string }[]> {
  return Object.fromEntries(Object.keys(METRICS).map((m) => [m, [{ type: m.endsWith('_total') ? 'counter' : 'gauge', help: `Help of ${m}.`, unit: '' }]]));
}

/** resultSeries works out which series a query answers: those of its first selector, grouped as its first aggregation says. */
function resultSeries(expr: string): Labels[] {
  const selectors = parseSelectors(expr);
  if (selectors.length === 0) {
    return /^[\d\s.+*/()-]+$|vector\(/.test(expr) ? [{}] : [];
  }
  const sets = selectors.map((s) => (METRICS[s.metric] ?? []).filter((l) => matches(l, s)));
  if (sets.some((s) => s.length === 0) && !/\bor\b/.test(expr)) {
    return [];
  }
  const base = sets.find((s) => s.length > 0) ?? [];
  const by = /\b(?:sum|avg|max|min|count|topk|group)\b\s*by\s*\(([^)]*)\)|\bby\s*\(([^)]*)\)/.exec(expr);
  if (by) {
    const names = (by[1] ?? by[2] ?? '').split(',').map((x) => x.trim()).filter((x) => x !== '');
    const groups = new Map(base.map((l) => {
      const g = Object.fromEntries(names.filter((n) => n in l).map((n) => [n, l[n] ?? '']));
      return [JSON.stringify(g), g] as const;
    }));
    return [...groups.values()];
  }
  if (/\b(sum|avg|max|min|count|group|scalar)\s*\(/.test(expr)) {
    return [{}];
  }
  const bare = /^\s*[a-zA-Z_:][\w:]*\s*(\{[^}]*\})?\s*$/.test(expr);
  return bare ? base.map((l) => ({ __name__: selectors[0]?.metric ?? '', ...l })) : base;
}

function hash(s: string): number {
  let h = 2166136261;
  for (let i = 0; i < s.length; i++) {
    h = Math.imul(h ^ s.charCodeAt(i), 16777619);
  }
  return (h >>> 0) / 4294967296;
}

function valueAt(expr: string, labels: Labels, seconds: number): number {
  const seed = hash(expr.replace(/\s+/g, '') + JSON.stringify(labels));
  if (/\bup\b/.test(expr)) {
    return /count/.test(expr) ? 3 : /==\s*0/.test(expr) ? 0 : 3;
  }
  if (/^\s*count|kube_deployment|kube_node_info|kube_pod_info\)$/.test(expr)) {
    return 3;
  }
  if (/kube_pod_info\) \/ 58/.test(expr)) {
    return 0.172;
  }
  const scale = /\) *\/ *[0-9]|_bytes.*\/.*_bytes/.test(expr) ? 0.6 : /bytes/.test(expr) ? 4e8 * (0.5 + seed) : /cpu|\/\s*(sum|node)|[Uu]til/.test(expr) ? 0.5 : 2;
  const wave = Math.sin(seconds / (300 + 900 * seed) + seed * 6) * 0.3 + Math.sin(seconds / 67 + seed * 40) * 0.08;
  return scale * Math.max(0.02, 0.25 + seed * 0.5 + wave * seed);
}

export type Answer = { ok: true; data: unknown } | { ok: false; status: number; errorType: string; error: string };

function check(expr: string): Answer | null {
  const depth = [...expr].reduce((n, c) => n + (c === '(' ? 1 : c === ')' ? -1 : 0), 0);
  if (expr.trim() === '' || depth !== 0) {
    return { ok: false, status: 400, errorType: 'bad_data', error: 'invalid parameter "query": 1:1: parse error: unclosed left parenthesis' };
  }
  return null;
}

export function instant(expr: string, time: number): Answer {
  const bad = check(expr);
  if (bad) {
    return bad;
  }
  const down = /up\s*==\s*0/.test(expr);
  const result = down ? [{ metric: { __name__: 'up', job: 'kubelet', instance: '10.1.1.9:10250' }, value: [time, '0'] }] : resultSeries(expr).map((metric) => ({ metric, value: [time, String(valueAt(expr, metric, time))] }));
  return { ok: true, data: { resultType: 'vector', result } };
}

export function range(expr: string, start: number, end: number, step: number): Answer {
  const bad = check(expr);
  if (bad) {
    return bad;
  }
  const result = resultSeries(expr).map((metric) => {
    const values: [number, string][] = [];
    for (let t = start; t <= end + 1e-9; t += step) {
      values.push([t, String(valueAt(expr, metric, t))]);
    }
    return { metric, values };
  });
  return { ok: true, data: { resultType: 'matrix', result } };
}

/** anything answers every query with two series that carry the labels the query groups by: enough to draw any board. */
export function anything(path: string, expr: string, get: (name: string) => string): unknown {
  if (path !== 'query' && path !== 'query_range') {
    return path === 'metadata' ? metadata() : path === 'series' ? [{ __name__: 'any', pod: 'a' }] : ['alpha', 'beta'];
  }
  const names = [...expr.matchAll(/by\s*\(([^)]*)\)/g)].flatMap((m) => (m[1] ?? '').split(',')).map((n) => n.trim()).filter((n) => n !== '');
  const labels = ['alpha', 'beta'].map((v, i) => Object.fromEntries([...new Set([...names, 'instance', 'job'])].map((n) => [n, n === 'le' ? String(i + 1) : v])));
  const scalar = /^\s*scalar\(|^\s*[\d.]+\s*$/.test(expr);
  if (path === 'query') {
    const t = Number(get('time'));
    return scalar ? { resultType: 'scalar', result: [t, '1'] } : { resultType: 'vector', result: labels.map((metric) => ({ metric, value: [t, String(valueAt(expr, metric, t))] })) };
  }
  const [start, end, step] = [Number(get('start')), Number(get('end')), Number(get('step'))];
  const times = Array.from({ length: Math.min(11_000, Math.floor((end - start) / step) + 1) }, (_, i) => start + i * step);
  return { resultType: 'matrix', result: labels.map((metric) => ({ metric, values: times.map((t) => [t, String(valueAt(expr, metric, t))]) })) };
}
