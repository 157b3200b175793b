// A browser that offers no codec of the stream's gets an offer of the server's, answers it by PATCH, and plays.

import { pause } from '../lib/case.mjs';
import { firstPicture, measure, SETTLE_MS } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { Clients, hangUp, launch, statsOf } from './browser.mjs';

export default async function counter(test) {
  const server = await Server.start(test, { environment: { TRIBUNE_HTTP_WHEP_COUNTER_OFFER: 'on-codec-mismatch' } });
  const clients = await Clients.start(test, await launch(test));
  const presenter = await clients.publish('presenter', { url: server.whip('talk'), token: await server.token('talk'), codec: 'video/VP8' });
  const viewer = await clients.idle('viewer');
  const since = Date.now();
  const statuses = await viewer.evaluate((url) => window.client.playCountered(url), server.whep('talk'));
  test.check('the offer is answered with another one, and the answer to that is taken', String(statuses) === '406,204', statuses);
  await firstPicture(test, () => statsOf(viewer), since);
  await pause(SETTLE_MS);
  await measure(test, async () => (await statsOf(presenter)).video.framesSent, () => statsOf(viewer));
  await hangUp(test, 'viewer', viewer);
  await hangUp(test, 'presenter', presenter);
}
