// Prints the gzipped size of every script, and of what each page needs before it can be used. A page's `with` are the scripts it loads
// only for what it shows: a board, for its panels. Fails when the first board needs more than its budget.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BOARD_BUDGET = 700_000;

const dir = join(import.meta.dirname, '../dist/assets');
const size = new Map(readdirSync(dir).filter((f) => f.endsWith('.js')).map((f) => [f, gzipSync(readFileSync(join(dir, f))).length]));
const kb = (n) => `${(n / 1000).toFixed(1).padStart(8)} kB`;
const imports = (file, seen = new Set()) => {
  if (file && !seen.has(file)) {
    seen.add(file);
    for (const m of readFileSync(join(dir, file), 'utf8').matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) {
      imports(m[1], seen);
    }
  }
  return seen;
};
const find = (name) => [...size.keys()].find((f) => f.replace(/-[\w-]{8}\.js$/, '') === name);
const entry = [...size.keys()].find((f) => /^index-/.test(f) && readFileSync(join(dir, '../index.html'), 'utf8').includes(f));
const total = (names) => [...names.reduce((seen, n) => imports(find(n), seen), imports(entry))].reduce((n, f) => n + size.get(f), 0);
const first = ['board', 'time_series', 'stat', 'gauge', 'bar_gauge', 'table', 'text'];
const loads = [['login'], ['home'], ['boards'], ['board'], ['board', 'time_series', 'stat'], first, [...first, 'pie', 'heatmap', 'state_timeline', 'bar_chart', 'alert_list', 'board_list'], ['explore']];
for (const names of loads) {
  const [page, ...more] = names;
  console.log(kb(total(names)), page, more.length > 0 ? `with ${more.join(', ')}` : '');
}
for (const [f, n] of [...size].sort((a, b) => b[1] - a[1]).slice(0, 16)) {
  console.log(kb(n), ' ', f);
}
if (total(first) > BOARD_BUDGET) {
  console.error(`A first board needs ${kb(total(first)).trim()} of script; at most ${kb(BOARD_BUDGET).trim()} is allowed.`);
  process.exitCode = 1;
}
