// Pictures of the pages to run the show by, for people to look at: each state on a desk and on a phone, light and dark,
// and reports as they print. What is on is made up, so that it can be more and worse than any test does.

import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { checkAccess } from './axe.mjs';
import { launch, openPage } from './browser.mjs';
import { ALARMING, EMPTY, EVENTS, LONG_LOG, MANY, ONE, SHORT, report, stage } from './stage.mjs';

const SIZES = { desk: { width: 1280, height: 800 }, phone: { width: 390, height: 844, isMobile: true, hasTouch: true } };

/** name → what the API says, what it tells, which page, when it is there, what is done then. */
const STATES = {
  'admin-no-token': [EMPTY, [], '/admin', '#token-form:not([hidden])'],
  'admin-refused': [{ ...EMPTY, server: 401 }, [], '/admin#x', '#message:not([hidden])'],
  'admin-empty': [EMPTY, EVENTS.slice(0, 1), '/admin#x', '[data-state=live]'],
  'admin-one': [ONE, EVENTS, '/admin#x', '.stream', async (page) => {
    await page.click('.stream summary');
    await page.waitForSelector('.stream tbody tr');
    await page.click('.stream tbody tr:nth-child(2) .kick');
  }],
  'admin-link': [ONE, EVENTS, '/admin#x', '.stream', async (page) => {
    await page.type('#make-link [name=stream]', 'talk');
    await page.click('#make-link button');
    await page.waitForSelector('#qr img');
    await page.click('#links button');
  }],
  'admin-alarms': [ALARMING, EVENTS, '/admin#x', '.alarms li'],
  'admin-many': [MANY, LONG_LOG, '/admin#x', '.stream:nth-child(62)', async (page) => {
    await page.click('.stream [aria-expanded]');
    await page.click('.stream summary');
    await page.waitForSelector('.stream tbody tr');
  }],
  'report-long': [{ 'reports/r': report(2) }, [], '/admin/reports/r#x', '#report:not([hidden])'],
  'report-short': [{ 'reports/r': SHORT }, [], '/admin/reports/r#x', '#report:not([hidden])'],
  'report-gone': [{}, [], '/admin/reports/r#x', '#message:not([hidden])'],
};

export default async function shots(test) {
  const folder = path.resolve(process.env.SHOTS ?? test.file('shots'));
  mkdirSync(folder, { recursive: true });
  const server = await Server.start(test);
  const browser = await launch(test);
  const link = await makeLink(server);
  for (const [name, [answers, events, where, ready, act]] of Object.entries(STATES)) {
    const origin = await stage(test, server.url, { ...answers, 'POST links': link }, events);
    for (const [size, viewport] of Object.entries(SIZES)) {
      const page = await openPage(test, browser, 'about:blank', `${name}-${size}`);
      await page.setViewport(viewport);
      await page.goto(origin + where);
      await page.waitForSelector(ready, { timeout: 30_000 });
      if (events.length) await until(5_000, 'the events', () => page.$eval('#connection', (it) => it.dataset.state === 'live'));
      await act?.(page);
      for (const value of ['light', 'dark']) {
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
        await page.screenshot({ path: path.join(folder, `${name}-${size}-${value}.png`), fullPage: true });
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      test.check(`nothing sticks out: ${name}, ${size}`, wide <= viewport.width, wide);
      test.check(`text is text: ${name}, ${size}`,
        await page.evaluate(() => !document.title.includes('owned') && !document.querySelector('img[src=x], .log b')));
      if (size === 'desk') await checkAccess(test, page, name);
      if (size === 'desk' && name.startsWith('report')) await page.pdf({ path: path.join(folder, `${name}.pdf`), format: 'A4' });
      await page.browserContext().close();
    }
  }
  test.note(`the pictures are in ${folder}`);
}

/** A real one, for its QR code. */
async function makeLink(server) {
  const headers = { authorization: `Bearer ${await server.token()}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ stream: 'talk', right: 'watch', expires_in: 43_200 });
  return (await fetch(`${server.url}/api/v1/links`, { method: 'POST', headers, body })).json();
}
