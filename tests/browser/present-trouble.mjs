// What keeps a presenter off the air has its own sentence, and that says what to do. What others say of themselves is text.

import { until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { launch, openPage } from './browser.mjs';
import { stateOf, textOf, visible } from './pages.mjs';
import { AGENTS, LONG_LOG, MANY, report, stage } from './stage.mjs';

export default async function trouble(test) {
  const server = await Server.start(test, { environment: { TRIBUNE_STREAMS_WATCH: 'token' } });
  const browser = await launch(test, 'chromium', { flags: ['--host-resolver-rules=MAP plain.test 127.0.0.1'] });
  const token = await server.token('talk');
  const address = (pass, stream = 'talk') => `${server.url}/publish/${stream}#${pass}`;
  const open = (name, url, prepare) => openTroubled(test, browser, name, url, prepare);

  const insecure = await open('insecure', `http://plain.test:${new URL(server.url).port}/publish/talk#${token}`);
  await says(test, insecure, '#message', 'a page without https', /secure pages only.*localhost.*https/s);
  test.check('there it offers nothing that cannot work', await insecure.$eval('#go', ({ disabled }) => disabled));
  await insecure.close();

  const devices = await open('devices', address(token), () => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('<b>it</b> says', window.trouble));
  });
  for (const [name, error, sentence] of [
    ['a forbidden camera', 'NotAllowedError', /does not let this page use.*address bar/s],
    ['no devices', 'NotFoundError', /No camera or microphone was found. Plug one in/],
    ['a busy camera', 'NotReadableError', /another program is using it/],
    ['a word with markup, as text,', 'StrangeError', /cannot be used: <b>it<\/b> says/],
  ]) {
    await devices.evaluate((trouble) => { window.trouble = trouble; }, error);
    await devices.click('#go');
    await says(test, devices, '#message', name, sentence);
  }
  await until(5_000, 'the word about viewers', () => visible(devices, '#closed')).catch(() => {});
  test.check('that viewers need more than the link is said', await visible(devices, '#closed'), await textOf(devices, '#closed'));
  await devices.close();

  const page = await open('tokens', address(''));
  for (const [name, pass, sentence] of [
    ['no token', '', /needs a token/],
    ['a wrong token', `${token.slice(0, -4)}AAAA`, /not valid on this server.*ask for a new one/s],
    ['an expired token', expired(token), /expired on .*Ask for a new link/s],
    ['a viewer’s token', await server.token('talk', { right: 'watch' }), /for watching, not for presenting/],
    ['another stream’s token', await server.token('other'), /another stream, “other”/],
  ]) {
    if (pass) await page.evaluate((hash) => { location.hash = hash; }, pass); // as when another link is opened here
    await says(test, page, '#check-server', name, sentence);
    await until(2_000, 'the field', () => visible(page, '#token-form')).catch(() => {});
    test.check(`${name}: the page asks for another`, await visible(page, '#token-form'));
  }
  await page.close();

  await taken(test, server, open, address);
  await unknown(test, open);
  await hostile(test, server, open);
}

/** Names, user agents and details that are scripts, as the server itself would never let some of them in. */
async function hostile(test, server, open) {
  const { streams: [first] } = MANY.streams;
  const named = { streams: { streams: [{ ...first, name: AGENTS.hostile }] } };
  for (const [where, answers, events, place] of [
    ['/admin#x', MANY, LONG_LOG, '#shows'],
    ['/admin/reports/r#x', { 'reports/r': report(2) }, [], '#report'],
    ['/', named, [], '#streams'],
  ]) {
    const page = await open('hostile', await stage(test, server.url, answers, events) + where);
    const shown = await until(10_000, 'what is hostile', async () => (await textOf(page, place)).includes(AGENTS.hostile.slice(0, 20))).catch(() => false);
    const ran = await page.evaluate(() => document.title.includes('owned') || Boolean(document.querySelector('[onerror], main script, .log b')));
    test.check(`text stays text at ${where}`, shown && !ran, shown ? `markup: ${ran}` : 'it is not shown');
    await page.close();
  }
}

/** Only streams with a section of their own exist. */
async function unknown(test, open) {
  const server = await Server.start(test, { environment: { TRIBUNE_STREAMS_PROVISIONED_ONLY: 'true' } });
  const page = await open('unknown', `${server.url}/publish/talk#${await server.token('talk')}`);
  await page.click('#go');
  await says(test, page, '#message', 'an unknown stream', /no stream called “talk”.*Check the link/s);
}

/** Somebody else presents; then a page of the same presenter's takes over; then the server is gone. */
async function taken(test, server, open, address) {
  const link = address(await server.token('talk'));
  const first = await open('first', link);
  await first.click('#go');
  await until(15_000, 'the first presenter to be live', async () => await stateOf(first) === 'live');
  const second = await open('second', address(await server.token('talk', { as: 'somebody' })));
  await second.click('#go');
  await says(test, second, '#message', 'a taken stream', /Somebody else is presenting/);
  await first.bringToFront();
  const third = await open('third', link);
  await third.click('#go');
  await says(test, first, '#message', 'a takeover', /presenting from somewhere else now.*brings it back/s);

  await second.setOfflineMode(true);
  await second.click('#go');
  await says(test, second, '#message', 'a server that is gone', /does not answer.*Trying again/s);
  await second.setOfflineMode(false);
  await says(test, second, '#message', 'by itself: the server is back, the stream still taken', /Somebody else is presenting/);
}

async function openTroubled(test, browser, name, url, prepare) {
  const page = await openPage(test, browser, 'about:blank', name);
  // A made-up picture that is large costs a busy machine more than all the rest.
  await page.evaluateOnNewDocument(() => localStorage.setItem('tribune.publish', '{"quality":"360p30"}'));
  if (prepare) await page.evaluateOnNewDocument(prepare, name);
  await page.goto(url);
  return page;
}

/** Waits for a sentence; that it does not come is a fact, too. */
async function says(test, page, place, name, sentence) {
  const found = await until(10_000, name, async () => sentence.test(await textOf(page, place))).catch(() => false);
  test.check(`${name} is said`, found, await textOf(page, place));
}

/** The same token, as it would be long after its end: the page can read that, the server needs not to. */
function expired(token) {
  const [version, payload, tag] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  return [version, Buffer.from(JSON.stringify({ ...claims, exp: 1_700_000_000 })).toString('base64url'), tag].join('.');
}
