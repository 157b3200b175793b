// How soon a viewer has a picture, and how soon it sees what those see who were there before: a presenter whose key
// frames are ten seconds apart and cannot be asked for, one viewer that stays, and many that join at any time between
// two key frames.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { encoded, Ffmpeg } from '../clients/ffmpeg.mjs';
import { viewers } from '../clients/load.mjs';
import { pause, until } from '../lib/case.mjs';
import { BINARY, Server } from '../lib/server.mjs';
import { launch, openPage } from './browser.mjs';
import { serveSite } from './site.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

export default async function instant(test, { codec = 'video/H264', by = 'chromium', browser = 'chromium' }) {
  const server = await Server.start(test);
  const origin = await serveSite(test, {
    '/': path.join(HERE, 'instant.html'),
    '/instant.page.js': path.join(HERE, 'instant.page.js'),
  });
  const presenter = await PRESENTERS[by](test, server, origin, codec);
  const page = await openPage(test, await launch(test, browser), origin, 'viewers');
  const url = server.whep('talk');
  await page.evaluate((given) => window.instant.join(given), { name: 'resident', url });
  await until(15_000, 'the first viewer to see something', async () => (await seen(page, 'resident')).shown.length > 60);

  // Our own viewers come meanwhile, as often: without a decoder they tell when a picture could have been shown.
  const counting = viewers(test, server, ['--viewers', 4, '--joins-per-second', 1, '--stay', 1, '--seconds', Math.round(JOINS * PACE_MS / 1000)]);
  const joins = [];
  const began = Date.now();
  for (let number = 0; number < JOINS; number += 1) {
    await pause(Math.max(0, began + number * PACE_MS - Date.now()));
    joins.push(watch(page, url, `viewer ${number}`));
  }
  const seenByAll = await Promise.all(joins);
  const resident = await seen(page, 'resident');
  judge(test, seenByAll.map((viewer) => compared(viewer, resident)), await presenter.keys());
  const { first_picture_ms: delivered, pictures, joins: count, failures } = await counting;
  test.check(`${count} others were sent a whole picture, half of them within ${DELIVERED_MS} ms`,
    failures === 0 && pictures === count && delivered.p50 <= DELIVERED_MS,
    `${pictures} pictures, p50 ${whole(delivered?.p50)} ms, p95 ${whole(delivered?.p95)} ms, ${failures} failures`);
  test.note(`the viewer who stayed: ${resident.video.freezeCount ?? '?'} freezes, ${resident.video.framesDropped ?? '?'} dropped, `
    + `${resident.video.packetsLost} packets lost`);
  await page.screenshot({ path: test.file('viewers.png') });
}

const seen = (page, name) => page.evaluate((given) => window.instant.seen(given), name);

/** One viewer that comes, stays for a while and goes. */
async function watch(page, url, name) {
  await page.evaluate((given) => window.instant.join(given), { name, url });
  await pause(STAY_MS);
  const viewer = await seen(page, name);
  await page.evaluate((given) => window.instant.leave(given), name);
  return viewer;
}

/** A viewer with how far it was behind, each time it showed a picture: [ms since its POST, ms of the presenter's time]. */
function compared(viewer, resident) {
  const behind = viewer.shown.map(([at, number]) => {
    const [, newest] = resident.shown.findLast(([when]) => when <= at + SAME_TURN_MS) ?? [0, number];
    return [at - viewer.asked, difference(newest, number) * FRAME_MS];
  });
  const asked = resident.shown.findLast(([when]) => when <= viewer.asked)?.[1] ?? 0;
  return { ...viewer, behind, numberThen: asked, first: viewer.first - viewer.asked, connected: viewer.connected - viewer.asked };
}

/** The facts, and a line for each viewer. */
function judge(test, joined, keys) {
  for (const viewer of joined) {
    const ages = keys.map((key) => difference(viewer.numberThen, key)).filter((age) => age >= 0);
    viewer.age = Math.min(...ages) * FRAME_MS / 1000;
  }
  test.note('GOP age s | ms: connected  first picture | behind after 0.5 s  1 s  2 s  4 s  5 s | freezes dropped PLI NACK | jitter buffer ms');
  for (const { age, connected, first, behind, video } of joined.toSorted((a, b) => a.age - b.age)) {
    const late = [500, 1_000, 2_000, 4_000, 5_000].map((after) => whole(lag(behind, after)).padStart(5)).join(' ');
    const buffer = video.jitterBufferDelay / video.jitterBufferEmittedCount * 1000;
    test.note(`${age.toFixed(1).padStart(5)} | ${whole(connected).padStart(5)} ${whole(first).padStart(6)} | ${late} | `
      + `${video.freezeCount ?? '?'} ${video.framesDropped ?? '?'} ${video.pliCount ?? '?'} ${video.nackCount ?? '?'} | ${whole(buffer)}`
      + ` (${video.framesDecoded} decoded of ${video.framesReceived})`);
  }
  const firsts = joined.map(({ first }) => first ?? Infinity);
  test.check(`half of ${joined.length} viewers have a picture within ${FIRST_MS} ms`, median(firsts) <= FIRST_MS, `p50 ${whole(median(firsts))} ms`);
  for (const [what, after, those] of [
    ['a GOP of up to 4 s', 2_000, joined.filter(({ age }) => age <= 4)],
    ['any GOP', 4_000, joined],
  ]) {
    const lags = those.map(({ behind }) => lag(behind, after));
    test.check(`after ${after / 1000} s of ${what} nobody is more than ${BEHIND_MS} ms behind`,
      lags.length > 0 && lags.every((each) => each <= BEHIND_MS), lags.map(whole).join(' '));
  }
}

/** How far a viewer is behind in the second after this time: the median, in ms. */
function lag(behind, after) {
  return median(behind.filter(([at]) => at >= after && at < after + 1_000).map(([, ms]) => ms));
}

/** Of two numbers that wrap at 16 bits. */
function difference(a, b) {
  return ((a - b + 0x8000) & 0xffff) - 0x8000;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const whole = (number) => (Number.isFinite(number) ? number.toFixed(0) : '–');

/** Who presents: each gives `keys`, the numbers of the key frames. */
const PRESENTERS = {
  async ffmpeg(test, server) {
    const publisher = Ffmpeg.start(test, 'ffmpeg', {
      url: server.whip('talk'), token: await server.token('talk'), key: INTERVAL_S * RATE, numbered: true,
    });
    await until(15_000, 'FFmpeg to send pictures', () => publisher.framesSent > 0);
    return { keys: () => Array.from({ length: 60 }, (_, key) => key * INTERVAL_S * RATE) };
  },

  /** As FFmpeg, but the parameter sets come once, with the first picture of all. */
  async file(test, server) {
    const file = test.file('numbered.h264');
    fs.writeFileSync(file, withoutLaterSets(await encoded({ seconds: 60, key: INTERVAL_S * RATE })));
    const words = ['publish', '--whip', server.whip('talk'), '--token', await server.token('talk'), '--ignore-pli', '--video', file];
    const log = fs.openSync(test.file('publish.log'), 'w');
    const child = spawn(BINARY, words, { stdio: ['ignore', log, log] });
    fs.closeSync(log);
    test.atEnd(() => child.kill('SIGINT'));
    await until(15_000, 'the presenter to connect', () => /connected/.test(fs.readFileSync(test.file('publish.log'), 'utf8')));
    return { keys: () => Array.from({ length: 6 }, (_, key) => key * INTERVAL_S * RATE) };
  },

  async chromium(test, server, origin, codec) {
    const page = await openPage(test, await launch(test), origin, 'presenter');
    const options = { url: server.whip('talk'), token: await server.token('talk'), codec, interval: INTERVAL_S, bitrate: 1_000_000 };
    await page.evaluate((given) => window.instant.publish(given), options);
    return {
      async keys() {
        const { keys, encoded } = await page.evaluate(() => window.instant.presented());
        test.check('the presenter made a key frame only when it should', encoded <= keys.length + 1, `${encoded}, asked for ${keys.length}`);
        return keys;
      },
    };
  },
};

/** A stream with start codes, without the SPS and PPS that come again. */
function withoutLaterSets(stream) {
  const kept = [];
  const seen = new Set();
  for (let at = stream.indexOf(START_CODE); at >= 0;) {
    const next = stream.indexOf(START_CODE, at + START_CODE.length);
    const kind = stream[at + START_CODE.length] & 0x1f;
    const isSet = kind === 7 || kind === 8;
    if (!isSet || !seen.has(kind)) kept.push(stream.subarray(at, next < 0 ? undefined : next));
    if (isSet) seen.add(kind);
    at = next;
  }
  return Buffer.concat(kept);
}

const START_CODE = Buffer.from([0, 0, 1]);
const RATE = 30;
const FRAME_MS = 1000 / RATE;
/** Between two key frames. */
const INTERVAL_S = 10;
/** Spread over the GOP: nearly two rounds of it, in steps that do not meet. */
const [JOINS, PACE_MS] = [10, 1_700];
const STAY_MS = 6_000;
/** Two viewers' callbacks of the same turn of the page. */
const SAME_TURN_MS = 8;
const FIRST_MS = 300;
const DELIVERED_MS = 150;
const BEHIND_MS = 200;
