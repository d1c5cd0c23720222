import { cpSync } from 'node:fs';
import { resolve } from 'node:path';
import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const modules = resolve(import.meta.dirname, 'node_modules');

/** Files @grafana/ui asks for by address: its icons, and the fonts its global styles name. They must come from here, not from a CDN. */
const PUBLIC_FILES: Record<string, string> = {
  'build/img/icons': '@grafana/ui/dist/public/img/icons',
  'fonts/inter/Inter-Regular.woff2': '@fontsource/inter/files/inter-latin-400-normal.woff2',
  'fonts/inter/Inter-Medium.woff2': '@fontsource/inter/files/inter-latin-500-normal.woff2',
  'fonts/inter/Inter-Italic.woff2': '@fontsource/inter/files/inter-latin-400-italic.woff2',
  'fonts/inter/Inter-MediumItalic.woff2': '@fontsource/inter/files/inter-latin-500-italic.woff2',
  'fonts/roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2': '@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2',
};

function grafanaPublicFiles(): Plugin {
  return {
    name: 'grafana-public-files',
    closeBundle() {
      for (const [to, from] of Object.entries(PUBLIC_FILES)) {
        cpSync(resolve(modules, from), resolve(import.meta.dirname, 'dist/public', to), { recursive: true });
      }
    },
  };
}

/**
 * Modules of @grafana/ui that are reached but never used here, replaced at build time: the Monaco code editor (four megabytes, for the table's
 * cell inspector) by plain text, and the label filter of legends, which charts here do not offer, by nothing.
 */
const REPLACED: readonly [RegExp, string][] = [
  [/Monaco\/(CodeEditor|ReactMonacoEditorLazy)\.mjs$/, 'src/ui/code_editor.tsx'],
  [/VizLegend\/FacetedLabelsFilter\.mjs$/, 'src/ui/no_label_filter.ts'],
];

function withoutUnused(): Plugin {
  return {
    name: 'without-unused',
    enforce: 'pre',
    resolveId(source, importer) {
      const found = importer?.includes('@grafana/ui') ? REPLACED.find(([pattern]) => pattern.test(source)) : undefined;
      return found ? resolve(import.meta.dirname, found[1]) : null;
    },
  };
}

/** Lighter stand-ins for parts of libraries; tests run with the real ones. */
const LIGHTER = [
  // The same functions as modules, so that only those in use are shipped.
  { find: /^lodash$/, replacement: 'lodash-es' },
  { find: /^@grafana\/e2e-selectors$/, replacement: resolve(import.meta.dirname, 'src/ui/test_ids.ts') },
  { find: /^zod(\/.*)?$/, replacement: resolve(import.meta.dirname, 'src/ui/no_schemas.ts') },
];

export default defineConfig({
  plugins: [withoutUnused(), react(), grafanaPublicFiles()],
  resolve: {
    alias: [
      // Zones of the ten years around today instead of all since 1900: a seventeenth of the size.
      { find: /^moment-timezone$/, replacement: resolve(modules, 'moment-timezone/builds/moment-timezone-with-data-10-year-range.js') },
      ...(process.env.VITEST ? [] : LIGHTER),
      { find: /^react-dom\/server$/, replacement: resolve(import.meta.dirname, 'src/ui/static_markup.ts') },
    ],
    dedupe: ['react', 'react-dom', '@codemirror/state', '@codemirror/view', '@codemirror/language', '@lezer/common', '@lezer/highlight'],
  },
  build: { target: 'es2022', sourcemap: false, chunkSizeWarningLimit: 4000, assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // What panels of all kinds share travels together: fewer and larger files compress better.
        codeSplitting: { groups: [{ name: 'panels', test: /node_modules\/(@grafana\/(data|schema)|uplot|d3-|rxjs)|src\/ui\/viz|src\/panels\/(visuals\/(types|field_values|linked)|options)/, minShareCount: 3 }] },
      },
    },
  },
  server: { host: '127.0.0.1', port: 5173, proxy: { '/api': process.env.MANGRU_UI ?? 'http://127.0.0.1:3000' } },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.{ts,tsx}', 'test/unit/**/*.test.ts'],
          environment: 'jsdom',
          setupFiles: ['test/unit/setup.ts'],
          // One worker keeps @grafana/data loaded; loading it is most of the time these tests take.
          isolate: false,
          maxWorkers: 1,
          server: { deps: { inline: [/@grafana\//, /react-use/] } },
        },
      },
      { extends: true, test: { name: 'browser', include: ['test/browser/**/*.spec.ts'], testTimeout: 60_000, hookTimeout: 120_000, fileParallelism: false } },
      { extends: true, test: { name: 'live', include: ['test/live/**/*.spec.ts'], testTimeout: 120_000, hookTimeout: 120_000, fileParallelism: false } },
    ],
  },
});
