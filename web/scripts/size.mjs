// Prints the gzipped size of every script, and of what each page needs before it can be used.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const dir = join(import.meta.dirname, '../dist/assets');
const size = new Map(readdirSync(dir).filter((f) => f.endsWith('.js')).map((f) => [f, gzipSync(readFileSync(join(dir, f))).length]));
const kb = (n) => `${(n / 1000).toFixed(1).padStart(8)} kB`;
const imports = (file, seen = new Set()) => {
  if (!seen.has(file)) {
    seen.add(file);
    for (const m of readFileSync(join(dir, file), 'utf8').matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) {
      imports(m[1], seen);
    }
  }
  return seen;
};
const entry = [...size.keys()].find((f) => /^index-/.test(f) && readFileSync(join(dir, '../index.html'), 'utf8').includes(f));
for (const page of ['login', 'home', 'boards', 'board', 'explore', 'promql_editor']) {
  const file = [...size.keys()].find((f) => f.startsWith(`${page}-`));
  const all = imports(file, imports(entry));
  console.log(kb([...all].reduce((n, f) => n + size.get(f), 0)), page);
}
for (const [f, n] of [...size].sort((a, b) => b[1] - a[1]).slice(0, 12)) {
  console.log(kb(n), ' ', f);
}
