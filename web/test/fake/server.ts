/** The fake server: the API of the real one with made-up answers, and the built UI. For UI development and UI-only browser tests. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { boards } from './boards.ts';
import * as prometheus from './prometheus.ts';

export const TOKEN = 'one-time-token';
const CSRF = 'csrf-of-the-fake';
const COOKIE = 'mangru_session=fake';

/** FakeServer records what it was asked, and can hold slow queries until a test lets them go. */
export interface FakeServer {
  url: string;
  requests: { method: string; path: string; query: string; csrf: string }[];
  /** Extra boards by uid, beside the built-in ones. */
  extra: Map<string, unknown>;
  /** When true, no metric exists. */
  empty: boolean;
  /** When true, every metric exists, with two series. */
  everything: boolean;
  /** When true, two jobs scrape the same instance. */
  doubled: boolean;
  /** The queries that were run, newest first. */
  history: { uid: string; datasourceUid: string; createdAt: number; comment: string; starred: boolean; queries: unknown[] }[];
  releaseSlow: () => void;
  close: () => Promise<void>;
}

const TYPES: Record<string, string> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.json': 'application/json' };

export async function startFake(port = 0): Promise<FakeServer> {
  let release: () => void = () => undefined;
  const slow = new Promise<void>((resolve) => (release = resolve));
  const fake: FakeServer = { url: '', requests: [], extra: new Map(), empty: false, everything: false, doubled: false, history: [], releaseSlow: () => release(), close: () => Promise.resolve() };
  const server: Server = createServer((req, res) => {
    handle(req, res, fake, slow).catch((err: unknown) => {
      res.writeHead(500).end(String(err));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  fake.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  fake.close = () =>
    new Promise((resolve) => {
      release();
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return fake;
}

async function handle(req: IncomingMessage, res: ServerResponse, fake: FakeServer, slow: Promise<void>): Promise<void> {
  const url = new URL(req.url ?? '/', 'http://fake');
  if (!url.pathname.startsWith('/api/')) {
    return file(url.pathname, res);
  }
  const body = await read(req);
  const form = new URLSearchParams(body);
  fake.requests.push({ method: req.method ?? '', path: url.pathname, query: form.get('query') ?? url.search, csrf: String(req.headers['x-csrf-token'] ?? '') });
  if (url.pathname === '/api/people/outside') {
    return json(res, 200, []);
  }
  if (url.pathname === '/api/login/link') {
    const ok = (JSON.parse(body) as { token?: string }).token === TOKEN;
    return ok ? json(res, 200, {}, { 'Set-Cookie': `${COOKIE}; Path=/; HttpOnly; SameSite=Strict` }) : json(res, 401, { message: 'the link has expired or was used' });
  }
  if (!(req.headers.cookie ?? '').includes(COOKIE)) {
    return json(res, 401, { message: 'not signed in' });
  }
  if (req.method !== 'GET' && req.headers['x-csrf-token'] !== CSRF) {
    return json(res, 403, { message: 'the X-CSRF-Token header is missing or wrong' });
  }
  if (url.pathname.startsWith('/api/query-history')) {
    return history(req, res, url, body, fake);
  }
  return api(req, res, url, form, fake, slow);
}

function history(req: IncomingMessage, res: ServerResponse, url: URL, body: string, fake: FakeServer): void {
  const [, uid = ''] = /^\/api\/query-history\/(?:star\/)?(.+)$/.exec(url.pathname) ?? [];
  const entry = fake.history.find((h) => h.uid === uid);
  if (uid === '' && req.method === 'POST') {
    const added = { uid: `h${fake.history.length + 1}`, createdAt: Math.floor(Date.now() / 1000), comment: '', starred: false, ...(JSON.parse(body) as { datasourceUid: string; queries: unknown[] }) };
    fake.history.unshift(added);
    return json(res, 200, { result: added });
  }
  if (uid === '') {
    const text = (url.searchParams.get('searchString') ?? '').toLowerCase();
    const list = fake.history.filter((h) => JSON.stringify(h.queries).toLowerCase().includes(text) && (url.searchParams.get('onlyStarred') !== 'true' || h.starred));
    return json(res, 200, { result: { totalCount: list.length, page: 1, perPage: 100, queryHistory: list } });
  }
  if (!entry) {
    return json(res, 404, { message: 'Query in query history not found' });
  }
  if (url.pathname.includes('/star/')) {
    entry.starred = req.method === 'POST';
  } else if (req.method === 'PATCH') {
    entry.comment = (JSON.parse(body) as { comment: string }).comment;
  } else {
    fake.history.splice(fake.history.indexOf(entry), 1);
  }
  return json(res, 200, { result: entry });
}

async function api(req: IncomingMessage, res: ServerResponse, url: URL, form: URLSearchParams, fake: FakeServer, slow: Promise<void>): Promise<void> {
  const path = url.pathname;
  const proxied = /^\/api\/datasources\/proxy\/uid\/[^/]+\/api\/v1\/(.*)$/.exec(path)?.[1];
  if (proxied !== undefined) {
    return proxy(proxied, url.searchParams, form, res, fake, slow);
  }
  const uid = /^\/api\/dashboards\/uid\/(.+)$/.exec(path)?.[1];
  if (uid !== undefined) {
    const board = boards.find((b) => b.uid === uid) ?? fake.extra.get(decodeURIComponent(uid));
    return board ? json(res, 200, { meta: { slug: uid, url: `/d/${uid}` }, dashboard: board }) : json(res, 404, { message: 'Dashboard not found' });
  }
  switch (path) {
    case '/api/user':
      return json(res, 200, { id: 1, login: 'admin', name: 'Administrator', email: 'admin@localhost', orgRole: 'Admin', administrator: true, csrfToken: CSRF });
    case '/api/logout':
      return json(res, 200, {}, { 'Set-Cookie': 'mangru_session=; Path=/; Max-Age=0' });
    case '/api/health':
      return json(res, 200, { database: 'ok', version: 'fake' });
    case '/api/mangru/overview':
      return json(res, 200, overview());
    case '/api/datasources':
      return json(res, 200, [{ id: 1, uid: 'ws', name: 'default', type: 'prometheus', url: '', access: 'proxy', isDefault: true, jsonData: { timeInterval: '15s' }, readOnly: true }]);
    case '/api/search': {
      const tags = url.searchParams.getAll('tag');
      const hits = boards.filter((b) => tags.every((t) => b.tags.includes(t)));
      return json(res, 200, hits.map((b) => ({ uid: b.uid, title: b.title, url: `/d/${b.uid}`, type: 'dash-db', tags: b.tags, folderTitle: '' })));
    }
    default:
      return json(res, 404, { message: `no ${req.method} ${path}` });
  }
}

function overview() {
  const base = 'http://127.0.0.1:9009/workspaces/ws-7b1f4a52-9c1e-4e0a-8a2d-3f6f3d1f9a10';
  return {
    version: '0.1.0-fake', region: 'us-east-1', account: '000000000000', source: { kind: 'cluster', name: 'eks-workshop', detail: '3 nodes, Kubernetes v1.37.0' },
    workspaces: [{ id: 'ws-7b1f4a52-9c1e-4e0a-8a2d-3f6f3d1f9a10', alias: 'default', arn: 'arn:aws:aps:us-east-1:000000000000:workspace/ws-7b1f4a52-9c1e-4e0a-8a2d-3f6f3d1f9a10', status: 'ACTIVE', prometheusEndpoint: `${base}/`, remoteWriteUrl: `${base}/api/v1/remote_write`, queryUrl: `${base}/api/v1/query` }],
  };
}

async function proxy(path: string, params: URLSearchParams, form: URLSearchParams, res: ServerResponse, fake: FakeServer, slow: Promise<void>): Promise<void> {
  const get = (name: string) => form.get(name) ?? params.get(name) ?? '';
  const expr = get('query');
  if (expr.includes('# slow')) {
    await slow;
  }
  if (fake.empty && (path === 'query' || path === 'query_range')) {
    return json(res, 200, { status: 'success', data: { resultType: path === 'query' ? 'vector' : 'matrix', result: [] } });
  }
  if (expr.includes('count by (__name__, instance, job)')) {
    const result = fake.doubled ? [{ metric: { __name__: 'node_load1', instance: '10.1.101.166:9100' }, value: [Number(get('time')), '2'] }] : [];
    return json(res, 200, { status: 'success', data: { resultType: 'vector', result } });
  }
  if (fake.doubled && expr.startsWith('count by (job)')) {
    const result = ['kubernetes-pods', 'node-exporter'].map((job) => ({ metric: { job }, value: [Number(get('time')), '1'] }));
    return json(res, 200, { status: 'success', data: { resultType: 'vector', result } });
  }
  if (path === 'alerts') {
    const alerts = [{ labels: { alertname: 'NodeDown', severity: 'critical' }, annotations: { summary: prometheus.HOSTILE }, state: 'firing', activeAt: new Date(Date.now() - 600_000).toISOString(), value: '1' }];
    return json(res, 200, { status: 'success', data: { alerts } });
  }
  if (fake.everything) {
    return json(res, 200, { status: 'success', data: prometheus.anything(path, expr, get) });
  }
  if (path === 'query' || path === 'query_range') {
    const answer = path === 'query' ? prometheus.instant(expr, Number(get('time'))) : prometheus.range(expr, Number(get('start')), Number(get('end')), Number(get('step')));
    return answer.ok ? json(res, 200, { status: 'success', data: answer.data }) : json(res, answer.status, { status: 'error', errorType: answer.errorType, error: answer.error });
  }
  const label = /^label\/(.+)\/values$/.exec(path)?.[1];
  const match = get('match[]');
  if (match.endsWith('{')) {
    return json(res, 400, { status: 'error', errorType: 'bad_data', error: 'parse error: unexpected end of input inside braces' });
  }
  const data = label !== undefined ? prometheus.labelValues(decodeURIComponent(label), match) : path === 'series' ? (fake.empty ? [] : prometheus.series(match)) : path === 'labels' ? prometheus.labelNames() : path === 'metadata' ? prometheus.metadata() : null;
  return data === null ? json(res, 404, { status: 'error', error: 'not found' }) : json(res, 200, { status: 'success', data });
}

async function read(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const c of req) {
    chunks.push(c as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function json(res: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
}

const dist = process.env.MANGRU_DIST ?? join(import.meta.dirname, '../../dist');

function file(path: string, res: ServerResponse): void {
  const wanted = join(dist, normalize(path));
  const found = wanted.startsWith(dist) && existsSync(wanted) && statSync(wanted).isFile() ? wanted : extname(path) === '' ? join(dist, 'index.html') : '';
  if (found === '') {
    res.writeHead(404).end('not found');
    return;
  }
  const csp = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";
  res.writeHead(200, { 'Content-Type': TYPES[extname(found)] ?? 'application/octet-stream', 'Content-Security-Policy': csp }).end(readFileSync(found));
}
