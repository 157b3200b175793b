// A plain page with an EventSource: hears of layers, chooses one, hears of the presenter leaving and of other viewers.

import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { Clients, hangUp, launch, openPage, statsOf } from './browser.mjs';
import { serveSite } from './site.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const KINDS = ['active', 'inactive', 'layers', 'viewercount', 'reconnect'];
const LAYERS = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 100_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 300_000 },
  { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 900_000 },
];

export default async function events(test) {
  const server = await Server.start(test);
  const browser = await launch(test);
  const clients = await Clients.start(test, browser);
  const origin = await serveSite(test, {
    '/': path.join(HERE, 'events.html'),
    '/events.page.js': path.join(HERE, 'events.page.js'),
  });
  const present = async () => clients.publish('presenter', {
    url: server.whip('talk'), token: await server.token('talk'), codec: 'video/VP8', width: 640, height: 480, encodings: LAYERS,
  });
  const heard = (page, kind) => page.evaluate((given) => window.player.heard(given), kind);
  const height = async (page) => (await statsOf(page)).video?.frameHeight;

  let presenter = await present();
  const page = await openPage(test, browser, origin, 'viewer');
  await page.evaluate((url, kinds) => window.player.watch(url, kinds), server.whep('talk'), KINDS);
  await until(5_000, '`active`', async () => (await heard(page, 'active')).length > 0);
  test.check('nobody was told that nothing had begun', (await heard(page, 'inactive')).length === 0);

  const layers = await until(30_000, 'layers of which two are sent and have a size', async () => {
    const latest = (await heard(page, 'layers')).at(-1)?.data ?? {};
    const sent = Object.values(latest)[0]?.filter(({ bitrate, height: known }) => bitrate > 0 && known) ?? [];
    return sent.length >= 2 ? { section: Object.keys(latest)[0], sent } : null;
  });
  test.note(`layers of section ${layers.section}: ${layers.sent.map((l) => `${l.rid} ${l.width}×${l.height} ${l.bitrate}`).join(', ')}`);
  test.check('the layers are those of the video section', layers.section === '1', layers.section);
  const [low, high] = [layers.sent[0], layers.sent.at(-1)];
  test.check('they have the presenter\'s names', LAYERS.some(({ rid }) => rid === low.rid), low.rid);
  await until(20_000, 'the best picture', async () => (await height(page)) >= high.height);

  const choose = async (wish, what, holds) => {
    const since = Date.now();
    const status = await page.evaluate((given) => window.player.choose(given), wish);
    test.check(`the choice of ${what} is taken`, status === 200, status);
    const seen = await until(15_000, what, async () => { const now = await height(page); return holds(now) ? now : null; });
    test.check(`the picture is that of ${what}`, true, `${seen} lines after ${Date.now() - since} ms`);
  };
  const { section } = layers;
  await choose({ mediaId: section, rid: low.rid }, `the low layer \`${low.rid}\``, (now) => now === low.height);
  const shown = await page.evaluate(() => window.player.layers());
  test.check('GET tells the choice', shown.rid === low.rid, JSON.stringify({ ...shown, layers: undefined }));
  await choose({ mediaId: section }, 'the server', (now) => now >= high.height);
  await choose({ mediaId: section, maxHeight: low.height }, `at most ${low.height} lines`, (now) => now <= low.height);
  await choose({ mediaId: section }, 'the server again', (now) => now >= high.height);
  const unknown = await page.evaluate((wish) => window.player.choose(wish), { mediaId: section, rid: 'nope' });
  test.check('a layer that is not there is refused', unknown === 422, unknown);

  const count = (wanted) => until(10_000, `a viewer count of ${wanted}`, async () => (
    (await heard(page, 'viewercount')).at(-1)?.data.viewercount === wanted));
  await count(1);
  const second = await clients.play('second', { url: server.whep('talk') });
  await count(2);
  await hangUp(test, 'second viewer', second);
  await count(1);
  test.check('viewers are counted as they come and go', true);

  const before = (await heard(page, 'active')).length;
  await hangUp(test, 'presenter', presenter);
  await until(5_000, '`inactive`', async () => (await heard(page, 'inactive')).length === 1);
  presenter = await present();
  await until(5_000, '`active`', async () => (await heard(page, 'active')).length === before + 1);
  const { framesDecoded } = (await statsOf(page)).video;
  await until(10_000, 'pictures in the same session', async () => (await statsOf(page)).video.framesDecoded > framesDecoded + 10);
  test.check('the page heard of the presenter leaving and returning', true);

  server.child.kill('SIGTERM');
  await until(5_000, '`reconnect`', async () => (await heard(page, 'reconnect')).length === 1);
  test.check('a shutdown asks the page to reconnect', true);
  // A server that goes has a good reason here: the case asked for it.
  await server.ended;
  server.how = undefined;
  test.note(`the server ended: ${server.child.exitCode}`);
}
