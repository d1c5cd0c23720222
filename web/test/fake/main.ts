/** Serves the fake API and the built UI on a fixed port, for people who work on the UI: `npm run build && npm run fake`. */
import { startFake, TOKEN } from './server.ts';

const fake = await startFake(Number(process.env.PORT ?? 3000));
console.log(`${fake.url}/login#token=${TOKEN}`);
