// The npm library whip-whep presents and watches, as a site that embeds it would.

import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { pause, until } from '../lib/case.mjs';
import { firstPicture, measure, SETTLE_MS } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { launch, openPage, statsOf } from './browser.mjs';
import { serveSite } from './site.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

export default async function whipWhep(test) {
  const bundle = test.file('bundle.js');
  await build({ entryPoints: [path.join(HERE, 'whip-whep.page.js')], bundle: true, format: 'esm', outfile: bundle, logLevel: 'error' });
  const origin = await serveSite(test, { '/': path.join(HERE, 'whip-whep.html'), '/bundle.js': bundle });
  const server = await Server.start(test);
  const browser = await launch(test);
  const open = async (name) => {
    const page = await openPage(test, browser, origin, name);
    page.on('response', (answer) => {
      const method = answer.request().method();
      if (answer.url().startsWith(server.url)) test.note(`${name}: ${method} ${new URL(answer.url()).pathname.slice(0, 12)} ${answer.status()}`);
    });
    await page.waitForFunction(() => window.ready);
    return page;
  };

  const presenter = await open('presenter');
  await presenter.evaluate((given) => window.library.publish(given), { url: server.whip('talk'), token: await server.token('talk') });
  await until(15_000, 'the presenter to connect', async () => (await statsOf(presenter)).connection === 'connected');
  const viewer = await open('viewer');
  const since = Date.now();
  await viewer.evaluate((given) => window.library.watch(given), { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(viewer), since);
  await pause(SETTLE_MS);
  await measure(test, async () => (await statsOf(presenter)).video.framesSent, () => statsOf(viewer));

  for (const [name, page] of [['viewer', viewer], ['presenter', presenter]]) {
    const answered = page.waitForResponse((answer) => answer.request().method() === 'DELETE', { timeout: 5_000 });
    const [answer] = await Promise.all([answered, page.evaluate(() => window.library.stop())]);
    test.check(`the library's DELETE of the ${name}'s session says 200`, answer.status() === 200, answer.status());
  }
}
