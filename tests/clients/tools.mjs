// The tools of the binary itself: `publish` and `watch` against each other, a browser and FFmpeg, and their exit codes.

import { spawn } from 'node:child_process';
import fs from 'node:fs';

import { Clients, hangUp, launch, statsOf } from '../browser/browser.mjs';
import { until } from '../lib/case.mjs';
import { firstPicture } from '../lib/measure.mjs';
import { BINARY, Server } from '../lib/server.mjs';
import { Ffmpeg } from './ffmpeg.mjs';

export default async function tools(test) {
  const server = await Server.start(test);
  const token = await server.token('talk');

  await helps(test);
  await refusals(test, server, token);
  await patternToWatchAndChromium(test, server, token);
  await ffmpegToWatch(test, server);
  await load(test, server, token);
}

/** Each tool tells what it takes and how it ends. */
async function helps(test) {
  for (const tool of ['load', 'publish', 'watch']) {
    const { code, output } = await new Tool(test, 'help', [tool, '--help']).ended;
    test.check(`${tool} --help tells its options and exit codes`, code === 0 && /--seconds/.test(output) && /Exit codes: 0 /.test(output), code);
  }
}

/** What cannot work says so, by words and exit code. */
async function refusals(test, server, token) {
  const cases = [
    ['a wrong token', ['publish', '--whip', server.whip('talk'), '--token', 'wrong'], 1, /401/],
    ['nobody there', ['publish', '--whip', 'http://127.0.0.1:1/whip/talk'], 1, /refused/],
    ['a page', ['publish', '--whip', `${server.url}/watch/talk`, '--token', token], 1, /not a WHIP/],
    ['no URL', ['publish', '--whip', 'talk'], 64, /wanted http/],
    ['no file', ['publish', '--whip', server.whip('talk'), '--video', '/nowhere.ivf'], 74, /nowhere\.ivf/],
    ['nobody presents', ['watch', '--whep', server.whep('talk'), '--once'], 1, /409/],
    ['no load', ['load', '--whep', server.whep('talk').replace('/whep/', '/nowhere/'), '--viewers', 2, '--seconds', 3], 1, /\d s  0 viewers  0 joined/],
    ['nothing to load', ['load'], 64, /--whep/],
  ];
  const runs = await Promise.all(cases.map(([, words]) => new Tool(test, 'refused', words).ended));
  cases.forEach(([what, , code, words], index) => {
    const ended = runs[index];
    test.check(`${what}: exit code ${code}`, ended.code === code && words.test(ended.error), `${ended.code}, ${ended.error.trim().split('\n')[0]}`);
  });
}

/** The test pattern in three layers, seen by `watch` and by Chromium; Ctrl-C ends both politely. */
async function patternToWatchAndChromium(test, server, token) {
  const publish = new Tool(test, 'publish', ['publish', '--whip', server.whip('talk'), '--token', token, '--simulcast', 3]);
  await until(15_000, 'the presenter to connect', () => /connected/.test(publish.error));
  const watch = new Tool(test, 'watch', ['watch', '--whep', server.whep('talk'), '--format', 'json', '--once']);
  const clients = await Clients.start(test, await launch(test));
  const since = Date.now();
  const viewer = await clients.play('viewer', { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(viewer), since);
  await until(15_000, 'a hundred decoded pictures', async () => (await statsOf(viewer)).video.framesDecoded > 100);
  await viewer.screenshot({ path: test.file('viewer.png') });
  await hangUp(test, 'viewer', viewer);

  const seen = await watch.interrupt();
  const report = JSON.parse(seen.output.trim().split('\n').at(-1));
  test.check('watch ends well at Ctrl-C', seen.code === 0 && report.good, `exit code ${seen.code}`);
  test.check('watch shows its progress', seen.output.trim().split('\n').length > 3, `${seen.output.trim().split('\n').length} lines`);
  test.check('watch saw VP8 and its size', report.video.codec === 'VP8' && report.video.width > 0, JSON.stringify(report.video));
  test.check('watch lost nothing', report.video.packets_lost === 0 && report.audio.packets_lost === 0);
  const presented = await publish.interrupt();
  const shown = presented.error.trim().split('\n').length;
  test.check('publish shows its progress', shown > 3, `${shown} lines`);
  test.check('publish ends well at Ctrl-C', presented.code === 0, presented.error.trim().split('\n').at(-1));
  await until(5_000, 'the sessions to be gone', async () => await server.metric('tribune_sessions') === 0);
}

/** H.264 of FFmpeg, counted and kept. */
async function ffmpegToWatch(test, server) {
  const presenter = Ffmpeg.start(test, 'ffmpeg', { url: server.whip('film'), token: await server.token('film') });
  await until(15_000, 'FFmpeg to send pictures', () => presenter.framesSent > 0);
  const [video, audio] = [test.file('film.h264'), test.file('film.ogg')];
  const words = ['watch', '--whep', server.whep('film'), '--format', 'json', '--seconds', 5, '--write', video, '--write', audio];
  const [enough, tooFew] = await Promise.all([
    new Tool(test, 'watch-film', [...words, '--expect-frames', 60]).ended,
    new Tool(test, 'watch-more', ['watch', '--whep', server.whep('film'), '--seconds', 2, '--expect-frames', 10_000]).ended,
  ]);
  const report = JSON.parse(enough.output.trim().split('\n').at(-1));
  test.check('watch saw the H264 of FFmpeg', enough.code === 0 && report.video.codec === 'H264', JSON.stringify(report.video));
  test.check('too few pictures are a failure', tooFew.code === 1, tooFew.code);
  test.check('the video was kept', fs.statSync(video).size > 50_000, fs.statSync(video).size);
  test.check('the audio was kept', fs.statSync(audio).size > 5_000, fs.statSync(audio).size);
  await presenter.stop();

  // What was kept can be presented again.
  const again = new Tool(test, 'publish-film', ['publish', '--whip', server.whip('film'), '--token', await server.token('film'),
    '--video', video, '--audio', audio, '--seconds', 6]);
  await until(15_000, 'the presenter to connect', () => /connected/.test(again.error));
  const seen = await new Tool(test, 'watch-again', ['watch', '--whep', server.whep('film'), '--seconds', 3, '--expect-frames', 30]).ended;
  test.check('the kept files can be presented', seen.code === 0, seen.output.trim().split('\n').slice(-6).join(' | '));
  await again.interrupt();
}

/** The presenter of `load`, whose packets tell how long they were on their way. */
async function load(test, server, token) {
  const ended = await new Tool(test, 'load', ['load', '--whip', server.whip('talk'), '--whip-token', token, '--whep', server.whep('talk'),
    '--viewers', 20, '--sample', '1/10', '--seconds', 5, '--json']).ended;
  const counted = JSON.parse(ended.output);
  const progress = /^ +\d s  20 viewers  20 joined .* packets\/s/m;
  test.check('load shows its progress', progress.test(ended.error), ended.error.trim().split('\n').at(-1));
  test.check('load presents and watches', ended.code === 0 && counted.viewers_connected === 20, `exit code ${ended.code}`);
  test.check('two of twenty viewers read', counted.viewers_sampled === 2, counted.viewers_sampled);
  test.check('their packets tell their delay', counted.delay_ms.delta?.p50 < 1_000, JSON.stringify(counted.delay_ms.delta));
}

/** One run of the binary; ends with the case. */
class Tool {
  constructor(test, name, words) {
    Object.assign(this, { output: '', error: '' });
    this.child = spawn(BINARY, words.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
    const log = fs.createWriteStream(test.file(`${name}.log`), { flags: 'a' });
    for (const [stream, key] of [[this.child.stdout, 'output'], [this.child.stderr, 'error']]) {
      stream.setEncoding('utf8').on('data', (text) => { this[key] += text; log.write(text); });
    }
    this.ended = new Promise((resolve) => {
      const end = (code) => resolve({ code, output: this.output, error: this.error });
      this.child.once('error', () => end(undefined));
      this.child.once('close', end);
    });
    let over = false;
    this.ended.then(() => { over = true; });
    test.atEnd(() => { if (!over) this.child.kill('SIGKILL'); });
  }

  /** Ctrl-C. */
  interrupt() {
    this.child.kill('SIGINT');
    return this.ended;
  }
}
