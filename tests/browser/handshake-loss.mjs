// Each DTLS datagram of a handshake is lost once, in each direction: everybody connects all the same.

import { Server } from '../lib/server.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/case.mjs';
import { Ffmpeg } from '../clients/ffmpeg.mjs';
import { Clients, launch, statsOf } from './browser.mjs';

export default async function handshakeLoss(test) {
  // Both addresses are the namespace's own: one is the server's, the other one is advertised as the server's.
  const [media, advertised] = [process.env.TRIBUNE_TEST_ADDRESS, process.env.TRIBUNE_TEST_SECOND_ADDRESS];
  const server = await Server.start(test, { media, environment: { TRIBUNE_MEDIA_PUBLIC_ADDRESSES: advertised } });
  const port = server.address.split(':')[1];
  const relay = await Relay.start(test, { address: advertised, server: `${media}:${port}` });

  const chromium = await Clients.start(test, await launch(test, 'chromium'));
  const small = { codec: 'video/VP8', width: 320, height: 180 };
  await chromium.publish('presenter', { url: server.whip('talk'), token: await server.token('talk'), ...small });
  for (const [name, clients] of [['chromium', chromium], ['firefox', await Clients.start(test, await launch(test, 'firefox'))]]) {
    await eachDatagram(test, relay, `${name} as viewer`, await viewer(clients, name, server, relay));
  }
  // FFmpeg is the DTLS server, in two datagrams. When the second one, its Finished, is lost, nothing helps: it takes what
  // we repeat for data, and sends that back to us instead of its Finished.
  await eachDatagram(test, relay, 'ffmpeg as presenter', await presenter(test, server, chromium), { most: 1 });
}

/**
 * Joins again and again, losing one datagram later each time, until the one to lose is never sent.
 * `most`: how many of the client's are lost in turn.
 */
async function eachDatagram(test, relay, who, join, { most = Infinity } = {}) {
  for (const [sender, bound] of [['client', most], ['server', Infinity]]) {
    let lost = 0;
    let slowest = 0;
    for (;;) {
      relay.lose(sender, lost + 1);
      const began = Date.now();
      const leave = await join(`${who}, without datagram ${lost + 1} of the ${sender}`);
      slowest = Math.max(slowest, Date.now() - began);
      await leave();
      if (!relay.lost) break;
      lost += 1;
      if (lost === bound) break;
    }
    test.check(`${who} shows a picture within ${JOIN_WITHIN_MS / 1000} s, whichever datagram of the ${sender} is lost`,
      lost >= Math.min(LEAST_LOSSES, bound) && slowest <= JOIN_WITHIN_MS, `${lost} lost in turn, slowest ${slowest} ms`);
  }
}

/** One page that joins and leaves: a browser takes longer to open a page than to connect. */
async function viewer(clients, name, server, relay) {
  const page = await clients.idle(`${name}-viewer`);
  return async (what) => {
    await page.evaluate((given) => window.client.play(given), { url: server.whep('talk'), through: relay.address });
    await until(GIVE_UP_MS, `a picture: ${what}`, async () => ((await statsOf(page)).video?.framesDecoded ?? 0) > 0);
    return () => page.evaluate(() => window.client.hangUp());
  };
}

/** A presenter that is started and ended, and a viewer who stays. */
async function presenter(test, server, clients) {
  const token = await server.token('ffmpeg');
  const first = Ffmpeg.start(test, 'ffmpeg-first', { url: server.whip('ffmpeg'), token, size: '320x180', bitrate: '200k' });
  const page = await clients.play('viewer-of-ffmpeg', { url: server.whep('ffmpeg') });
  const decoded = async () => (await statsOf(page)).video?.framesDecoded ?? 0;
  await until(GIVE_UP_MS, 'a picture of the first FFmpeg', async () => await decoded() > 0);
  await first.stop();
  return async (what) => {
    // Pictures of the presenter before are still on their way: they would be taken for the next one's.
    let [before, still] = [-1, 0];
    await until(GIVE_UP_MS, 'the last picture of the FFmpeg before', async () => {
      const now = await decoded();
      still = now === before ? still + 1 : 0;
      before = now;
      return still >= 5;
    });
    const next = Ffmpeg.start(test, 'ffmpeg', { url: server.whip('ffmpeg'), token, size: '320x180', bitrate: '200k' });
    await until(GIVE_UP_MS, `a picture: ${what}`, async () => await decoded() > before + 5);
    return () => next.stop();
  };
}

const JOIN_WITHIN_MS = 6_000;
const GIVE_UP_MS = 20_000;
/** Fewer datagrams per side than this is no handshake. */
const LEAST_LOSSES = 2;
