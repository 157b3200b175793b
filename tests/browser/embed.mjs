// The player in somebody else's page, and the watch page: what they show, weigh and ask for.

import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { pause, until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { checkAccess, watchManners } from './axe.mjs';
import { launch, openPage, statsOf } from './browser.mjs';
import { stateOf, textOf, visible } from './pages.mjs';
import { serveSite } from './site.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

export default async function embed(test) {
  const server = await Server.start(test);
  const browser = await launch(test);
  const site = await serveSite(test, {
    '/': path.join(HERE, 'embed.html'),
    '/embed.page.js': path.join(HERE, 'embed.page.js'),
  });

  const viewer = await openPage(test, browser, 'about:blank', 'viewer');
  const manners = watchManners(test, viewer, server.url);
  await viewer.evaluateOnNewDocument(silentUntilTouched);
  await viewer.goto(`${server.url}/watch/talk`);
  await until(5_000, '“starts soon”', async () => await textOf(viewer, '#headline') === 'Starts soon');
  test.check('before the presenter it says that it starts soon', true);
  await checkAccess(test, viewer, 'watch, before');

  const presenter = await present(test, server, browser);
  await until(20_000, 'the viewer to be live', async () => await stateOf(viewer) === 'live');
  test.check('it comes to life by itself', true);
  await watchPage(test, viewer);
  const [script, all] = [await manners.weight('.js'), await manners.weight()];
  test.check('its scripts weigh less than 30 KB, with statistics', script < 30 * 1024, `${script} bytes`);
  test.check('it weighs less than 60 KB in all', all < 60 * 1024, `${all} bytes`);
  await sizes(test, viewer);
  await viewer.goto(server.url);
  await until(5_000, 'the stream in the list', async () => /talk/.test(await textOf(viewer, '#streams')));
  manners.check('the watch page, and then the front page,');
  await checkAccess(test, viewer, 'the front page');
  await viewer.close();

  await foreignPage(test, server, browser, site);
  await cannotPlay(test, server, browser, presenter);
  await presenter.click('#stop');
  await nowhereElse(test, browser, site);
}

/** As browsers do it; for them every word of a test to the page is a gesture already. Runs in the page. */
function silentUntilTouched() {
  const { play } = HTMLMediaElement.prototype;
  let touched = false;
  addEventListener('pointerdown', () => { touched = true; }, { capture: true });
  HTMLMediaElement.prototype.play = function playAsAllowed() {
    if (this.muted || touched) return play.call(this);
    return Promise.reject(new DOMException('no gesture', 'NotAllowedError'));
  };
}

/** Goes live with three sizes. */
async function present(test, server, browser) {
  const page = await openPage(test, browser, `${server.url}/publish/talk#${await server.token('talk')}`, 'presenter');
  await page.select('#quality', '480p30');
  await page.evaluate(() => { document.querySelector('details').open = true; });
  await page.click('#layers');
  await page.click('#go');
  await until(15_000, 'the presenter to be live', async () => await stateOf(page) === 'live');
  return page;
}

/** Sound, controls, statistics. */
async function watchPage(test, viewer) {
  test.check('without a gesture it plays silently and offers sound', await visible(viewer, '#unmute')
    && await viewer.$eval('video', ({ muted, paused }) => muted && !paused));
  await viewer.screenshot({ path: test.file('watch.png') });
  await viewer.click('#unmute');
  test.check('one tap gives the sound', await viewer.$eval('video', ({ muted, paused }) => !muted && !paused)
    && !await visible(viewer, '#unmute'));
  await viewer.keyboard.press('s');
  await until(5_000, 'the statistics', async () => /\d+ × \d+/.test(await textOf(viewer, '#stats')));
  const numbers = () => viewer.$eval('#stats dl', ({ children }) => Object.fromEntries([...children]
    .filter(({ tagName }) => tagName === 'DD').map((field) => [field.previousSibling.textContent, field.textContent])));
  await until(10_000, 'the delay', async () => /^\d+ ms$/.test((await numbers())['Behind the server']));
  await until(10_000, 'every number', async () => !Object.values(await numbers()).includes('–'));
  test.check('the key s shows statistics, with the delay', true, JSON.stringify(await numbers()));
  await checkAccess(test, viewer, 'watch, live');
  await viewer.screenshot({ path: test.file('watch-stats.png') });
  await record(test, viewer);
  await viewer.keyboard.press('s');
  await pictureInPicture(test, viewer);
  await until(5_000, 'the controls to go', () => viewer.$eval('#stage', ({ dataset }) => dataset.chrome === 'hidden'));
  const seen = () => viewer.$eval('#bar', (bar) => Number(getComputedStyle(bar).opacity));
  await until(2_000, 'the controls to fade', async () => await seen() === 0);
  test.check('then there is nothing but the picture', true);
  await viewer.mouse.move(200, 200);
  await until(2_000, 'the controls to come', async () => await seen() === 1);
  test.check('the mouse brings the controls', true);
}

/** What the server noted of this very session, for whoever watches. */
async function record(test, viewer) {
  await until(5_000, 'the link to the record', () => visible(viewer, '#record'));
  const [noted, password] = await viewer.$eval('#record', async ({ href }) => [
    JSON.stringify(await (await fetch(href)).json()),
    /a=ice-pwd:(.+)/.exec(window.probe.peers().at(-1).localDescription.sdp)[1].trim(),
  ]);
  test.check('the session’s own record can be downloaded', noted.includes('first_packet'), `${noted.length} bytes`);
  test.check('without its password', password.length > 20 && !noted.includes(password));
}

/** Full screen and picture in picture, by key and by button. */
async function pictureInPicture(test, viewer) {
  const element = (which) => viewer.evaluate((name) => document[name]?.id, which);
  await viewer.keyboard.press('f');
  await until(5_000, 'full screen', async () => await element('fullscreenElement') === 'stage');
  await viewer.click('#fullscreen');
  await until(5_000, 'its end', async () => await element('fullscreenElement') === undefined);
  await viewer.keyboard.press('p');
  await until(5_000, 'picture in picture', async () => await element('pictureInPictureElement') === 'v');
  await viewer.click('#pip');
  await until(5_000, 'its end', async () => await element('pictureInPictureElement') === undefined);
  test.check('full screen and picture in picture come and go', true);
}

/** Two browsers without the presenter's codec: one hears the sound, for the other there is nothing. Then they know it. */
async function cannotPlay(test, server, browser, presenter) {
  const open = async (name) => {
    const page = await openPage(test, browser, 'about:blank', name);
    await page.evaluateOnNewDocument(knowOnly, 'video/VP9');
    await page.goto(`${server.url}/watch/talk`);
    return page;
  };
  const hears = await open('hears');
  await until(10_000, 'the viewer without the codec to be told', async () => await visible(hears, '#headline')
    && await textOf(hears, '#headline') === 'Sound only');
  const said = await textOf(hears, '#state');
  test.check('with sound only it says that this browser cannot play the picture', /Sound only.*cannot play the picture.*codec/s.test(said), said);
  await presenter.select('#microphone', 'none');
  const silent = await open('silent');
  await until(15_000, 'the viewer without codec and sound to be told', async () => await stateOf(silent) === 'error');
  const told = await textOf(silent, '#state');
  test.check('without sound it says that this browser cannot play the stream', /cannot play the stream.*codec/s.test(told), told);
  await presenter.click('#stop');
  await until(10_000, 'the end', async () => await stateOf(hears) === 'waiting');
  await presenter.click('#layers');
  await presenter.select('#codec', 'video/VP9');
  await presenter.click('#go');
  const plays = async (page) => await stateOf(page) === 'live' && (await statsOf(page)).video?.framesDecoded > 0;
  await until(20_000, 'the picture where there was sound', () => plays(hears));
  await until(30_000, 'the picture where there was nothing', () => plays(silent));
  test.check('when the presenter sends what they know they play it by themselves', true);
}

/** The browser knows one video codec. Runs in the page. */
function knowOnly(codec) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function addOnly(kind, options) {
    const added = addTransceiver.call(this, kind, options);
    const { codecs } = RTCRtpReceiver.getCapabilities('video');
    if (kind === 'video') added.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === codec));
    return added;
  };
}

/** The menu of sizes. */
async function sizes(test, viewer) {
  const names = () => viewer.$$eval('#quality option', (options) => options.map(({ label }) => label));
  await until(20_000, 'the menu of sizes', async () => {
    await viewer.mouse.move(200 + Math.random() * 50, 200);
    if ((await names()).length > 2) return true;
    await pause(3_000); // it looks again when the controls come up the next time
    return false;
  });
  test.check('it offers the sizes that there are', true, (await names()).join(', '));
  const low = await viewer.$eval('#quality', ({ options }) => options[options.length - 1].value);
  await viewer.select('#quality', low);
  const { maxHeight } = JSON.parse(low);
  await until(10_000, 'the small picture', async () => (await statsOf(viewer)).video.frameHeight === maxHeight);
  test.check('the chosen size is shown', true, `${maxHeight} lines`);
  await viewer.select('#quality', '');
  await until(20_000, 'a larger one', async () => (await statsOf(viewer)).video.frameHeight > maxHeight);
  test.check('without a choice the server gives more again', true);
}

/** `<tribune-player>` on another origin. */
async function foreignPage(test, server, browser, site) {
  const page = await openPage(test, browser, `${site}/#${encodeURIComponent(server.url)}`, 'foreign');
  const manners = watchManners(test, page, server.url, site);
  const frame = await until(10_000, 'the player’s frame', () => page.frames().find((each) => each.url().includes('/embed/talk')));
  await until(15_000, 'the foreign page to hear that it is live', () => page.evaluate(() => window.states.includes('live')));
  test.check('the page around the player hears what goes on', true, (await page.evaluate(() => window.states)).join(', '));
  const frames = await frame.$eval('video', (video) => video.getVideoPlaybackQuality().totalVideoFrames);
  await until(5_000, 'pictures in it', async () => await frame.$eval('video', (video) => video.getVideoPlaybackQuality().totalVideoFrames) > frames);
  test.check('its picture moves', true);
  const { width, height } = await page.$eval('tribune-player', (player) => player.getBoundingClientRect().toJSON());
  test.check('it is 16:9 by itself', Math.abs(width / height - 16 / 9) < 0.01, `${width} × ${height}`);
  test.check('it leads to the whole page', await frame.$eval('#title', ({ href }) => href) === `${server.url}/watch/talk`);
  await page.screenshot({ path: test.file('embed.png') });
  manners.check('the player');

  await page.evaluate(() => { document.querySelector('tribune-player').setAttribute('src', 'javascript:alert(1)'); });
  test.check('what is no web address is not framed', await page.$eval('tribune-player', (player) => player.isConnected)
    && !page.frames().some((each) => each.url().startsWith('javascript:')));
  const refused = await framed(page, `${server.url}/watch/talk`);
  test.check('the watch page cannot be framed', refused, `${refused}`);
}

/** A server that lets only another origin frame its player. */
async function nowhereElse(test, browser, site) {
  const server = await Server.start(test, { environment: { TRIBUNE_HTTP_FRAME_ANCESTORS: 'https://example.org' } });
  const page = await openPage(test, browser, site, 'elsewhere');
  test.check('frame_ancestors keeps others out', await framed(page, `${server.url}/embed/talk`));
}

/** Is a frame with this address refused? The browser shows a page of its own then. */
async function framed(page, url) {
  await page.evaluate((src) => {
    const frame = Object.assign(document.createElement('iframe'), { src, name: 'tried' });
    return new Promise((done) => { frame.onload = done; document.body.append(frame); });
  }, url);
  return page.frames().some((each) => each.url().startsWith('chrome-error://'));
}
