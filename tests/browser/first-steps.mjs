// What a person does who has just built the server, by what it prints and nothing else: present in a browser beside it,
// and join with a telephone, which is another machine in the same network.

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import jsQR from 'jsqr';

import { until } from '../lib/case.mjs';
import { BINARY } from '../lib/server.mjs';
import { launch, openPage, statsOf } from './browser.mjs';
import { stateOf, textOf } from './pages.mjs';

export default async function firstSteps(test) {
  const phone = await secondMachine(test);
  const began = Date.now();
  const passed = () => `${((Date.now() - began) / 1000).toFixed(1)} s`;
  const printed = await start(test);
  const link = (name) => new RegExp(`${name} +(http\\S+)`).exec(printed)?.[1] ?? '';
  test.note(`the server has printed its links after ${passed()}`);
  test.check('the presenter’s link is one that gets a camera', /^http:\/\/localhost:8080\/publish\/live#/.test(link('Present by browser')));
  test.check('the viewers’ link is good elsewhere', link('Watch') === 'http://10.88.0.1:8080/watch/live', link('Watch'));
  test.check('the code on the terminal is that link', decode(printed) === link('Watch'), decode(printed));

  // As they are: no permission to send from 127.0.0.1, no sound without a click.
  const manners = { loopback: false, flags: ['--autoplay-policy=document-user-activation-required'] };
  const desk = await launch(test, 'chromium', manners);
  const presenter = await openPage(test, desk, link('Present by browser'), 'presenter');
  await presenter.select('#quality', '360p30'); // a busy machine without a graphics card encodes it
  await presenter.$eval('#go', (it) => it.click());
  await until(20_000, 'the presenter to be live', async () => await stateOf(presenter) === 'live');
  test.note(`live after ${passed()}`);
  test.check('the presenter is told the link that is good elsewhere', await textOf(presenter, '#watch-link') === link('Watch'));
  const shown = await presenter.evaluate(async () => {
    const image = document.querySelector('#qr');
    await image.decode();
    const canvas = Object.assign(document.createElement('canvas'), { width: 400, height: 400 });
    canvas.getContext('2d').drawImage(image, 0, 0, 400, 400);
    return [...canvas.getContext('2d').getImageData(0, 0, 400, 400).data];
  });
  test.check('and shown its code', jsQR(Uint8ClampedArray.from(shown), 400, 400)?.data === link('Watch'));

  const other = await launch(test, 'chromium', { ...manners, executable: phone });
  const viewer = await openPage(test, other, decode(printed), 'phone');
  await viewer.setViewport({ width: 390, height: 844, isMobile: true, hasTouch: true });
  await until(20_000, 'the picture', async () => (await statsOf(viewer)).video?.framesDecoded > 5);
  await until(5_000, 'the telephone to show it', async () => await stateOf(viewer) === 'live');
  test.check('the telephone shows the picture', true, passed());
  test.check('all of it takes no two minutes', Date.now() - began < 120_000, passed());
  await until(10_000, 'the presenter to see one viewer', async () => await textOf(presenter, '#viewers') === '1');
  test.check('it comes from another address', (await statsOf(viewer)).from === '10.88.0.2', (await statsOf(viewer)).from);
}

/** Starts the server as people do, in a terminal, without a word; gives what it prints. */
async function start(test) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tribune-test-'));
  test.atEnd(() => fs.rmSync(home, { recursive: true, force: true }));
  const child = spawn('script', ['-qec', BINARY, '/dev/null'], { cwd: home, env: { PATH: process.env.PATH, HOME: home, TERM: 'xterm' } });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { printed += text; });
  test.atEnd(() => fs.writeFileSync(test.file('terminal.log'), printed));
  test.atEnd(() => child.kill());
  await until(10_000, 'the links', () => /Watch on a telephone[^]*\x1b\[0m[^]*serving/.test(printed));
  return printed.replaceAll('\r', '');
}

/** Reads the QR code in what a terminal shows; `undefined` without one. */
function decode(printed) {
  const lines = printed.split('\n').map((line) => /\x1b\[30;107m(.*)\x1b\[0m/.exec(line)?.[1]).filter(Boolean).map((line) => [...line]);
  const [width, height, scale] = [lines[0]?.length ?? 0, lines.length * 2, 4];
  const pixels = new Uint8ClampedArray(width * height * scale * scale * 4).fill(255);
  for (let y = 0; y < height * scale; y += 1) {
    for (let x = 0; x < width * scale; x += 1) {
      const row = Math.floor(y / scale);
      const block = lines[row >> 1][Math.floor(x / scale)];
      if ((row % 2 ? '▄█' : '▀█').includes(block)) pixels.fill(0, (y * width * scale + x) * 4, (y * width * scale + x) * 4 + 3);
    }
  }
  return width ? jsQR(pixels, width * scale, height * scale)?.data : undefined;
}

/** Makes the other end of the wire another machine's; gives what starts a browser there. */
async function secondMachine(test) {
  const there = spawn('unshare', ['--net', 'sleep', '600']);
  test.atEnd(() => there.kill());
  const inside = ['-t', `${there.pid}`, '--net', 'ip'];
  await until(2_000, 'another network', () => fs.readlinkSync(`/proc/${there.pid}/ns/net`) !== fs.readlinkSync('/proc/self/ns/net'));
  execFileSync('ip', ['link', 'set', 'v1', 'netns', `${there.pid}`]);
  for (const words of ['link set lo up', 'address add 10.88.0.2/24 dev v1', 'link set v1 up']) execFileSync('nsenter', [...inside, ...words.split(' ')]);
  const file = test.file('phone.sh');
  fs.writeFileSync(file, `#!/bin/sh\nexec nsenter -t ${there.pid} --net ${process.env.CHROMIUM ?? '/usr/bin/chromium'} "$@"\n`, { mode: 0o755 });
  return file;
}
