// The page to run the show by: links with QR codes, who is there, kicking, revoking, and the report afterwards.

import jsQR from 'jsqr';

import { pause, until } from '../lib/case.mjs';
import { Hooks } from '../lib/hooks.mjs';
import { Server } from '../lib/server.mjs';
import { checkAccess, watchManners } from './axe.mjs';
import { launch, openPage, statsOf } from './browser.mjs';
import { stateOf, textOf, visible } from './pages.mjs';

export default async function admin(test) {
  const hooks = await Hooks.start(test);
  const environment = { TRIBUNE_STREAMS_GRACE: `${GRACE_S}s`, ...hooks.environment() };
  const server = await Server.start(test, { environment });
  const browser = await launch(test);
  const page = await openPage(test, browser, `${server.url}/admin`, 'admin');
  await page.setViewport({ width: 1280, height: 800 });
  const manners = watchManners(test, page, server.url);

  await until(5_000, 'the page to ask for a token', () => visible(page, '#token-form'));
  await page.type('#token', await server.token('talk'));
  await page.click('#token-form button');
  await until(5_000, 'it to be refused', async () => /not an admin’s/.test(await textOf(page, '#message')));
  test.check('a presenter’s token does not open it', true, await textOf(page, '#message'));
  await page.goto(`${server.url}/admin#${await server.token()}`);
  await page.reload(); // a change of the fragment alone loads nothing
  await until(10_000, 'the page to be live', async () => await page.$eval('#connection', (it) => it.dataset.state) === 'live');
  test.check('the token does not stay in the address bar', !page.url().includes('#'), page.url());
  await checkAccess(test, page, 'admin, nothing live');

  const publish = await makeLink(test, page, 'publish');
  const watch = await makeLink(test, page, 'watch');
  const presenter = await openPage(test, browser, publish, 'presenter');
  await presenter.select('#quality', '360p30');
  await presenter.click('#go');
  await until(20_000, 'the presenter to be live', async () => await stateOf(presenter) === 'live');
  await presenter.click('#mute'); // for the alarm, which takes 5 s
  const viewers = [];
  for (const name of ['viewer-1', 'viewer-2']) viewers.push(await openPage(test, browser, watch, name));
  await until(20_000, 'two viewers to be shown', async () => await figure(page, 'Viewers now') === '2');
  test.check('the card says who presents from what', /Chrome \d/.test(await textOf(page, '.stream .from')), await textOf(page, '.stream .from'));
  await until(10_000, 'the bit rate', async () => /bit\/s/.test(await figure(page, 'Comes in')));
  test.check('and what comes in', /^VP8/.test(await figure(page, 'Picture')), `${await figure(page, 'Picture')}, ${await figure(page, 'Comes in')}`);
  await until(15_000, 'an estimate of how many more fit', async () => /about/.test(await figure(page, 'Room for more')));
  test.check('and how many more fit', true, await figure(page, 'Room for more'));

  await page.click('.stream summary');
  await until(5_000, 'three sessions to be listed', async () => (await page.$$('.stream tbody tr')).length === 3);
  await checkAccess(test, page, 'admin, live');
  await page.screenshot({ path: test.file('admin.png'), fullPage: true });
  await look(test, page);

  await hooks.next('alarm.raised', 20_000);
  await press(presenter, '#mute');
  await hooks.next('alarm.cleared', 20_000);

  // While the presenter is away nothing comes: numbers are the same at both ends.
  const counted = { sent: (await statsOf(presenter)).video.bytesSent };
  await press(presenter, '#stop');
  for (const viewer of viewers) await until(10_000, 'the break', async () => await stateOf(viewer) === 'waiting');
  const got = await Promise.all(viewers.map(received));
  await kick(test, page);
  const isKicked = async (viewer) => /Whoever runs it/.test(await textOf(viewer, 'body'));
  await until(10_000, 'one viewer to be told', async () => (await Promise.all(viewers.map(isKicked))).includes(true));
  const [kicked, stayed] = await isKicked(viewers[0]) ? viewers : [...viewers].reverse();
  counted.kicked = got[viewers.indexOf(kicked)];
  await press(presenter, '#go');
  await until(20_000, 'the presenter to be back', async () => await stateOf(presenter) === 'live');
  await until(20_000, 'the viewer to be live again', async () => await stateOf(stayed) === 'live');
  await until(10_000, 'one viewer to be counted', async () => await figure(page, 'Viewers now') === '1');
  await pause(3_000);
  test.check('who was kicked stays away, and is told why', await isKicked(kicked) && !await isKicked(stayed) && await figure(page, 'Viewers now') === '1',
    await figure(page, 'Viewers now'));

  counted.sent += (await statsOf(presenter)).video.bytesSent;
  const left = await revoke(test, page, 'publish');
  test.check('the revoked link no longer presents', left, '');
  await until(10_000, 'the presenter to be refused', async () => !['live', 'connecting'].includes(await stateOf(presenter)));
  test.note(`the presenter’s page says: ${await textOf(presenter, '#message')}`);
  counted.stayed = await received(stayed);
  const log = await page.$$eval('#log > div', (lines) => lines.map((line) => line.textContent));
  for (const words of [/a link to present was made/, /talk: is live/, /viewer [0-9a-f]{16} ended \(kicked\)/, /presenter is gone/, /a link to present was revoked/]) {
    test.check(`the log tells: ${words.source}`, log.some((line) => words.test(line)));
  }

  await until((GRACE_S + 12) * 1000, 'the report to be written', () => page.$$eval('#log > div', (lines) => lines.some((line) => /report is written/.test(line.textContent))));
  await until(5_000, 'the report to be listed', () => page.$$eval('#reports tbody tr', (rows) => rows.length === 1 && !/still on/.test(rows[0].textContent)));
  await report(test, page, server, counted);
  const { data } = await hooks.next('report.ready', 5_000);
  hooks.check(['stream.live', 'alarm.raised', 'alarm.cleared', 'stream.grace', 'stream.idle', 'report.ready']);
  test.check('the webhook names the report that is shown', page.url().includes(data.id), `${data.id} at ${page.url()}`);
  manners.check('the page');
}

/** Makes a link; its QR code must decode to it. Returns the URL. */
async function makeLink(test, page, right) {
  await page.$eval('#made-url', (it) => { it.textContent = ''; });
  await page.$eval('#make-link [name=stream]', (it) => { it.value = 'talk'; });
  await page.select('#make-link [name=right]', right);
  await page.click('#make-link button');
  await until(5_000, 'the link to be made', async () => (await textOf(page, '#made-url')).includes('#'));
  const url = await textOf(page, '#made-url');
  await until(5_000, 'the QR code to be drawn', () => page.evaluate(() => document.querySelector('#qr img')?.naturalWidth > 0));
  const seen = await page.$eval('#qr img', (image) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 600, height: 600 });
    const context = canvas.getContext('2d');
    context.fillStyle = '#fff';
    context.fillRect(0, 0, 600, 600);
    context.drawImage(image, 30, 30, 540, 540);
    return [...context.getImageData(0, 0, 600, 600).data];
  });
  const code = jsQR(Uint8ClampedArray.from(seen), 600, 600);
  test.check(`the QR code of the link to ${right} decodes to it`, code?.data === url, code ? '' : 'not decoded');
  return url;
}

/** Presses twice: the second time is meant. */
async function kick(test, page) {
  const button = await page.$('.stream button.kick[aria-label^="Kick viewer"]');
  const id = await button.evaluate((it) => it.closest('tr').dataset.session);
  await button.evaluate((it) => it.click());
  await button.evaluate((it) => it.click());
  await until(5_000, 'the session to go from the table', async () => await page.$(`[data-session="${id}"]`) === null);
  test.check('a kick ends the session', true, id);
}

/** Revokes the one link with this right. */
async function revoke(test, page, right) {
  const word = right === 'publish' ? 'to present' : 'to watch';
  const button = await page.evaluateHandle((wanted) => [...document.querySelectorAll('#links li')]
    .find((row) => row.textContent.includes(wanted))?.querySelector('button'), word);
  await button.click();
  await button.click();
  await until(5_000, 'the link to be revoked', async () => (await page.$$eval('#links li', (rows, wanted) => rows
    .some((row) => row.textContent.includes(wanted) && row.textContent.includes('revoked')), word)));
  return true;
}

/** Bytes of media that a viewer has got, by its browser's statistics. */
async function received(viewer) {
  const { video, audio } = await statsOf(viewer);
  return video.bytesReceived + audio.bytesReceived;
}

/** Without a mouse: on a busy machine a page that sends a picture takes its time to draw itself. */
const press = (page, button) => page.$eval(button, (it) => it.click());

/** The report's numbers must be what the test did. */
async function report(test, page, server, counted) {
  const headers = { authorization: `Bearer ${await server.token()}` };
  const id = await page.$eval('#reports tbody a', ({ href }) => href.split('/').pop());
  const made = await (await fetch(`${server.url}/api/v1/reports/${id}`, { headers })).json();
  const near = (value, wanted, share) => Math.abs(value - wanted) <= share * wanted;
  const is = (fact, holds, ...details) => test.check(`report: ${fact}`, holds, details.join(' '));
  is('two joined, were connected, and watched at once', made.viewers.joins === 2 && made.viewers.sessions === 2 && made.viewers.peak === 2, JSON.stringify(made.viewers));
  is('both came from the same place with the same browser', made.viewers.unique === 1, made.viewers.unique);
  is('both had a first packet and a first picture', made.first_packet_ms.count === 2 && made.first_picture_ms.count === 2,
    JSON.stringify([made.first_packet_ms, made.first_picture_ms]));
  is('the presenter came twice', made.presenters.length === 2 && made.reconnects === 1, made.presenters.map(({ reason }) => reason).join(' '));
  // Its DELETE and its DTLS alert say the same; either may be the first to arrive.
  is('its first session was ended by it, the second one by the revoked link', ['deleted', 'peer_closed'].includes(made.presenters[0]?.reason) && made.presenters[1]?.reason === 'revoked');
  const got = counted.kicked + counted.stayed;
  is('so many bytes were sent as viewers got', near(made.sent.bytes, got, 0.02), made.sent.bytes, got);
  is('so many bytes came as the presenter sent', made.received.bytes > 0.97 * counted.sent && made.received.bytes < 1.25 * counted.sent, made.received.bytes, counted.sent);
  is('nothing was lost', made.received.lost === 0 && made.sent.lost === 0, made.received.lost, made.sent.lost);
  is('it lasted from the first packet to the end of the grace time', near(made.seconds, (Date.parse(made.ended) - Date.parse(made.started)) / 1000, 0.1), made.seconds);
  const { average, samples, sample_seconds: step } = made.viewers;
  is('the average is of the whole time', average > 0.3 && average < 2 && samples.length >= Math.floor(made.seconds / step), average, JSON.stringify(samples));

  await page.click('#reports tbody a');
  await until(10_000, 'the report to be shown', () => visible(page, '#report'));
  const seen = await page.$eval('#totals', (list) => Object.fromEntries([...list.children].map((row) => [row.children[0].textContent, row.children[1].textContent])));
  test.check('the report knows the peak', seen['Most viewers at once'] === '2', JSON.stringify(seen));
  test.check('and that the presenter came back', seen['Presenter reconnected'] === '1');
  await checkAccess(test, page, 'report');
  await page.screenshot({ path: test.file('report.png'), fullPage: true });
  await page.pdf({ path: test.file('report.pdf'), format: 'A4' }).catch((error) => test.note(`no PDF: ${error.message}`));
}

/** The page on a phone, and in the dark: for people to look at. */
async function look(test, page) {
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await page.screenshot({ path: test.file('admin-dark.png'), fullPage: true });
  await page.setViewport({ width: 390, height: 844 });
  await pause(500);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  test.check('nothing sticks out on a phone', !wide);
  await page.screenshot({ path: test.file('admin-phone.png'), fullPage: true });
  await page.emulateMediaFeatures([]);
  await page.setViewport({ width: 1280, height: 800 });
}

/** A figure of the stream's card by its name. */
const figure = (page, name) => page.$$eval('.stream .figures div', (rows, wanted) => rows
  .find((row) => row.children[0].textContent === wanted)?.children[1].textContent ?? '', name);

const GRACE_S = 10;
