// Our own pages: a viewer who came too early, a presenter, the picture that comes by itself.

import { checkCipher, firstPicture, measure, SETTLE_MS } from '../lib/measure.mjs';
import { pause, until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { launch, openPage, statsOf } from './browser.mjs';
import { checkScripts } from './scripts.mjs';

export default async function pages(test) {
  const server = await Server.start(test, { environment: { TRIBUNE_STREAM: '{ meeting = { idle = "wait" } }' } });
  const browser = await launch(test);
  const token = await server.token('talk');
  await checkScripts(test, server);

  const home = await openPage(test, browser, server.url, 'home');
  await home.screenshot({ path: test.file('home.png') });
  const viewer = await openPage(test, browser, `${server.url}/watch/talk`, 'viewer');
  let [events, refused] = ['', 0];
  viewer.on('response', (response) => {
    if (!/\/events\/[0-9a-f]{32}$/.test(response.url())) return;
    if (response.status() === 200) events = response.url();
    else refused++;
  });
  // Its session is made though nobody presents, and nothing says so but silence.
  const guest = await openPage(test, browser, `${server.url}/watch/meeting`, 'guest');
  await until(10_000, 'the guest of a meeting to wait', async () => await stateOf(guest) === 'waiting');
  await pause(EARLY_MS);
  test.check('the viewer who came too early is not live', await stateOf(viewer) !== 'live', await stateOf(viewer));
  await viewer.screenshot({ path: test.file('watch-early.png') });

  const presenter = await openPage(test, browser, `${server.url}/publish/talk#${token}`, 'presenter');
  test.check('the token does not stay in the address bar', !presenter.url().includes(token), presenter.url().replace(token, 'TOKEN'));
  await presenter.select('#quality', '360p30'); // what a busy machine without a graphics card can encode and decode
  const since = Date.now();
  await presenter.click('#go');
  await until(15_000, 'the presenter to be live', async () => await stateOf(presenter) === 'live');
  test.note(`the presenter was live ${Date.now() - since} ms after the click`);
  await firstPicture(test, () => statsOf(viewer), since);
  await until(5_000, 'the viewer to say live', async () => await stateOf(viewer) === 'live');
  await pause(SETTLE_MS);

  const seen = await measure(test, async () => (await statsOf(presenter)).video.framesSent, () => statsOf(viewer));
  checkCipher(test, 'viewer', seen);
  test.check('a guest of a meeting that has not begun still waits', await stateOf(guest) === 'waiting', await stateOf(guest));
  await guest.close();
  await presenter.screenshot({ path: test.file('publish.png') });
  await viewer.screenshot({ path: test.file('watch.png') });

  await presenter.click('#stop');
  await until(10_000, 'the presenter to be off', async () => await stateOf(presenter) !== 'live');
  await until(20_000, 'the viewer to notice', async () => await stateOf(viewer) !== 'live');
  test.check('after the end the viewer no longer says live', true, await stateOf(viewer));
  await presenter.click('#go');
  await until(20_000, 'the viewer to come back by itself', async () => await stateOf(viewer) === 'live');
  test.check('when the presenter returns the viewer is live again by itself', true);

  // Whoever waits for the event that the presenter is back, and gets no events any more, must find out all the same.
  await presenter.click('#stop');
  await until(20_000, 'the viewer to wait', async () => await stateOf(viewer) === 'waiting');
  const ended = await fetch(events, { method: 'DELETE' });
  test.check('its event stream was ended', ended.status === 200, `${ended.status}`);
  await until(10_000, 'the viewer to ask for it in vain', () => refused > 0);
  await presenter.click('#go');
  await until(20_000, 'the viewer to come back without events', async () => await stateOf(viewer) === 'live');
  test.check('without events, too, the viewer is live again by itself', true);
}

/** What the page says of itself. */
export const stateOf = (page) => page.evaluate(() => document.querySelector('#state')?.dataset.state);

/** What one element of a page says. */
export const textOf = (page, selector) => page.$eval(selector, ({ textContent }) => textContent.trim());

/** Can an element be seen? */
export const visible = (page, selector) => page.$eval(selector, (element) => element.checkVisibility());

const EARLY_MS = 2_000;
