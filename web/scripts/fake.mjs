// Runs the TypeScript fake server through Vite, which every supported Node version can do.
import { runnerImport } from 'vite';

await runnerImport('./test/fake/main.ts', { configFile: false, logLevel: 'error' });
