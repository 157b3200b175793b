// Starts real browsers with a made-up camera and microphone. Both are driven by puppeteer-core, so that a case is
// written once.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import puppeteer from 'puppeteer-core';

import { serveSite } from './site.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const PROBE = fs.readFileSync(path.join(HERE, 'probe.js'), 'utf8');

/**
 * A headless browser that ends with the case. `kind`: `chromium` or `firefox`; `loopback`: Chromium may send media from
 * 127.0.0.1; `flags`: more of the browser's, which win over those that are always there; `preferences`: more of Firefox's;
 * `executable`: what starts Chromium.
 */
export async function launch(test, kind = 'chromium', { loopback = true, flags = [], preferences = {}, executable } = {}) {
  const browser = await LAUNCHERS[kind]({ loopback, flags, preferences, executable });
  test.atEnd(() => browser.close());
  test.note(`${await browser.version()}`);
  return browser;
}

/** A page in a browser context (cookies, permissions, window) of its own. */
export async function openPage(test, browser, url, name) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const log = fs.createWriteStream(test.file(`${name}-page.log`));
  page.on('console', (message) => log.write(`${message.type()}: ${message.text()}\n`));
  page.on('pageerror', (error) => log.write(`uncaught: ${error.message}\n`));
  await page.evaluateOnNewDocument(PROBE);
  await page.goto(url);
  return page;
}

/** Pages with the tests' own client in them. */
export class Clients {
  static async start(test, browser) {
    const clients = new Clients();
    clients.test = test;
    clients.browser = browser;
    clients.origin = await serveSite(test, {
      '/': path.join(HERE, 'client.html'),
      '/client.js': path.join(HERE, 'client.js'),
    });
    return clients;
  }

  /** Opens a page that does nothing yet. */
  idle(name) { return openPage(this.test, this.browser, this.origin, name); }

  /** Opens a page and presents from it. */
  async publish(name, options) {
    const page = await openPage(this.test, this.browser, this.origin, name);
    await page.evaluate((given) => window.client.publish(given), options);
    return page;
  }

  /** Opens a page and watches in it. */
  async play(name, options) {
    const page = await openPage(this.test, this.browser, this.origin, name);
    await page.evaluate((given) => window.client.play(given), options);
    return page;
  }
}

/** Runs code in Firefox's own window, which may do all; it needs the flag `--remote-allow-system-access`. */
export async function inFirefoxItself(browser, expression) {
  const { result: { contexts } } = await browser.connection.send('browsingContext.getTree', { 'moz:scope': 'chrome', maxDepth: 0 });
  const { context } = contexts.find(({ url }) => url.endsWith('/browser.xhtml'));
  const { result } = await browser.connection.send('script.evaluate', { expression, awaitPromise: true, target: { context } });
  if (result.type !== 'success') throw new Error(`Firefox says: ${result.exceptionDetails?.text}`);
}

/** The statistics of a page's newest connection. */
export const statsOf = (page) => page.evaluate(() => window.probe.stats());

/** Ends a page's session; the server must say 200. */
export async function hangUp(test, name, page) {
  const status = await page.evaluate(() => window.client.hangUp());
  test.check(`DELETE of the ${name}'s session says 200`, status === 200, status);
}

const LAUNCHERS = {
  chromium: ({ loopback, flags, executable }) => puppeteer.launch({
    executablePath: executable ?? process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    pipe: true, // it ends with the process that reads the other end
    args: [
      '--no-sandbox', // it refuses to run as root with one
      '--disable-gpu',
      '--no-first-run',
      '--no-pings',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-domain-reliability',
      '--disable-sync',
      '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream',
      '--autoplay-policy=no-user-gesture-required',
      ...(loopback ? ['--allow-loopback-in-peer-connection'] : []),
      // Plain host candidates: there is no multicast DNS between test processes.
      '--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter,DialMediaRouteProvider',
      ...flags,
    ],
  }),
  firefox: ({ flags, preferences }) => puppeteer.launch({
    browser: 'firefox',
    args: flags,
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'media.peerconnection.ice.obfuscate_host_addresses': false,
      // Nothing but the test leaves this browser.
      'media.gmp-manager.updateEnabled': false,
      'app.update.auto': false,
      'datareporting.policy.dataSubmissionEnabled': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'services.settings.server': 'data:,',
      ...preferences,
    },
  }),
};
