// Many viewers of one FFmpeg presenter: `viewers` (100 that stay), `churn` (20 joins and leaves a second) and `storm` (200
// that join in the same second as some are watching already).

import { spawn } from 'node:child_process';
import fs from 'node:fs';

import { pause, until } from '../lib/case.mjs';
import { BINARY, Server } from '../lib/server.mjs';
import { Ffmpeg } from './ffmpeg.mjs';

const MB = 1_000_000;

export default async function load(test, { shape }) {
  const server = await Server.start(test);
  const presenter = Ffmpeg.start(test, 'ffmpeg', {
    url: server.whip('talk'), token: await server.token('talk'), size: '1280x720', bitrate: '2500k', constant: true, ...(shape === 'storm' ? { key: STORM_KEY } : {}),
  });
  await until(15_000, 'FFmpeg to send pictures', () => presenter.framesSent > 0);
  await SHAPES[shape](test, server);
  test.check('FFmpeg presented to the end', presenter.how === undefined, presenter.how);
}

const SHAPES = {
  async viewers(test, server) {
    const before = server.usage();
    const began = Date.now();
    const counted = await viewers(test, server, ['--viewers', VIEWERS, '--seconds', VIEWERS_SECONDS]);
    const seconds = (Date.now() - began) / 1000;
    const after = server.usage();

    const { viewers_connected: connected, failures, failures_by_reason: reasons } = counted;
    test.check(`${VIEWERS} viewers were connected`, connected === VIEWERS && failures === 0, `${connected}, failures ${JSON.stringify(reasons)}`);
    // 2.5 Mbit/s in packets of at most 1,200 bytes is 260 a second; a third less would be another stream.
    const least = VIEWERS * VIEWERS_SECONDS * 170;
    test.check('each got the whole stream', counted.packets_received > least, `${counted.packets_received} packets, `
      + `${counted.megabits_per_second.toFixed(1)} Mbit/s`);
    // What the kernel dropped at a viewer's own full socket is the fault of a machine too busy to read it.
    test.check('no packet was lost', counted.packets_lost === 0, `${counted.packets_lost} lost, of those `
      + `${counted.packets_overflowed} datagrams or more found a viewer's socket full`);
    test.check('every packet could be decrypted', counted.packets_undecryptable === 0, counted.packets_undecryptable);
    test.check('all said goodbye', counted.leaves === VIEWERS, counted.leaves);
    noteTimes(test, counted);
    const cpu = after.cpuSeconds - before.cpuSeconds;
    test.note(`server CPU ${cpu.toFixed(2)} s in ${seconds.toFixed(1)} s: ${(100 * cpu / seconds).toFixed(1)} % of one core, `
      + `${(1e6 * cpu / counted.packets_received).toFixed(2)} µs a packet; resident ${(after.residentBytes / MB).toFixed(1)} MB`);
  },

  async storm(test, server) {
    const watching = viewers(test, server, ['--viewers', WATCHERS, '--seconds', STORM_SECONDS]);
    await until(15_000, 'those who watch before to be there', async () => await server.metric('tribune_sessions') === WATCHERS + 1);
    // The older the pictures since the last key frame, the more a newcomer gets at once.
    await pause(STORM_AFTER_MS);
    const before = server.usage().cpuSeconds;
    const storm = await viewers(test, server, ['--viewers', STORM, '--joins-per-second', STORM, '--parallel', STORM, '--sample', '1/20', '--seconds', 3]);
    const cpu = server.usage().cpuSeconds - before;
    const watched = await watching;

    test.check(`${STORM} viewers joined`, storm.viewers_connected === STORM && storm.failures === 0, JSON.stringify(storm.failures_by_reason));
    test.note(`${storm.joins_per_second.toFixed(0)} joins a second; server CPU ${cpu.toFixed(2)} s`);
    noteTimes(test, storm);
    test.check('those who watched before lost no packet', watched.packets_lost === 0, `${watched.packets_lost} of ${watched.packets_received} lost, `
      + `of those ${watched.packets_overflowed} datagrams or more found a viewer's socket full`);
    test.check('they watched all the time', watched.failures === 0 && watched.packets_received > WATCHERS * STORM_SECONDS * 170, watched.packets_received);
    test.check('the newcomers who read lost none either', storm.packets_lost === 0, `${storm.packets_lost} of ${storm.packets_received} lost, `
      + `of those ${storm.packets_overflowed} found a viewer's socket full`);
  },

  async churn(test, server) {
    const seconds = CHURN_SECONDS;
    // A round first, twice as busy as the one that counts: what is allocated once (pools, buffers, tables) is not a leak,
    // nor what is remembered of a bounded number of sessions, nor the pages that the allocator keeps half filled.
    await viewers(test, server, comeAndGo(2 * JOINS_PER_SECOND, WARM_UP_SECONDS));
    await settled(test, server);
    const before = { ...server.usage(), files: openFiles(server), residentBytes: await least(server) };
    const counted = await viewers(test, server, comeAndGo(JOINS_PER_SECOND, seconds));
    await settled(test, server);
    const after = { ...server.usage(), files: openFiles(server) };

    const wanted = JOINS_PER_SECOND * seconds;
    test.check(`about ${wanted} joins happened`, counted.joins >= 0.95 * wanted, counted.joins);
    test.check('nobody failed', counted.failures === 0, JSON.stringify(counted.failures_by_reason));
    test.check('all said goodbye', counted.leaves === counted.joins, counted.leaves);
    test.note(`POST → connected: p50 ${counted.connected_ms.p50.toFixed(1)} ms, p99 ${counted.connected_ms.p99.toFixed(1)} ms; `
      + `${counted.packets_received} packets, ${counted.packets_lost} lost`);
    const cpu = after.cpuSeconds - before.cpuSeconds;
    test.note(`server CPU ${cpu.toFixed(2)} s: ${(100 * cpu / seconds).toFixed(1)} % of one core`);
    after.residentBytes = await least(server);
    const growth = 100 * (after.residentBytes / before.residentBytes - 1);
    test.check(`memory is back within ${MOST_GROWTH} %`, growth < MOST_GROWTH, `${(before.residentBytes / MB).toFixed(1)} → `
      + `${(after.residentBytes / MB).toFixed(1)} MB, ${growth.toFixed(1)} %`);
    test.check('threads are back', after.threads === before.threads, `${before.threads} → ${after.threads}`);
    test.check('open files are back', after.files <= before.files, `${before.files} → ${after.files}`);
  },
};

/** Resident bytes, the least of some seconds: the group of pictures that is kept grows and goes, and the allocator gives
 * pages back when it likes. */
async function least(server) {
  const seen = [];
  for (let i = 0; i < 10; i += 1) {
    seen.push(server.usage().residentBytes);
    await pause(500);
  }
  return Math.min(...seen);
}

/** How long it took from the POST to what a viewer waits for. */
function noteTimes(test, counted) {
  for (const [what, times] of [['connected', counted.connected_ms], ['first packet', counted.first_packet_ms],
    ['first key frame', counted.first_keyframe_ms], ['all of it', counted.first_picture_ms]]) {
    test.note(`POST → ${what}: p50 ${times.p50.toFixed(1)} ms, p95 ${times.p95.toFixed(1)} ms, p99 ${times.p99.toFixed(1)} ms`);
  }
}

/** Runs the binary's own viewers; ends with the case. Their exit code is judged by the facts that they print. */
export async function viewers(test, server, words) {
  const log = fs.openSync(test.file('load.log'), 'a');
  const child = spawn(BINARY, ['load', '--whep', server.whep('talk'), '--json', ...words.map(String)], { stdio: ['ignore', 'pipe', log] });
  fs.closeSync(log);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more) => { text += more; });
  const ended = new Promise((resolve) => { child.once('close', resolve); child.once('error', resolve); });
  let over = false;
  ended.then(() => { over = true; });
  test.atEnd(() => { if (!over) child.kill('SIGKILL'); });
  await ended;
  fs.appendFileSync(test.file('load.log'), text);
  return JSON.parse(text);
}

/** Waits until the presenter's session is the only one left, those that are closing too. */
async function settled(test, server) {
  const began = Date.now();
  await until(15_000, 'all viewers to be gone', async () => await server.metric('tribune_sessions') === 1);
  test.note(`all viewers were gone after ${((Date.now() - began) / 1000).toFixed(1)} s`);
  // A session that has ended stays for 5 s, so that its goodbye can be repeated; kept HTTP connections close at once.
  await pause(7_000);
}

/** How many files the server has open. */
const openFiles = (server) => fs.readdirSync(`/proc/${server.child.pid}/fd`).length;

const VIEWERS = 100;
const VIEWERS_SECONDS = 30;
/** Pictures between two key frames: ten seconds. */
const STORM_KEY = 300;
const [WATCHERS, STORM, STORM_SECONDS, STORM_AFTER_MS] = [30, 200, 16, 5_000];
const JOINS_PER_SECOND = 20;
/** As long as it takes to see a leak; where many cases wait, long enough to see a large one. */
const CHURN_SECONDS = process.env.CI === 'true' ? 20 : 60;
/** In per cent. The heap in use grows by some 50 bytes a join (by heaptrack), up to what a report may hold. */
const MOST_GROWTH = 5;
/** Twice as many joins as the server remembers sessions that are over. */
const WARM_UP_SECONDS = 26;
/** Viewers that stay for a second each. Twice as many places as are needed: a slow moment must not hold the joins up. */
const comeAndGo = (each, seconds) => ['--viewers', 2 * each, '--joins-per-second', each, '--stay', 1, '--seconds', seconds];
