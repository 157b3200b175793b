// Chromium presents one encoding of several spatial and temporal layers; a viewer asks for fewer and for all again.

import { pause, until } from '../lib/case.mjs';
import { firstPicture, SETTLE_MS } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { Clients, hangUp, launch, statsOf } from './browser.mjs';

/** Chromium makes three spatial layers of pictures of this size, of smaller ones fewer. */
const [WIDTH, HEIGHT] = [960, 540];

export default async function svc(test, { codec, mode }) {
  const server = await Server.start(test);
  const clients = await Clients.start(test, await launch(test, 'chromium'));
  const token = await server.token('talk');
  const presenter = await clients.publish('presenter', {
    url: server.whip('talk'), token, codec, encodings: [{ scalabilityMode: mode }], width: WIDTH, height: HEIGHT,
  });
  const since = Date.now();
  const viewer = await clients.play('viewer', { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(viewer), since);
  const session = await viewer.evaluate(() => window.client.where());
  const choose = async (wish) => {
    const answer = await fetch(`${session}/layer`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(wish),
    });
    test.check(`the wish ${JSON.stringify(wish)} is granted`, answer.ok, answer.status);
  };
  const lines = async () => (await statsOf(viewer)).video.frameHeight;
  const rate = async () => {
    await pause(SETTLE_MS);
    const before = (await statsOf(viewer)).video;
    await pause(4_000);
    const after = (await statsOf(viewer)).video;
    return (after.framesDecoded - before.framesDecoded) / 4;
  };
  await until(15_000, 'all lines', async () => await lines() === HEIGHT);
  const all = await rate();

  if (mode.startsWith('L3')) {
    await choose({ spatialLayerId: 0 });
    // Encoders round up to even numbers.
    await until(8_000, 'a quarter of the lines', async () => Math.abs(await lines() - HEIGHT / 4) <= 1);
    const low = await rate();
    test.check('its pictures go on', low > all * 0.7, `${low} a second of ${all}`);
  }
  await choose({ temporalLayerId: 0 });
  await until(8_000, 'all lines', async () => await lines() === HEIGHT);
  const few = await rate();
  test.check('a quarter of the pictures come, and all that come are shown', few > all * 0.15 && few < all * 0.4,
    `${few} a second of ${all}`);
  await choose({});
  const again = await rate();
  test.check('all come again', again > all * 0.7, `${again} a second of ${all}`);
  test.check('the codec is right', (await statsOf(viewer)).video.codec === codec, (await statsOf(viewer)).video.codec);
  await hangUp(test, 'viewer', viewer);
  await hangUp(test, 'presenter', presenter);
}
