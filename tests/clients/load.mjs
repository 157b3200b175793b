// Many viewers of one FFmpeg presenter: `viewers` (100 that stay) and `churn` (20 joins and leaves a second).

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { pause, until } from '../lib/case.mjs';
import { BINARY, Server } from '../lib/server.mjs';
import { Ffmpeg } from './ffmpeg.mjs';

const run = promisify(execFile);
const MB = 1_000_000;

export default async function load(test, { shape }) {
  const server = await Server.start(test);
  const presenter = Ffmpeg.start(test, 'ffmpeg', {
    url: server.whip('talk'), token: await server.token('talk'), size: '1280x720', bitrate: '2500k', constant: true,
  });
  await until(15_000, 'FFmpeg to send pictures', () => presenter.framesSent > 0);
  await SHAPES[shape](test, server);
  test.check('FFmpeg presented to the end', presenter.how === undefined, presenter.how);
}

const SHAPES = {
  async viewers(test, server) {
    const before = server.usage();
    const began = Date.now();
    const counted = await viewers(server, ['--viewers', VIEWERS, '--seconds', VIEWERS_SECONDS]);
    const seconds = (Date.now() - began) / 1000;
    const after = server.usage();

    test.note(JSON.stringify(counted));
    test.check(`${VIEWERS} viewers were connected`, counted.viewers_connected === VIEWERS, counted.viewers_connected);
    // 2.5 Mbit/s in packets of at most 1,200 bytes is 260 a second; a third less would be another stream.
    const least = VIEWERS * VIEWERS_SECONDS * 170;
    test.check('each got the whole stream', counted.packets_received > least, `${counted.packets_received} packets`);
    test.check('no packet was lost', counted.packets_lost === 0, counted.packets_lost);
    const cpu = after.cpuSeconds - before.cpuSeconds;
    test.note(`server CPU ${cpu.toFixed(2)} s in ${seconds.toFixed(1)} s: ${(100 * cpu / seconds).toFixed(1)} % of one core, `
      + `${(1e6 * cpu / counted.packets_received).toFixed(2)} µs a packet; resident ${(after.residentBytes / MB).toFixed(1)} MB`);
  },

  async churn(test, server) {
    // One short round first: what is allocated once (pools, buffers) is not a leak.
    await viewers(server, ['--viewers', 20, '--seconds', 5, '--joins-per-second', JOINS_PER_SECOND]);
    await settled(server);
    const before = server.usage();
    const counted = await viewers(server, ['--viewers', 20, '--seconds', CHURN_SECONDS, '--joins-per-second', JOINS_PER_SECOND]);
    await settled(server);
    const after = server.usage();

    test.note(JSON.stringify(counted));
    const wanted = JOINS_PER_SECOND * CHURN_SECONDS;
    test.check(`about ${wanted} joins happened`, counted.joins >= 0.95 * wanted, counted.joins);
    const grown = after.residentBytes - before.residentBytes;
    test.check('memory is back', grown < 8 * MB, `${(before.residentBytes / MB).toFixed(1)} → ${(after.residentBytes / MB).toFixed(1)} MB`);
    test.check('threads are back', after.threads === before.threads, `${before.threads} → ${after.threads}`);
  },
};

/** Runs the binary's own viewers. */
async function viewers(server, words) {
  const { stdout } = await run(BINARY, ['load', '--whep', server.whep('talk'), '--json', ...words.map(String)], { timeout: 150_000 });
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

/** Waits until the presenter's session is the only one left, then a little for memory to be given back. */
async function settled(server) {
  await until(45_000, 'all viewers to be gone', async () => await server.metric('tribune_sessions') === 1);
  await pause(2_000);
}

const VIEWERS = 100;
const VIEWERS_SECONDS = 30;
const JOINS_PER_SECOND = 20;
const CHURN_SECONDS = 60;
