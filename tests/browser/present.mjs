// The presenter's page: trying out, going live, changing devices while people watch.

import fs from 'node:fs';

import { pause, until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { checkAccess, watchManners } from './axe.mjs';
import { inFirefoxItself, launch, openPage, statsOf } from './browser.mjs';
import { stateOf, textOf, visible } from './pages.mjs';

export default async function present(test, { browser: kind = 'chromium' } = {}) {
  if (kind === 'firefox') {
    await inFirefox(test);
    return;
  }
  const server = await Server.start(test);
  const flags = ['--use-fake-device-for-media-stream=device-count=4', '--auto-select-tab-capture-source-by-title=Present talk',
    `--use-file-for-fake-audio-capture=${speech(test)}`];
  const browser = await launch(test, 'chromium', { flags });
  const page = await openPage(test, browser, `${server.url}/publish/talk#${await server.token('talk')}`, 'presenter');
  const manners = watchManners(test, page, server.url);
  let posts = 0;
  page.on('request', (request) => { posts += Number(/\/(whip|session)\//.test(request.url()) && request.method() !== 'GET'); });

  await page.select('#quality', '360p30'); // what a busy machine without a graphics card can encode and decode
  await tryOut(test, page);
  await checkAccess(test, page, 'present, before');
  await anotherMicrophone(test, page);
  await byKeyboard(test, page, 'go');
  await until(15_000, 'the presenter to be live', async () => await stateOf(page) === 'live');
  await checkAccess(test, page, 'present, live');
  await inMusic(test, page);
  await whileLive(test, server, browser, page);
  test.check('one session served for all of it', posts === 1, `${posts} requests other than GET`);
  await page.screenshot({ path: test.file('present-live.png') });
  await unplug(test, page);
  await page.click('#stop');
  await until(5_000, 'the page to say it is not live', async () => await stateOf(page) === 'idle');
  manners.check('the page');
}

/** Firefox has one made-up camera and microphone; without a device to play sound on it measures none. */
async function inFirefox(test) {
  const server = await Server.start(test);
  const browser = await launch(test, 'firefox', { flags: ['--remote-allow-system-access'], preferences: FIREFOX_MAY });
  const page = await openPage(test, browser, `${server.url}/publish/talk#${await server.token('talk')}`, 'presenter');
  await page.select('#quality', '360p30');
  await page.click('#allow').catch(() => {}); // it may remember that it was allowed
  await until(15_000, 'the picture', async () => /Default Video/.test(await textOf(page, '#check-picture')));
  await rehearse(test, page);
  await page.click('#go');
  await until(15_000, 'the presenter to be live', async () => await stateOf(page) === 'live');
  const viewer = await openPage(test, browser, `${server.url}/watch/talk`, 'viewer');
  await until(20_000, 'the viewer to be live', async () => await stateOf(viewer) === 'live');

  const before = await sent(page, 'video');
  await page.bringToFront(); // Firefox asks, and answers itself, only for a tab that is seen
  await page.evaluate(() => document.querySelector('[name=picture][value=none]').click());
  await until(5_000, 'no picture to be sent', async () => await sent(page, 'video') === undefined);
  await page.evaluate(() => document.querySelector('[name=picture][value=camera]').click());
  await until(10_000, 'a picture to be sent again', async () => ![undefined, before].includes(await sent(page, 'video')));
  const frames = (await statsOf(viewer)).video.framesDecoded;
  await until(10_000, 'the viewer to see it', async () => (await statsOf(viewer)).video.framesDecoded > frames + 10);
  test.check('a camera comes and goes in one session', await page.evaluate(() => window.probe.made()) === 1);
  const numbers = await page.$$eval('#numbers dd', (fields) => fields.map(({ textContent }) => textContent));
  test.check('the numbers are known', numbers.filter((number) => number !== '–').length >= 5, numbers.join(' | '));
  await takenAway(test, browser, page, viewer);
  await page.click('#stop');
  await until(5_000, 'the page to say it is not live', async () => await stateOf(page) === 'idle');
}

/** Firefox itself ends the tracks of camera and microphone; then it forbids them; then there are none. */
async function takenAway(test, browser, page, viewer) {
  const microphone = await sent(page, 'audio');
  await inFirefoxItself(browser, `for (const window of Services.wm.getEnumerator('navigator:browser')) {
    for (const { currentURI, browsingContext, innerWindowID } of window.gBrowser.browsers) {
      if (!currentURI.spec.includes('/publish/')) continue;
      browsingContext.currentWindowGlobal.getActor('WebRTC').sendAsyncMessage('webrtc:StopSharing', String(innerWindowID));
    }
  }`);
  await says(test, page, 'a camera that ends', /camera is gone/);
  await until(5_000, 'another microphone', async () => ![undefined, microphone].includes(await sent(page, 'audio')));
  test.check('the sound goes on, by another microphone', await stateOf(page) === 'live');
  await takeCamera(page);
  const frames = (await statsOf(viewer)).video.framesDecoded;
  await until(10_000, 'the viewer to see the camera again', async () => (await statsOf(viewer)).video.framesDecoded > frames + 10);
  test.check('chosen again the camera is seen again, in the same session', await page.evaluate(() => window.probe.made()) === 1);

  const prefer = (allowed, fake) => inFirefoxItself(browser, `Services.prefs.setIntPref('permissions.default.camera', ${allowed});
    Services.prefs.setBoolPref('media.navigator.streams.fake', ${fake});`);
  await prefer(2, true);
  await takeCamera(page);
  await says(test, page, 'a camera that Firefox forbids', /does not let this page use the camera.*address bar/s);
  await prefer(1, false);
  await takeCamera(page);
  await says(test, page, 'no camera at all', /No camera was found. Plug one in/);
  await prefer(1, true);
}

/** Takes no picture, and then the camera. */
async function takeCamera(page) {
  for (const choice of ['none', 'camera']) {
    await page.evaluate((value) => document.querySelector(`[name=picture][value=${value}]`).click(), choice);
  }
}

async function says(test, page, name, sentence) {
  const found = await until(10_000, name, async () => sentence.test(await textOf(page, '#message'))).catch(() => false);
  test.check(`${name} is said`, found, await textOf(page, '#message'));
}

/** Level, silence, and the recording of three seconds. */
async function tryOut(test, page) {
  // What is seen of the bar, and what a screen reader is told.
  const level = () => page.$eval('#level', (meter) => {
    const [, right] = /^inset\(\S+ (?:calc\()?(.*?)%/.exec(getComputedStyle(meter.firstElementChild).clipPath);
    return { seen: 100 - Number(right), said: Number(meter.getAttribute('aria-valuenow')) };
  });
  const loud = await until(15_000, 'the meter to rise', async () => {
    const { seen, said } = await level();
    return Math.min(seen, said) > 50 && seen;
  });
  test.check('the meter moves with sound', true, `${loud} %`);
  await until(15_000, 'the meter to fall', async () => {
    const { seen, said } = await level();
    return Math.max(seen, said) < 10;
  });
  test.check('the meter falls in silence', true);
  await until(12_000, 'the warning of silence', () => visible(page, '#silent'));
  test.check('5 s of silence are worth a word', /silent for 5 s/.test(await textOf(page, '#silent')));
  await until(12_000, 'the warning to go', async () => !await visible(page, '#silent'));
  test.check('the warning goes when there is sound', true);
  await rehearse(test, page);
}

/** Three seconds are recorded and played back. */
async function rehearse(test, page) {
  await page.click('#rehearse');
  await until(12_000, 'the recording to be played', async () => await textOf(page, '#recording') === 'Playing');
  await until(5_000, 'the recording with its sound', () => page.$eval('#preview', ({ src, srcObject, muted, currentTime, videoWidth }) => (
    src.startsWith('blob:') && srcObject === null && !muted && currentTime > 0.5 && videoWidth > 0)));
  await until(10_000, 'the end of the test', () => visible(page, '#verdict'));
  test.check('then the picture is live again', await page.$eval('#preview', ({ srcObject, muted }) => srcObject !== null && muted));
  // Which of the two it is depends on where in the file of sound it began.
  const verdict = await textOf(page, '#verdict');
  test.check('what was recorded was played', /see and hear|Nothing was heard/.test(verdict), verdict);
}

/** Another microphone than the last time is said, and one click takes the usual one. */
async function anotherMicrophone(test, page) {
  const usual = await page.$eval('#microphone', (list) => list.options[1].value);
  const label = await page.$eval('#microphone', (list) => list.options[1].label);
  await page.select('#microphone', usual);
  await page.evaluate(() => { document.querySelector('details').open = true; });
  await page.select('#hint', 'detail');
  await page.click('#music');
  await pause(500);
  await page.evaluate(() => {
    const kept = JSON.parse(localStorage.getItem('tribune.publish'));
    localStorage.setItem('tribune.publish', JSON.stringify({ ...kept, microphone: '' }));
  });
  await page.reload();
  await until(10_000, 'the word about the microphone', () => visible(page, '#other-device'));
  const said = await textOf(page, '#other-device p');
  test.check('another microphone than the last time is said', said.includes(label) && /not the microphone/.test(said), said);
  await page.click('#take-usual');
  await until(5_000, 'the word to go', async () => !await visible(page, '#other-device'));
  const chosen = await page.evaluate(() => [...['quality', 'hint'].map((id) => document.getElementById(id).value),
    document.getElementById('music').checked].join());
  test.check('what was chosen is still chosen', chosen === '360p30,detail,true', chosen);
  test.check('one click takes the usual one', await page.$eval('#microphone', (list) => list.value) === usual);
}

/** Goes to a button with the Tab key alone, and presses it. */
async function byKeyboard(test, page, id) {
  await page.evaluate(() => document.activeElement.blur());
  const focused = () => page.evaluate(() => document.activeElement.id);
  for (let presses = 0; presses < 60 && await focused() !== id; presses += 1) await page.keyboard.press('Tab');
  test.check(`the Tab key reaches “${id}”`, await focused() === id);
  await page.keyboard.press('Enter');
}

/** Stereo, and no cleaning of the sound; the picture is to stay sharp. */
async function inMusic(test, page) {
  const { offer, answer, sound, hints } = await page.evaluate(() => {
    const peer = window.probe.peers().at(-1);
    const tracks = window.probe.senders().map(({ track }) => track);
    const { echoCancellation, noiseSuppression, autoGainControl } = tracks.find(({ kind }) => kind === 'audio').getSettings();
    return {
      offer: peer.localDescription.sdp,
      answer: peer.remoteDescription.sdp,
      sound: [echoCancellation, noiseSuppression, autoGainControl],
      hints: tracks.map(({ contentHint }) => contentHint).join(),
    };
  });
  test.check('music is offered and sent in stereo', [offer, answer].every((sdp) => /^a=fmtp:111 .*\bstereo=1\b.*$/m.test(sdp)));
  test.check('music is not cleaned', sound.every((cleaned) => cleaned === false), String(sound));
  test.check('the encoders know what they get', hints === 'music,detail', hints);
}

/** Every alarm of the server's has a sentence, and what the presenter means to do is none. */
async function alarms(test, page, server) {
  const { components } = await (await fetch(`${server.url}/api/v1/openapi.json`)).json();
  const kinds = components.schemas.AlarmKind.enum;
  const say = (state) => page.evaluate(async ([all, given]) => {
    const { findings } = await import('/static/onair.js');
    return all.map((kind) => findings({ alarms: [{ kind, detail: 'DETAIL' }] }, given).alarms[0] ?? '');
  }, [kinds, state]);
  const all = await say({ sound: true, picture: true });
  test.check('every alarm has a sentence of its own', kinds.length > 5 && new Set(all).size === kinds.length && !all.includes('DETAIL') && !all.includes(''), `${kinds.length} alarms`);
  const meant = await say({ sound: true, picture: false, muted: true });
  test.check('muted is said, and no picture is no alarm', /you are muted/.test(meant[kinds.indexOf('silence')])
    && ['no_video', 'frozen'].every((kind) => meant[kinds.indexOf(kind)] === ''));
}

/** Cameras and microphones are exchanged; somebody watches. */
async function whileLive(test, server, browser, page) {
  const viewer = await openPage(test, browser, `${server.url}/watch/talk`, 'viewer');
  await until(15_000, 'the viewer to be live', async () => await stateOf(viewer) === 'live');
  await until(8_000, 'the viewer to be counted', async () => await textOf(page, '#viewers') === '1');
  const numbers = await page.$$eval('#numbers dd', (fields) => fields.map(({ textContent }) => textContent));
  test.check('every number is known', numbers.every((number) => number !== '–'), numbers.join(' | '));
  const other = await openPage(test, browser, `${server.url}/watch/talk`, 'other');
  await until(15_000, 'two viewers to be counted', async () => await textOf(page, '#viewers') === '2');
  await other.close();
  await until(15_000, 'one of them to be gone', async () => await textOf(page, '#viewers') === '1');
  test.check('viewers are counted as they come and go, and the most there were', await textOf(page, '#peak') === '2', `${await textOf(page, '#peak')} at most`);

  await until(8_000, 'the server to say what it gets', async () => /sees VP8/.test(await textOf(page, '#findings')));
  test.check('the server’s view of it is shown', /It (hears|has heard)/.test(await textOf(page, '#findings')),
    (await page.$$eval('#findings li', (lines) => lines.map(({ textContent }) => textContent))).join(' '));

  await viewer.evaluate(() => window.probe.watchGaps());
  for (const [list, kind] of [['#camera', 'video'], ['#microphone', 'audio']]) {
    const before = await sent(page, kind);
    // Chromium's second made-up camera has a format that is not encoded; the last one is like the first.
    const other = await page.$eval(list, ({ options }) => [...options].findLast(({ selected, value }) => !selected && value !== 'none').value);
    await page.select(list, other);
    await until(5_000, `another ${kind} to be sent`, async () => await sent(page, kind) !== before);
    test.check(`another ${kind} is sent`, true, `${before} → ${await sent(page, kind)}`);
    await pause(1_500);
  }
  await alarms(test, page, server);
  const gap = await viewer.evaluate(() => window.probe.longestGap());
  test.check('the viewer’s picture never stands still for 1 s', gap < 1_000, `${gap} ms`);

  const camera = await sent(page, 'video');
  await page.evaluate(() => document.querySelector('[name=picture][value=screen]').click());
  await until(5_000, 'the screen to be sent', async () => await sent(page, 'video') !== camera);
  test.check('the screen is sent', await page.$eval('#camera-field', ({ hidden }) => hidden), await sent(page, 'video'));
  await page.evaluate(() => document.querySelector('[name=picture][value=camera]').click());
  await until(5_000, 'the camera to be sent again', async () => (await sent(page, 'video')).startsWith('fake_device'));

  await page.click('#mute');
  await page.click('#hide');
  test.check('the hidden picture says so', /see black/.test(await textOf(page, '#veiled')) && await visible(page, '#veiled'));
  test.check('muted and hidden is what they say', await page.evaluate(() => ['mute', 'hide']
    .every((id) => document.getElementById(id).getAttribute('aria-pressed') === 'true')));
  test.check('what is sent is silent', await page.evaluate(() => window.probe.senders()
    .every(({ track }) => track.kind !== 'audio' || !track.enabled)));
  const black = await until(8_000, 'the viewer to see black', () => brightness(viewer).then((bright) => bright < 30)).catch(() => false);
  test.check('the viewer sees black', black, `brightness ${await brightness(viewer)} of 255`);
  await page.keyboard.press('m');
  await page.keyboard.press('h');
  test.check('the keys m and h take it back', await page.evaluate(() => ['mute', 'hide']
    .every((id) => document.getElementById(id).getAttribute('aria-pressed') === 'false')));
  const back = await until(8_000, 'the picture to be back', () => brightness(viewer).then((bright) => bright > 60)).catch(() => false);
  test.check('then the viewer sees the picture again', back, `brightness ${await brightness(viewer)} of 255`);
}

/** The brightest point of the picture that a page shows, made small; up to 255. */
const brightness = (page) => page.$eval('video', (video) => {
  const canvas = new OffscreenCanvas(32, 18);
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 32, 18);
  return Math.max(...context.getImageData(0, 0, 32, 18).data.filter((_, at) => at % 4 < 3));
});

/** A camera that goes away is said, and the session goes on. */
async function unplug(test, page) {
  await page.evaluate(() => {
    const { track } = window.probe.senders().find((sender) => sender.track?.kind === 'video');
    track.stop();
    track.dispatchEvent(new Event('ended')); // as by the browser when the device is gone
  });
  await until(5_000, 'the word about the camera', () => visible(page, '#message'));
  test.check('an unplugged camera is said', /camera is gone/.test(await textOf(page, '#message')), await textOf(page, '#message'));
  test.check('the sound goes on', await stateOf(page) === 'live');
}

/** The name of the device that is being sent. */
const sent = (page, kind) => page.evaluate((wanted) => {
  const sender = window.probe.senders().find(({ track }) => track?.kind === wanted);
  return sender && `${sender.track.label} ${sender.track.id}`;
}, kind);

/** A file of sound for the made-up microphone, played over and over: 3 s of syllables, 8 s of silence. */
export function speech(test) {
  const [rate, seconds, loud] = [48_000, 11, 3];
  const samples = new Int16Array(rate * seconds);
  for (let at = 0; at < rate * loud; at += 1) {
    // A tone that does not change is taken for noise and removed.
    const syllable = Math.max(0, Math.sin(2 * Math.PI * 4 * at / rate));
    const pitch = 180 + 60 * Math.sin(2 * Math.PI * at / rate);
    const voice = [1, 2, 3, 5].reduce((sum, n) => sum + Math.sin(2 * Math.PI * n * pitch * at / rate) / n, 0);
    samples[at] = 9_000 * syllable * voice;
  }
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // one channel
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(samples.byteLength, 40);
  const file = test.file('speech.wav');
  fs.writeFileSync(file, Buffer.concat([header, Buffer.from(samples.buffer)]));
  return file;
}

/** Its made-up devices, too, want permission, which is given. */
const FIREFOX_MAY = {
  'media.navigator.permission.disabled': false,
  'media.navigator.permission.fake': true,
  'permissions.default.camera': 1,
  'permissions.default.microphone': 1,
};
