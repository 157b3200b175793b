// One browser page presents by WHIP, another one watches by WHEP.

import { pause } from '../lib/case.mjs';
import { checkCipher, firstPicture, measure, SETTLE_MS } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { Clients, hangUp, launch, statsOf } from './browser.mjs';

export default async function roundTrip(test, { browser: kind = 'chromium', codec }) {
  const server = await Server.start(test);
  const clients = await Clients.start(test, await launch(test, kind));

  const presenter = await clients.publish('presenter', { url: server.whip('talk'), token: await server.token('talk'), codec });
  const since = Date.now();
  const viewer = await clients.play('viewer', { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(viewer), since);
  await pause(SETTLE_MS);

  const sent = async () => {
    const { video } = await statsOf(presenter);
    return video.framesSent ?? video.framesEncoded;
  };
  const seen = await measure(test, sent, () => statsOf(viewer));

  test.check(`the viewer's codec is ${codec}`, seen.video.codec?.toLowerCase() === codec.toLowerCase(), seen.video.codec);
  const published = await statsOf(presenter);
  if (kind === 'chromium') { // Firefox does not tell
    checkCipher(test, 'viewer', seen);
    checkCipher(test, 'presenter', published);
  }
  const { frameWidth, frameHeight, qualityLimitationReason } = published.video;
  test.note(`presenter: ${frameWidth}×${frameHeight}, limited by ${qualityLimitationReason ?? '?'}`);
  await viewer.screenshot({ path: test.file('viewer.png') });
  await hangUp(test, 'viewer', viewer);
  await hangUp(test, 'presenter', presenter);
}
