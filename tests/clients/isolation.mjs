// Streams do not mix, and who may present is decided before anything happens.

import fs from 'node:fs';
import path from 'node:path';

import { Clients, hangUp, launch, statsOf } from '../browser/browser.mjs';
import { pause, REPOSITORY, until } from '../lib/case.mjs';
import { firstPicture } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { Ffmpeg } from './ffmpeg.mjs';

const OFFER = fs.readFileSync(path.join(REPOSITORY, 'tests', 'fixtures', 'offers', 'obs-32.2.2.sdp'));
const SIZES = { large: [640, 360], small: [320, 180] };

export default async function isolation(test) {
  const server = await Server.start(test);
  const clients = await Clients.start(test, await launch(test));
  const presenters = {};
  for (const [stream, size] of Object.entries(SIZES)) {
    presenters[stream] = Ffmpeg.start(test, `ffmpeg-${stream}`, {
      url: server.whip(stream), token: await server.token(stream), size: size.join('x'), bitrate: '500k',
    });
  }
  await until(15_000, 'both presenters to send', () => Object.values(presenters).every(({ framesSent }) => framesSent > 0));

  const viewers = {};
  for (const stream of Object.keys(SIZES)) {
    const since = Date.now();
    viewers[stream] = await clients.play(`viewer-${stream}`, { url: server.whep(stream) });
    await firstPicture(test, () => statsOf(viewers[stream]), since);
  }
  await eachSeesItsOwn(test, viewers);
  await othersAreRefused(test, server);
  await eachSeesItsOwn(test, viewers);
  for (const [stream, { how }] of Object.entries(presenters)) test.check(`"${stream}" was presented throughout`, how === undefined, how);
  for (const [stream, page] of Object.entries(viewers)) await hangUp(test, `viewer of "${stream}"`, page);

  await theSameIdentityTakesOver(test, server, clients);
}

/** Looks at both pictures for a while. */
async function eachSeesItsOwn(test, viewers) {
  const seen = { large: new Set(), small: new Set() };
  const decoded = {};
  for (const [stream, page] of Object.entries(viewers)) decoded[stream] = -(await statsOf(page)).video.framesDecoded;
  const end = Date.now() + LOOK_MS;
  while (Date.now() < end) {
    for (const [stream, page] of Object.entries(viewers)) {
      const { picture, video } = await statsOf(page);
      seen[stream].add(picture.join('×')).add(`${video.frameWidth}×${video.frameHeight}`);
    }
    await pause(100);
  }
  for (const [stream, page] of Object.entries(viewers)) {
    const sizes = [...seen[stream]];
    test.check(`the viewer of "${stream}" sees only its size`, sizes.length === 1 && sizes[0] === SIZES[stream].join('×'), sizes.join(' '));
    decoded[stream] += (await statsOf(page)).video.framesDecoded;
    test.check(`the pictures of "${stream}" move`, decoded[stream] > LOOK_MS / 1000 * 20, `${decoded[stream]} in ${LOOK_MS / 1000} s`);
  }
}

/** No token 401, a token to watch 403, another identity 409, another stream's token 403; nothing is disturbed. */
async function othersAreRefused(test, server) {
  const attempts = {
    'without a token': [undefined, 401],
    'with a made-up token': ['made-up', 401],
    'with a token to watch': [await server.token('large', { right: 'watch' }), 403],
    "with another stream's token": [await server.token('small'), 403],
    'with another identity': [await server.token('large', { as: 'other' }), 409],
  };
  for (const [how, [token, wanted]] of Object.entries(attempts)) {
    const answer = await fetch(server.whip('large'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
      body: OFFER,
    });
    test.check(`a second presenter ${how} meets ${wanted}`, answer.status === wanted, answer.status);
    const type = answer.headers.get('content-type') ?? '';
    test.check('… and is told why', type.startsWith('application/problem+json') && (await answer.json()).detail, type);
  }
}

/** The same token again: the old session ends, the new one presents, the viewer stays where it is. */
async function theSameIdentityTakesOver(test, server, clients) {
  const token = await server.token('back');
  const options = { url: server.whip('back'), token, codec: 'video/VP8' };
  const first = await clients.publish('first-presenter', options);
  const viewer = await clients.play('viewer-back', { url: server.whep('back') });
  await firstPicture(test, () => statsOf(viewer), Date.now());

  const second = await clients.publish('second-presenter', options);
  test.check('the same identity is let in again', (await statsOf(second)).connection === 'connected');
  const old = await first.evaluate(() => window.client.where());
  await until(5_000, 'the old session to be gone', async () => (await fetch(old)).status === 404);
  test.check('its old session is gone', true);
  await first.close();
  const before = (await statsOf(viewer)).video.framesDecoded;
  await pause(LOOK_MS);
  const decoded = (await statsOf(viewer)).video.framesDecoded - before;
  test.check('the viewer goes on watching, in the same session', decoded > LOOK_MS / 1000 * 10, `${decoded} pictures in ${LOOK_MS / 1000} s`);
  await hangUp(test, 'viewer', viewer);
  await hangUp(test, 'second presenter', second);
}

const LOOK_MS = 4_000;
