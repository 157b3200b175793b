// The presenter goes without a word and comes back: `many` streams at once, `picture` in Chromium, and `backup` presenters
// that stand in for one that was killed or stopped.

import { spawn } from 'node:child_process';
import fs from 'node:fs';

import { Clients, launch, statsOf } from '../browser/browser.mjs';
import { pause, until } from '../lib/case.mjs';
import { BINARY, Server } from '../lib/server.mjs';
import { Ffmpeg } from './ffmpeg.mjs';

export default async function returns(test, { shape }) {
  await SHAPES[shape](test);
}

const SHAPES = {
  /** Each presenter is killed at the same moment and comes back after 1, 5 or 20 s. */
  async many(test) {
    const names = Array.from({ length: STREAMS }, (_, number) => `talk-${number}`);
    const token = (name) => `a-token-of-the-stream-${name}`;
    const tokens = names.map((name) => `{ token = "${token(name)}", stream = "${name}", right = "publish" }`);
    const server = await Server.start(test, { environment: { TRIBUNE_TOKENS: `[${tokens.join(', ')}]` } });
    const present = (name) => Tool.present(test, name, server.whip(name), token(name), SMALL);
    const before = names.map(present);
    await until(20_000, 'all presenters to be there', async () => await sessions(server, 'presenter') === STREAMS);
    const viewers = names.map((name) => Tool.watch(test, name, server.whep(name)));
    await until(20_000, 'all viewers to be there', async () => await sessions(server, 'viewer') === STREAMS);
    await pause(1_000);

    for (const presenter of before) presenter.child.kill('SIGKILL');
    const after = await Promise.all(names.map(async (name, number) => {
      await pause(AWAY_MS[number % AWAY_MS.length]);
      return present(name);
    }));
    await until(10_000, 'all presenters to be back', () => after.every((presenter) => presenter.presentingAt));
    test.check('no viewer was lost meanwhile', await sessions(server, 'viewer') === STREAMS, await sessions(server, 'viewer'));
    await pause(2_000);
    const reports = await Promise.all(viewers.map((viewer) => viewer.report()));

    const kept = reports.filter((report) => report.failures === 0 && report.joins === 1 && report.leaves === 1);
    test.check(`${STREAMS} of ${STREAMS} viewers kept their session`, kept.length === STREAMS, kept.length);
    const lost = reports.map((report) => report.packets_lost).filter((count) => count > 0);
    test.check('their numbers have no hole', lost.length === 0, `${lost.length} with ${lost.join(' ')}`);
    const waits = reports.map((report, number) => {
      // The longest pause is the one in which the presenter was away.
      const [away] = report.pauses.toSorted((one, other) => other.ms - one.ms);
      return away && away.ms >= AWAY_MS[number % AWAY_MS.length] ? 1000 * away.ended - after[number].presentingAt : Infinity;
    }).toSorted((one, other) => one - other);
    const soon = waits.filter((wait) => wait <= RESUMED_MS).length;
    test.check(`pictures went on within ${RESUMED_MS} ms of the presenter's return for ${STREAMS} of ${STREAMS}`, soon === STREAMS,
      `${soon}; p50 ${waits[STREAMS >> 1].toFixed(0)} ms, at most ${waits.at(-1).toFixed(0)} ms`);
  },

  /** What a browser makes of it: the page is never touched. */
  async picture(test) {
    const server = await Server.start(test, { environment: { TRIBUNE_STREAMS_SLATE: 'hold' } });
    const clients = await Clients.start(test, await launch(test));
    const token = await server.token('talk');
    let presenter = Ffmpeg.start(test, 'ffmpeg-0', { url: server.whip('talk'), token });
    await until(15_000, 'FFmpeg to send pictures', () => presenter.framesSent > 0);
    const viewer = await clients.play('viewer', { url: server.whep('talk') });
    const decoded = async () => (await statsOf(viewer)).video?.framesDecoded ?? 0;
    await until(15_000, 'pictures', async () => await decoded() > 30);

    for (const [round, [away, size]] of [[1_000, '640x360'], [5_000, '480x270']].entries()) {
      presenter.child.kill('SIGKILL');
      await pause(away);
      const before = await decoded();
      presenter = Ffmpeg.start(test, `ffmpeg-${round + 1}`, { url: server.whip('talk'), token, size });
      await until(15_000, 'FFmpeg to send pictures again', () => presenter.framesSent > 0);
      const sent = Date.now();
      await until(10_000, 'pictures again', async () => await decoded() > before);
      // FFmpeg counts pictures ten times a second and has encoded some before it is connected.
      test.note(`away ${away / 1000} s: the first picture ${Date.now() - sent} ms after FFmpeg said that it had sent some`);
      await until(10_000, 'more pictures', async () => await decoded() > before + 30);
      const { frameWidth, freezeCount, framesDropped, keyFramesDecoded, pliCount, packetsLost } = (await statsOf(viewer)).video;
      test.check(`${size} is what the viewer sees`, `${frameWidth}` === size.split('x')[0], frameWidth);
      test.check('no packet was lost', packetsLost === 0, packetsLost);
      test.note(`${freezeCount} freezes, ${framesDropped} pictures dropped, ${keyFramesDecoded} key frames, ${pliCount} PLI`);
    }
    test.check('the viewer has kept its session', await sessions(server, 'viewer') === 1, await sessions(server, 'viewer'));

    await presenter.stop();
    const [before, began] = [await decoded(), Date.now()];
    const newcomer = await clients.play('newcomer', { url: server.whep('talk') });
    for (const [who, page, from] of [['whoever watches', viewer, before], ['a newcomer', newcomer, 0]]) {
      const pictures = async () => ((await statsOf(page)).video?.framesDecoded ?? 0) - from;
      await until(8_000, `${who} to see the slate`, async () => await pictures() >= 3);
      test.check(`${who} sees the last key frame again and again`, true, `${await pictures()} pictures in ${Date.now() - began} ms`);
    }
    await newcomer.screenshot({ path: test.file('newcomer.png') });
  },

  /** The better one of two is killed (FFmpeg, which makes no key frame when asked) or stopped for a while (on another stream). */
  async backup(test) {
    const backups = 'backups = ["main", "spare"]';
    const server = await Server.start(test, { environment: { TRIBUNE_STREAM: `{ film = { ${backups} }, talk = { ${backups} } }` } });
    const token = async (stream, as) => await server.token(stream, { as });
    const film = await Promise.all(['main', 'spare'].map(async (as) => Ffmpeg.start(test, `film-${as}`, {
      url: server.whip('film'), token: await token('film', as), key: 60,
    })));
    const talk = await Promise.all(['main', 'spare'].map(async (as) => Tool.present(test, `talk-${as}`, server.whip('talk'), await token('talk', as), [])));
    await until(20_000, 'all presenters to be there', async () => await sessions(server, 'presenter') === 4);
    // Whoever came first is on air until the better one has been steady.
    await pause(7_000);
    const viewers = ['film', 'talk'].map((name) => Tool.watch(test, `watch-${name}`, server.whep(name)));
    await until(15_000, 'viewers to be there', async () => await sessions(server, 'viewer') === 2);
    await pause(2_000);
    const aired = onAir(server);

    const began = Date.now() / 1000;
    film[0].child.kill('SIGKILL');
    talk[0].child.kill('SIGSTOP');
    await pause(4_000);
    const stoodIn = onAir(server);
    talk[0].child.kill('SIGCONT');
    await pause(3_000);
    const meanwhile = onAir(server);
    await pause(5_000);
    const reports = await Promise.all(viewers.map((viewer) => viewer.report()));

    test.check('both backups took over, once', stoodIn - aired === 2, stoodIn - aired);
    test.check('whoever comes back is not on air at once', meanwhile === stoodIn, meanwhile - stoodIn);
    test.check('but after it has been steady, once', onAir(server) - meanwhile === 1, onAir(server) - meanwhile);
    for (const [index, name] of ['killed', 'stopped'].entries()) {
      const { pauses, failures, packets_lost: lost, packets_received: received } = reports[index];
      const longest = Math.max(0, ...pauses.map(({ ms }) => ms));
      test.check(`${name}: at most ${MISSING_MS} ms without pictures`, longest > 0 && longest <= MISSING_MS, pauses.map(({ ms, ended }) => `${ms.toFixed(0)} ms until ${(ended - began).toFixed(1)} s`).join(', '));
      test.check(`${name}: the viewer has kept its session and lost nothing`, failures === 0 && lost === 0, `${lost} of ${received} lost`);
    }
  },
};

/** One run of the binary; ends with the case. */
class Tool {
  constructor(test, name, words) {
    Object.assign(this, { output: '', name });
    const log = fs.openSync(test.file(`${name}.txt`), 'a');
    this.child = spawn(BINARY, words.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.setEncoding('utf8').on('data', (text) => { this.output += text; });
    this.child.stderr.setEncoding('utf8').on('data', (text) => {
      fs.writeSync(log, text);
      if (text.includes('presenting')) this.presentingAt ??= Date.now();
    });
    this.ended = new Promise((resolve) => { this.child.once('close', resolve); this.child.once('error', resolve); });
    let over = false;
    this.ended.then(() => { over = true; fs.closeSync(log); });
    // One that was stopped would not heed anything milder.
    test.atEnd(() => { if (!over) this.child.kill('SIGKILL'); });
  }

  static present(test, name, url, token, words) {
    return new Tool(test, name, ['load', '--whip', url, '--whip-token', token, '--seconds', 600, ...words]);
  }

  static watch(test, name, url) {
    return new Tool(test, `${name}-viewer`, ['load', '--whep', url, '--seconds', 600, '--nack', '--json']);
  }

  /** Has a viewer leave, and say what it got. */
  async report() {
    this.child.kill('SIGINT');
    await this.ended;
    return JSON.parse(this.output);
  }
}

/** Sessions that are connected or about to be. */
const sessions = (server, role) => server.metric('tribune_sessions', `role="${role}"`).catch(() => 0);

/** How often a presenter went on air, of those that are not the only one. */
const onAir = (server) => fs.readFileSync(server.logFile, 'utf8').split('presenter on air').length - 1;

const STREAMS = 100;
const AWAY_MS = [1_000, 5_000, 20_000];
/** A hundred of them on one machine, each with a picture every 100 ms. */
const SMALL = ['--bitrate', 60, '--fps', 10, '--no-audio'];
/** From the first packet of the new presenter to the first picture. */
const RESUMED_MS = 1_000;
/** Without a picture when a backup takes over. */
const MISSING_MS = 500;
