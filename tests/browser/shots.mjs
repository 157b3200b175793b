// Pictures of every page in every state that matters, on a desk and on a phone, light and dark: for people to look at.
// They are written to the directory SHOTS, with an index.html that shows all that is there.

import fs from 'node:fs';
import path from 'node:path';

import { pause, until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { launch, openPage } from './browser.mjs';
import { speech } from './present.mjs';
import { stateOf, textOf, visible } from './pages.mjs';
import { serveSite } from './site.mjs';

const LOOKS = {
  desk: { width: 1280, height: 800, deviceScaleFactor: 1, mobile: false },
  phone: { width: 390, height: 844, deviceScaleFactor: 2, mobile: true },
};

export default async function shots(test) {
  const album = new Album(test, process.env.SHOTS ?? test.file('shots'));
  album.server = await Server.start(test, { environment: { TRIBUNE_STREAMS_GRACE: '4s' } });
  album.browser = await launch(test, 'chromium', {
    flags: ['--use-fake-device-for-media-stream=device-count=4', '--host-resolver-rules=MAP plain.test 127.0.0.1',
      `--use-file-for-fake-audio-capture=${speech(test)}`],
  });
  await index(album);
  await presenting(album);
  await presentTrouble(album);
  await watchTrouble(album);
  album.finish();
}

class Album {
  #taken = [];

  constructor(test, folder) {
    this.test = test;
    this.folder = path.resolve(folder);
    fs.mkdirSync(this.folder, { recursive: true });
  }

  /** Opens a page of the server's; `prepare` runs in it before its own scripts, with `given`. */
  async open(where, prepare, given) {
    const page = await openPage(this.test, this.browser, 'about:blank', where.replaceAll(/\W+/g, '-').slice(0, 30));
    page.setDefaultNavigationTimeout(90_000);
    page.devtools = await page.createCDPSession();
    await this.look(page, 'desk', 'light');
    await page.evaluateOnNewDocument(() => localStorage.getItem('tribune.publish')
      ?? localStorage.setItem('tribune.publish', '{"quality":"360p30","layers":true}'));
    if (prepare) await page.evaluateOnNewDocument(prepare, given);
    await page.goto(/^http/.test(where) ? where : `${this.server.url}${where}`);
    return page;
  }

  /** Not by puppeteer's own way, which reloads the page for a phone. */
  async look(page, device, scheme) {
    await page.devtools.send('Emulation.setDeviceMetricsOverride', LOOKS[device]);
    await page.devtools.send('Emulation.setTouchEmulationEnabled', { enabled: device === 'phone' });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  }

  /** Takes the state that a page is in now, in every look; `schemes`: pages about a picture are always dark. */
  async take(page, name, { schemes = ['light', 'dark'], again = async () => {} } = {}) {
    await page.bringToFront();
    for (const device of Object.keys(LOOKS)) {
      for (const scheme of schemes) {
        await this.look(page, device, scheme);
        await again(page);
        await pause(350); // transitions
        const file = `${name}-${device}-${scheme}.png`;
        await this.picture(page, file);
        const sticksOut = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        this.test.check(`nothing sticks out: ${file}`, sticksOut <= 0, `${sticksOut} px`);
      }
    }
    await this.look(page, 'desk', 'light');
  }

  /** Takes the whole page, however long it is. */
  async picture(page, file) {
    const { cssContentSize } = await page.devtools.send('Page.getLayoutMetrics');
    const clip = { ...cssContentSize, x: 0, y: 0, scale: 1 };
    const { data } = await page.devtools.send('Page.captureScreenshot', { captureBeyondViewport: true, clip });
    fs.writeFileSync(path.join(this.folder, file), Buffer.from(data, 'base64'));
    this.#taken.push(file);
  }

  finish() {
    const files = fs.readdirSync(this.folder).filter((file) => file.endsWith('.png')).sort();
    const figures = files.map((file) => `<figure><img src="${file}" loading="lazy"><figcaption>${file}</figcaption></figure>`);
    fs.writeFileSync(path.join(this.folder, 'index.html'), `<!doctype html><meta charset="utf-8"><title>Pages</title>
<style>body{display:flex;flex-wrap:wrap;gap:1rem;background:#888;font:14px sans-serif}figure{margin:0}img{height:400px}</style>
${figures.join('\n')}\n`);
    this.test.note(`${this.#taken.length} pictures in ${this.folder}`);
  }
}

const DARK = { schemes: ['dark'] };
const moveMouse = async (page) => { await page.mouse.move(100 + 100 * Math.random(), 300); };

async function index(album) {
  const page = await album.open('/');
  await until(5_000, 'the list', async () => /Nobody/.test(await textOf(page, '#streams-note')));
  await album.take(page, 'index-empty');
  await page.close();
}

/** A presenter from the first look to the end, and what viewers see of it. */
async function presenting(album) {
  const { server } = album;
  const early = await album.open('/watch/talk');
  await until(5_000, 'the viewer to wait', async () => await stateOf(early) === 'waiting');
  await album.take(early, 'watch-waiting', DARK);

  const first = await album.open(`/publish/talk#${await server.token('talk')}`, () => {
    navigator.permissions.query = async () => ({ state: 'prompt' });
  });
  await until(5_000, 'the server', async () => /ready/.test(await textOf(first, '#check-server')));
  await album.take(first, 'present-first');
  await first.close();
  const page = await album.open(`/publish/talk#${await server.token('talk')}`);
  await until(10_000, 'the picture', async () => /fake_device/.test(await textOf(page, '#check-picture')));
  await until(15_000, 'sound', async () => /is heard/.test(await textOf(page, '#check-sound')));
  await album.take(page, 'present-ready');
  await until(20_000, 'the warning of silence', () => visible(page, '#silent'));
  await page.evaluate(() => { document.querySelectorAll('details').forEach((each) => { each.open = true; }); });
  await album.take(page, 'present-silent-and-all-settings');
  await page.evaluate(() => { document.querySelectorAll('details').forEach((each) => { each.open = false; }); });
  await otherDevice(album, page);
  await rehearsal(album, page);
  await page.click('#go');
  await until(20_000, 'the presenter to be live', async () => await stateOf(page) === 'live');
  await until(20_000, 'the viewer to be live', async () => await stateOf(early) === 'live');
  await until(10_000, 'the server’s view', async () => await visible(page, '#findings') && await textOf(page, '#viewers') === '1');
  await pause(3_000);
  await album.take(page, 'present-live');
  const home = await album.open('/');
  await until(5_000, 'the list', async () => /talk/.test(await textOf(home, '#streams')));
  await album.take(home, 'index-live');
  await home.close();
  await watching(album, early);
  await embedded(album);
  await show(album);
  await page.click('#mute');
  await page.click('#hide');
  await until(30_000, 'the server to hear nothing', () => page.$eval('#alarms', (list) => list.children.length > 0));
  await album.take(page, 'present-muted-hidden-alarm');
  await page.click('#mute');
  await page.click('#hide');
  await page.evaluate(() => {
    const { track } = window.probe.senders().find((sender) => sender.track?.kind === 'video');
    track.stop();
    track.dispatchEvent(new Event('ended'));
  });
  await until(5_000, 'the word about the camera', () => visible(page, '#message'));
  await album.take(page, 'present-camera-gone');
  await until(10_000, 'sound only', async () => await visible(early, '#headline'));
  await album.take(early, 'watch-sound-only', DARK);
  await page.click('#stop');
  await until(20_000, 'the end', async () => await stateOf(early) === 'waiting');
  await album.take(early, 'watch-break', DARK);
  await album.take(page, 'present-stopped');
  await Promise.all([page.close(), early.close()]);
  await report(album);
}

async function otherDevice(album, page) {
  await page.evaluate(() => {
    const kept = JSON.parse(localStorage.getItem('tribune.publish'));
    const usual = { microphone: { id: 'gone', label: 'USB Microphone (0d8c:0014)' } };
    localStorage.setItem('tribune.publish', JSON.stringify({ ...kept, usual }));
  });
  await page.reload();
  await until(10_000, 'the word about the microphone', () => visible(page, '#other-device'));
  await album.take(page, 'present-other-microphone');
  await page.click('#keep-other');
}

async function rehearsal(album, page) {
  await page.click('#rehearse');
  await until(5_000, 'the recording', async () => /Recording/.test(await textOf(page, '#recording')));
  await album.picture(page, 'present-recording-desk-light.png');
  await until(15_000, 'the end of the test', () => visible(page, '#verdict'));
  await album.take(page, 'present-verdict');
}

async function watching(album, page) {
  await page.evaluate(() => { document.querySelector('#unmute').hidden = false; });
  await album.take(page, 'watch-live-controls', { ...DARK, again: moveMouse });
  await page.evaluate(() => { document.querySelector('#unmute').hidden = true; });
  await until(20_000, 'the menu of sizes', async () => {
    await moveMouse(page);
    if (await visible(page, '#quality')) return true;
    await pause(3_000);
    return false;
  });
  await album.take(page, 'watch-live-sizes', { ...DARK, again: moveMouse });
  await page.keyboard.press('s');
  await until(10_000, 'the statistics', async () => /bit\/s/.test(await textOf(page, '#stats')));
  await album.take(page, 'watch-statistics', { ...DARK, again: moveMouse });
  await page.keyboard.press('s');
  await page.mouse.move(1, 1);
  await until(8_000, 'the controls to go', () => page.$eval('#stage', ({ dataset }) => dataset.chrome === 'hidden'));
  await album.take(page, 'watch-live-nothing-else', DARK);
}

async function embedded(album) {
  const here = path.dirname(new URL(import.meta.url).pathname);
  const site = await serveSite(album.test, { '/': path.join(here, 'embed.html'), '/embed.page.js': path.join(here, 'embed.page.js') });
  const page = await album.open(`${site}/#${encodeURIComponent(album.server.url)}`);
  await until(15_000, 'the player to be live', () => page.evaluate(() => window.states.includes('live')));
  await pause(1_000);
  await album.take(page, 'embed-in-a-foreign-page', { schemes: ['light'] });
  await page.close();
}

/** What keeps a presenter from presenting. */
async function presentTrouble(album) {
  const { server } = album;
  const token = await server.token('talk');
  const plain = await album.open(`http://plain.test:${new URL(server.url).port}/publish/talk#${token}`);
  await album.take(plain, 'present-insecure');
  await plain.close();
  for (const [name, error] of [['denied', 'NotAllowedError'], ['no-devices', 'NotFoundError'], ['busy', 'NotReadableError']]) {
    const page = await album.open(`/publish/talk#${token}`, (trouble) => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', trouble));
      if (trouble === 'NotFoundError') navigator.mediaDevices.enumerateDevices = async () => [];
    }, error);
    await page.click('#go');
    await until(5_000, name, () => visible(page, '#message'));
    await album.take(page, `present-${name}`);
    await page.close();
  }
  const nobody = await album.open('/publish/talk');
  await until(5_000, 'the question', () => visible(nobody, '#token-form'));
  await album.take(nobody, 'present-no-token');
  await nobody.close();
  const wrong = await album.open('/publish/talk#trb1.wrong.token');
  await until(5_000, 'the refusal', async () => /not valid/.test(await textOf(wrong, '#check-server')));
  await wrong.click('#go');
  await until(15_000, 'the message', () => visible(wrong, '#message'));
  await album.take(wrong, 'present-wrong-token');
  await wrong.close();
  const away = await album.open(`/publish/talk#${token}`);
  await until(5_000, 'the server', async () => /ready/.test(await textOf(away, '#check-server')));
  await away.setOfflineMode(true);
  await away.click('#go');
  await until(25_000, 'the message', () => visible(away, '#message'));
  await album.take(away, 'present-server-gone');
  await away.close();
}

/** What keeps a viewer from watching: the server's answers, as they would come. */
async function watchTrouble(album) {
  const refuse = (answer) => {
    const original = window.fetch;
    window.fetch = (url, options) => {
      if (options?.method !== 'POST') return original(url, options);
      const { status, ...problem } = answer;
      if (status === 0) return Promise.reject(new TypeError('Failed to fetch'));
      if (status === undefined) return new Promise(() => {});
      return Promise.resolve(new Response(JSON.stringify(problem), { status, headers: { 'content-type': 'application/problem+json' } }));
    };
  };
  for (const [name, answer, token = ''] of [
    ['connecting', {}],
    ['needs-token', { status: 401 }],
    ['link-expired', { status: 401 }, '#trb1.old.token'],
    ['other-stream', { status: 403 }, '#trb1.other.token'],
    ['unknown', { status: 404 }],
    ['codec-impossible', { status: 406, detail: 'the presenter sends AV1, which this browser does not know' }],
    ['full', { status: 503 }],
    ['server-gone', { status: 0 }],
  ]) {
    const page = await album.open(`/watch/talk${token}`, refuse, answer);
    if (name !== 'connecting') await until(25_000, name, async () => await stateOf(page) === 'error');
    await album.take(page, `watch-${name}`, DARK);
    await page.close();
  }
}

/** The page to run the show by, while somebody presents. */
async function show(album) {
  const page = await album.open('/admin');
  await until(5_000, 'the question', () => visible(page, '#token-form'));
  await album.take(page, 'admin-no-token');
  await page.type('#token', await album.server.token());
  await page.click('#token-form button');
  await until(10_000, 'the stream', () => page.$('.stream summary'));
  await page.click('.stream summary');
  await page.$eval('#make-link [name=stream]', (field) => { field.value = 'talk'; });
  await page.click('#make-link button');
  await until(5_000, 'the QR code', () => page.evaluate(() => document.querySelector('#qr img')?.naturalWidth > 0));
  await album.take(page, 'admin-live');
  await page.close();
}

/** What is left of it. */
async function report(album) {
  const page = await album.open('/admin');
  await page.type('#token', await album.server.token());
  await page.click('#token-form button');
  await until(20_000, 'the report to be listed', () => page.$('#reports tbody a'));
  await album.take(page, 'admin-afterwards');
  await page.click('#reports tbody a');
  await until(10_000, 'the report', () => page.$eval('#report', (part) => part.checkVisibility()).catch(() => false));
  await album.take(page, 'report');
  await page.close();
}
