// The address that media uses goes away: an ICE restart by PATCH has taken it to another one, and playback goes on. First
// with the npm library whip-whep, which also trickles, then with our own pages. Both ends roam at once.

import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { pause, until } from '../lib/case.mjs';
import { firstPicture, SETTLE_MS } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { launch, openPage, statsOf } from './browser.mjs';
import { serveSite } from './site.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

export default async function roaming(test) {
  // Media must not share an address with the clients: theirs come and go.
  ip('address', 'add', `${SERVER}/32`, 'dev', 'lo');
  const server = await Server.start(test, { media: SERVER });
  const browser = await launch(test, 'chromium', { loopback: false });
  disappear(GOOD);
  await library(test, server, browser);
  appear(POOR);
  disappear(GOOD);
  await pause(NOTICED_MS);
  await ownPages(test, server, browser);
}

async function library(test, server, browser) {
  const bundle = test.file('bundle.js');
  await build({ entryPoints: [path.join(HERE, 'whip-whep.page.js')], bundle: true, format: 'esm', outfile: bundle, logLevel: 'error' });
  const origin = await serveSite(test, { '/': path.join(HERE, 'whip-whep.html'), '/bundle.js': bundle });
  const open = async (name) => {
    const page = await permitted(test, browser, origin, name);
    await page.waitForFunction(() => window.ready);
    return page;
  };
  const presenter = await open('library-presenter');
  const viewer = await open('library-viewer');
  const patched = [presenter, viewer].map(patches);

  await presenter.evaluate((given) => window.library.publish(given), { url: server.whip('talk'), token: await server.token('talk') });
  await until(15_000, 'the presenter to connect', async () => (await statsOf(presenter)).connection === 'connected');
  const since = Date.now();
  await viewer.evaluate((given) => window.library.watch(given), { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(viewer), since);
  for (const [name, statuses] of [['presenter', patched[0]], ['viewer', patched[1]]]) {
    // The first picture may be there before the first candidate's answer.
    await until(5_000, `the ${name}'s candidates to be answered`, () => statuses.length > 0);
    test.check(`the library's ${name} trickled and got 204`, statuses.every((status) => status === 204), statuses);
  }

  await roam(test, 'the library', { presenter, viewer, patched }, (page) => page.evaluate(() => window.library.restart()));
  for (const page of [viewer, presenter]) await page.evaluate(() => window.library.stop());
}

async function ownPages(test, server, browser) {
  const presenter = await permitted(test, browser, `${server.url}/publish/show#${await server.token('show')}`, 'presenter');
  await presenter.select('#quality', '360p30');
  await presenter.click('#go');
  await until(15_000, 'the presenter to be live', async () => await state(presenter) === 'live');
  const since = Date.now();
  const viewer = await permitted(test, browser, `${server.url}/watch/show`, 'viewer');
  await firstPicture(test, () => statsOf(viewer), since);
  const patched = [presenter, viewer].map(patches);
  const before = await viewer.evaluate(() => window.probe.made());

  await roam(test, 'our pages', { presenter, viewer, patched }, (page) => page.evaluate(() => dispatchEvent(new Event('online'))));
  const after = await viewer.evaluate(() => window.probe.made());
  test.check('our page kept its connection', after === before, `${after} made`);
}

/**
 * A better network appears beside the one in use, both ends restart, and the old one goes: measures how long the picture
 * stood still through all that.
 */
async function roam(test, who, { presenter, viewer, patched }, restart) {
  const pages = [presenter, viewer];
  const places = () => Promise.all(pages.map(async (page) => (await statsOf(page)).from));
  await pause(SETTLE_MS);
  patched.forEach((statuses) => { statuses.length = 0; });
  test.check(`${who}: media goes by the only address`, (await places()).every((from) => from === POOR), await places());
  const before = await statsOf(viewer);
  await viewer.evaluate(() => window.probe.watchGaps());

  appear(GOOD);
  await pause(NOTICED_MS);
  await Promise.all(pages.map(restart));
  await until(10_000, 'media to go by the other address', async () => (await places()).every((from) => from === GOOD));
  disappear(POOR);
  await pause(ROAMING_MS);

  const [gap, seen] = [await viewer.evaluate(() => window.probe.longestGap()), await statsOf(viewer)];
  test.check(`${who}: both restarts got 200`, patched.every((statuses) => statuses.includes(200)), JSON.stringify(patched));
  test.check(`${who}: media stays on the other address`, (await places()).every((from) => from === GOOD), await places());
  const frames = seen.video.framesDecoded - before.video.framesDecoded;
  test.check(`${who}: the picture goes on`, frames > 5 * (ROAMING_MS + NOTICED_MS) / 1000, `${frames} frames`);
  test.check(`${who}: it stood still for less than a second`, gap < 1000, `${gap} ms`);
}

/** A page that may use the camera: only then Chromium tells the page's connections all addresses. */
async function permitted(test, browser, url, name) {
  const page = await openPage(test, browser, 'about:blank', name);
  await page.browserContext().overridePermissions(new URL(url).origin, ['camera', 'microphone']);
  await page.goto(url);
  return page;
}

/** The statuses of a page's PATCHes from now on. */
function patches(page) {
  const statuses = [];
  page.on('response', (answer) => { if (answer.request().method() === 'PATCH') statuses.push(answer.status()); });
  return statuses;
}

/** What the page says of itself. */
const state = (page) => page.evaluate(() => document.querySelector('#state')?.dataset.state);

const ip = (...words) => execFileSync('ip', words);

/** One of the namespace's two addresses (netns.sh) comes or goes. */
const appear = (address) => ip('address', 'add', `${address}/24`, 'dev', DEVICES[address]);
const disappear = (address) => ip('address', 'del', `${address}/24`, 'dev', DEVICES[address]);

const SERVER = '10.99.0.1';
/** When both are there Chromium prefers the first. */
const [GOOD, POOR] = [process.env.TRIBUNE_TEST_ADDRESS, process.env.TRIBUNE_TEST_SECOND_ADDRESS];
const DEVICES = { [GOOD]: 'v0', [POOR]: 'v1' };
/** Chromium tells its pages of a new address after two seconds. */
const NOTICED_MS = 3_000;
const ROAMING_MS = 5_000;
