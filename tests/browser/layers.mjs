// Three layers are presented, by Chromium or as OBS does it; the way to one of two viewers becomes narrow for a while. That
// viewer falls to the low layer and comes back; the other one sees nothing of it.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';

import { CACHE, pause, until } from '../lib/case.mjs';
import { firstPicture } from '../lib/measure.mjs';
import { BINARY, Server } from '../lib/server.mjs';
import { Clients, launch, statsOf } from './browser.mjs';

const run = promisify(execFile);

/** Only the low one passes through 500 kbit/s. */
const ENCODINGS = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 250_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 800_000 },
  { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 1_300_000 },
];
const [WIDTH, HEIGHT] = [960, 540];
/** Lines of the low layer; encoders round to even numbers. */
const LOW = HEIGHT / 4;

export default async function layers(test, { by = 'chromium' } = {}) {
  const server = await Server.start(test);
  const clients = await Clients.start(test, await launch(test, 'chromium'));
  const token = await server.token('talk');
  const presenter = by === 'chromium' ? await clients.publish('presenter', {
    url: server.whip('talk'), token, codec: 'video/VP8', encodings: ENCODINGS, busy: true, width: WIDTH, height: HEIGHT,
  }) : undefined;
  if (!presenter) await presentLikeObs(test, server.whip('talk'), token);
  const since = Date.now();
  const narrow = await clients.play('narrow', { url: server.whep('talk') });
  const wide = await clients.play('wide', { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(narrow), since);
  const isAt = async (page, height) => Math.abs((await statsOf(page)).video?.frameHeight - height) <= 1;
  for (const [name, page] of Object.entries({ narrow, wide })) {
    await until(30_000, `the ${name} viewer to get the high layer`, () => isAt(page, HEIGHT));
  }
  let bytes = 0;
  await until(30_000, 'the high layer to have its full rate', async () => {
    const { bytesReceived } = (await statsOf(wide)).video;
    const rate = (bytesReceived - bytes) * 8;
    bytes = bytesReceived;
    await pause(1_000);
    return rate > 650_000 && rate < 3_000_000;
  });
  const before = (await statsOf(wide)).video;
  const sentBefore = presenter && (await statsOf(presenter)).layers.f.frames;
  const narrowBefore = (await statsOf(narrow)).video;

  await throttle((await statsOf(narrow)).port);
  const throttled = Date.now();
  await until(15_000, 'the narrow viewer to fall to the low layer', () => isAt(narrow, LOW));
  const fell = Date.now() - throttled;
  test.check('it falls to the low layer within 3 s', fell <= 3_000, `${fell} ms`);
  await watch(test, narrow, presenter, 10);
  test.check('it stays there as long as its way is narrow', await isAt(narrow, LOW));
  const shown = (await statsOf(narrow)).video;
  await pause(3_000);
  const later = (await statsOf(narrow)).video;
  const frames = later.framesDecoded - shown.framesDecoded;
  test.check('its pictures go on', frames > 3 * 15 * 0.5, `${frames} in 3 s`);

  await lift();
  const lifted = Date.now();
  await until(30_000, 'the narrow viewer to come back', () => isAt(narrow, HEIGHT));
  const rose = Date.now() - lifted;
  test.check('it comes back to the high layer within 10 s', rose <= 10_000, `${rose} ms`);
  await pause(3_000);
  const back = (await statsOf(narrow)).video;
  // A picture that came whole and was not decoded is one that the decoder refused.
  const [came, decoded] = [back.framesReceived - later.framesReceived, back.framesDecoded - later.framesDecoded];
  test.check('it decodes what comes on the way back, and goes on', decoded > 3 * 15 * 0.5 && came - decoded <= 5,
    `${decoded} of ${came}`);

  const after = (await statsOf(wide)).video;
  test.check('the other viewer keeps the high layer', after.frameHeight === HEIGHT, after.frameHeight);
  // Chromium answers a request for one layer by key frames of all, and leaves out pictures behind them to keep its rate:
  // what the presenter did not send is no fault of the way.
  const freezes = after.freezeCount - before.freezeCount;
  if (presenter) {
    const sent = (await statsOf(presenter)).layers.f.frames - sentBefore;
    const decoded = after.framesDecoded - before.framesDecoded;
    test.check('it decodes every picture of that layer', Math.abs(sent - decoded) <= 5, `${decoded} of ${sent}; ${freezes} freezes`);
  } else {
    test.check('it does not stand still', freezes === 0, `${freezes} freezes`);
  }
  test.check('it loses no packet', after.packetsLost === before.packetsLost, after.packetsLost - before.packetsLost);
  const { pliCount, framesDropped } = (await statsOf(narrow)).video;
  test.note(`the narrow viewer asked for ${pliCount - narrowBefore.pliCount} key frames and dropped `
    + `${framesDropped - narrowBefore.framesDropped} frames`);
  const switches = await server.metric('tribune_layer_switches_total', 'reason="congestion"');
  test.check('the server tells why it switched', switches >= 1, `${switches} for congestion`);
  if (presenter) test.check('the presenter went on', (await statsOf(presenter)).connection === 'connected');
}

/** H264 in three encodings told apart by their rids, with a key frame every second and none when asked. */
async function presentLikeObs(test, url, token) {
  const ffmpeg = process.env.FFMPEG ?? fs.readFileSync(`${CACHE}/ffmpeg.path`, 'utf8').trim();
  const files = await Promise.all(ENCODINGS.toReversed().map(async ({ rid, scaleResolutionDownBy, maxBitrate }) => {
    const file = test.file(`${rid}.h264`);
    const [width, height] = [WIDTH / scaleResolutionDownBy, HEIGHT / scaleResolutionDownBy].map((side) => side - side % 2);
    await run(ffmpeg, ['-loglevel', 'error', '-y', '-f', 'lavfi', '-i', `testsrc2=size=${width}x${height}:rate=30:duration=20`,
      '-c:v', 'libx264', '-preset', 'ultrafast', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p', '-bf', '0', '-g', '30',
      '-keyint_min', '30', '-b:v', maxBitrate, '-maxrate', maxBitrate, '-bufsize', maxBitrate / 2, file]);
    return file;
  }));
  const child = spawn(BINARY, ['publish', '--whip', url, '--token', token, '--loop', '--fps', '30',
    ...files.flatMap((file) => ['--video', file])], { stdio: 'ignore' });
  test.atEnd(() => child.kill('SIGINT'));
}

/** Notes every second what the viewer gets and what the presenter sends, in kbit/s. */
async function watch(test, viewer, presenter, seconds) {
  let last = { bytes: 0, frames: 0, layers: {} };
  for (let second = 0; second <= seconds; second += 1) {
    const [{ video }, { layers = {} }] = await Promise.all([statsOf(viewer), presenter ? statsOf(presenter) : {}]);
    const rate = (now, before = 0) => Math.round((now - before) * 8 / 1000);
    const sent = Object.entries(layers).map(([rid, { bytes }]) => `${rid} ${rate(bytes, last.layers[rid]?.bytes)}`);
    if (second > 0) {
      test.note(`${video.frameHeight} lines, ${video.framesDecoded - last.frames} pictures, `
        + `${rate(video.bytesReceived, last.bytes)} kbit/s; sent: ${sent.join(', ')}`);
    }
    last = { bytes: video.bytesReceived, frames: video.framesDecoded, layers };
    await pause(1_000);
  }
}

/** 500 kbit/s for what goes to this UDP port, the way a home router does it: a queue of 300 ms, then loss. */
async function throttle(port) {
  const tc = (line) => run('tc', line.split(' '));
  await tc('qdisc add dev lo root handle 1: htb default 10');
  await tc('class add dev lo parent 1: classid 1:10 htb rate 10gbit burst 1mb');
  await tc('class add dev lo parent 1: classid 1:30 htb rate 10gbit burst 1mb');
  await tc('qdisc add dev lo parent 1:30 handle 30: tbf rate 500kbit burst 8kb latency 300ms');
  await tc(`filter add dev lo parent 1: protocol ip u32 match ip protocol 17 0xff match ip dport ${port} 0xffff flowid 1:30`);
}

const lift = () => run('tc', 'qdisc del dev lo root'.split(' '));
