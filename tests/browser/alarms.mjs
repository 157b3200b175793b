// What is wrong with a broadcast is seen by whoever runs the show, while it is wrong: an encoder with bad settings, a
// microphone and a camera that are off. And the page to run the show by outlives the server.

import { until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { Ffmpeg } from '../clients/ffmpeg.mjs';
import { launch, openPage } from './browser.mjs';
import { stateOf, visible } from './pages.mjs';

export default async function alarms(test) {
  const server = await Server.start(test, { environment: { TRIBUNE_STREAMS_GRACE: '3s' } });
  const browser = await launch(test);
  const admin = await server.token();
  const page = await openPage(test, browser, `${server.url}/admin#${admin}`, 'admin');
  await until(10_000, 'the page to be live', () => isLive(page));
  await page.evaluate(() => { window.stillHere = true; });

  const encoder = Ffmpeg.start(test, 'bad', { url: server.whip('bad'), token: await server.token('bad'), size: '320x180', bitrate: '400k',
    key: 300, silent: true, shuffled: true });
  const presenter = await openPage(test, browser, `${server.url}/publish/talk#${await server.token('talk')}`, 'presenter');
  await presenter.select('#quality', '360p30');
  await press(presenter, '#go');
  await until(20_000, 'the presenter to be live', async () => await stateOf(presenter) === 'live');
  await until(20_000, 'both streams to be shown', async () => (await page.$$('.stream')).length === 2);
  await until(10_000, 'sound', async () => /dB/.test(await figure(page, 'talk', 'Sound')));
  test.check('nothing is wrong with a browser that sends picture and sound', (await shown(page, 'talk')).length === 0,
    (await shown(page, 'talk')).join('; ') || undefined);

  const since = Date.now();
  await press(presenter, '#mute', '#hide');
  const after = (words) => `after ${((Date.now() - since) / 1000).toFixed(1)} s: ${words}`;
  for (const [stream, kind, words, seconds] of [['talk', 'silence', /nothing can be heard/, 15], ['bad', 'silence', /nothing can be heard/, 15],
    ['bad', 'b_frames', /B-frames/, 15], ['talk', /^(frozen|no_video)$/, /does not change|no video/, 30],
    ['bad', 'key_frame_interval', /key frames are \d+ s apart/, 20]]) {
    await until(seconds * 1000, `${kind} on ${stream}`, async () => (await shown(page, stream)).some((each) => words.test(each)));
    const told = (await api(server, admin, `streams/${stream}`)).alarms;
    test.check(`${stream}: the page shows ${kind}, and so does the API`, told.some((alarm) => new RegExp(kind).test(alarm.kind)),
      after((await shown(page, stream)).join('; ')));
  }
  await page.screenshot({ path: test.file('alarms.png'), fullPage: true });

  await press(presenter, '#mute', '#hide');
  await encoder.stop();
  await until(20_000, 'all to be well again', async () => (await shown(page, 'talk')).length + (await shown(page, 'bad')).length === 0);
  test.check('what is over is shown no more', true);
  const log = await page.$$eval('#log > div', (lines) => lines.map(({ textContent }) => textContent));
  for (const words of [/bad: nothing can be heard/, /bad: Silence: over/, /talk: Silence: over/, /bad: B-frames: over/]) {
    test.check(`the log tells ${words.source}`, log.some((line) => words.test(line)));
  }
  await reported(test, server, admin, page);
  await restarted(test, server, page);
}

/** The report of the encoder's broadcast has its alarms, each with its end. */
async function reported(test, server, admin, page) {
  await until(15_000, 'the report', () => page.$$eval('#reports tbody tr', (rows) => rows.some((row) => /bad/.test(row.textContent))));
  const { reports } = await api(server, admin, 'reports?stream=bad');
  const report = await api(server, admin, `reports/${reports[0].id}`);
  const kinds = new Set(report.alarms.map(({ kind }) => kind));
  test.check('the report knows what was wrong', ['silence', 'b_frames', 'key_frame_interval'].every((kind) => kinds.has(kind)), [...kinds].join(' '));
  test.check('and until when', report.alarms.every(({ from, to }) => to && Date.parse(to) >= Date.parse(from)));
}

/** The server is restarted: the page is live again, and it is the same page. */
async function restarted(test, server, page) {
  await server.end('SIGTERM');
  await until(10_000, 'the page to notice', async () => !await isLive(page));
  test.check('it says that the server does not answer', await visible(page, '#connection'), await page.$eval('#connection', (it) => it.textContent));
  await server.run();
  const since = Date.now();
  await until(20_000, 'the page to be live again', () => isLive(page));
  test.check('after a restart of the server the page is live again by itself', await page.evaluate(() => window.stillHere === true),
    `${Date.now() - since} ms after it was ready`);
  await until(10_000, 'the message to go', () => page.$eval('#message', (it) => it.hidden));
}

/** Without a mouse: on a busy machine a page that sends a picture takes its time to draw itself. */
const press = (page, ...buttons) => page.evaluate((all) => all.forEach((each) => document.querySelector(each).click()), buttons);
const isLive = (page) => page.$eval('#connection', (it) => it.dataset.state === 'live');
const shown = (page, stream) => page.$$eval(`.stream[data-stream="${stream}"] .alarms li`, (list) => list.map(({ textContent }) => textContent));
const figure = (page, stream, name) => page.$$eval(`.stream[data-stream="${stream}"] .figures div`, (rows, wanted) => rows
  .find((row) => row.children[0].textContent === wanted)?.children[1].textContent ?? '', name);

async function api(server, token, path) {
  const answer = await fetch(`${server.url}/api/v1/${path}`, { headers: { authorization: `Bearer ${token}` } });
  return answer.json();
}
