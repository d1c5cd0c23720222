/** A real server with the last hour of a recorded cluster, for tests that need what a cluster really says. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { APIRequestContext } from 'playwright-core';

const ROOT = resolve(import.meta.dirname, '../../..');
const DIST = process.env.MANGRU_DIST ?? join(ROOT, 'web/dist');
const BINARY = process.env.MANGRU_BIN ?? join(ROOT, 'bin/mangru');

export const canFill = existsSync(BINARY);

export interface Filled {
  url: string;
  token: string;
  /** The recorded hour, milliseconds. */
  from: number;
  to: number;
  close: () => Promise<void>;
}

/** startFilled starts the program on a directory of its own and writes the recorded hour into its workspace. */
export async function startFilled(nodes = 3): Promise<Filled> {
  const dir = mkdtempSync(join(tmpdir(), 'mangru-boards-'));
  // A collector without jobs: nothing but the recording is in the workspace.
  const config = join(dir, 'collector.yaml');
  writeFileSync(config, 'scrape_configs: [{job_name: none, static_configs: []}]\n');
  const data = join(dir, 'data');
  const child = spawn(BINARY, ['up', '--data', data, '--listen', '127.0.0.1:0', '--ui', '127.0.0.1:0', '--config', config], {
    env: { PATH: process.env.PATH, HOME: dir }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  let front: Server | undefined;
  const close = async () => {
    front?.closeAllConnections();
    front?.close();
    await ended(child);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const said = await firstScreen(child);
    const link = /(http:\/\/[^/\s]+)\/login#token=(\S+)/.exec(said);
    const write = /http:\/\/\S+\/remote_write/.exec(said);
    if (!link || !write) {
      throw new Error(`the program says neither its login link nor its remote-write address:\n${said}`);
    }
    const until = Math.floor(Date.now() / 1000);
    await promisify(execFile)('go', ['run', './test/boards/fill', '--credentials', join(data, 'credentials'), '--remote-write', write[0], '--nodes', String(nodes), '--until', String(until)], { cwd: ROOT });
    front = await serveBuiltUI(link[1] ?? '');
    return { url: `http://127.0.0.1:${(front.address() as AddressInfo).port}`, token: decodeURIComponent(link[2] ?? ''), from: (until - 3600) * 1000, to: until * 1000, close };
  } catch (err) {
    await close();
    throw err;
  }
}

/** firstScreen collects what the program prints until it has told its addresses. */
function firstScreen(child: ChildProcess): Promise<string> {
  return new Promise((done, failed) => {
    let out = '';
    const take = (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('#token=') && out.includes('remote_write')) {
        done(out);
      }
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    child.once('exit', (code) => failed(new Error(`the program ended with ${code}:\n${out}`)));
    child.once('error', failed);
  });
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((done) => {
    if (child.exitCode !== null) {
      return done();
    }
    child.once('exit', () => done());
    child.kill('SIGTERM');
  });
}

const TYPES: Record<string, string> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
const CSP = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/** serveBuiltUI answers files from web/dist and everything else from the program, so that the UI under test is the one just built. */
async function serveBuiltUI(program: string): Promise<Server> {
  const behind = new URL(program);
  const server = createServer((req, res) => {
    const path = new URL(req.url ?? '/', program).pathname;
    if (path.startsWith('/api')) {
      const sent = request({ host: behind.hostname, port: behind.port, method: req.method, path: req.url, headers: { ...req.headers, host: behind.host, origin: program } }, (answer) => {
        res.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(res);
      });
      sent.on('error', () => res.destroy());
      req.pipe(sent);
      return;
    }
    const file = join(DIST, extname(path) === '' ? 'index.html' : normalize(path));
    if (!file.startsWith(DIST) || !existsSync(file)) {
      res.writeHead(404).end('not found');
      return;
    }
    const kept = path.startsWith('/assets/') ? 'max-age=3600, immutable' : 'no-cache';
    res.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': CSP, 'Cache-Control': kept }).end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** call sends a request of the signed-in person and answers its JSON. */
export async function call<T>(request: APIRequestContext, url: string, method: string, path: string, body?: unknown): Promise<T> {
  const user = (await (await request.get(`${url}/api/user`)).json()) as { csrfToken: string };
  const answer = await request.fetch(`${url}${path}`, { method, headers: { 'X-CSRF-Token': user.csrfToken }, ...(body === undefined ? {} : { data: body as object }) });
  if (!answer.ok()) {
    throw new Error(`${method} ${path}: ${answer.status()} ${await answer.text()}`);
  }
  return (await answer.json()) as T;
}
