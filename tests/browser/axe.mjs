// What axe-core, which knows the rules for people with screen readers and weak eyes, finds in a page.

import fs from 'node:fs';
import { createRequire } from 'node:module';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Nothing serious may be found in the page as it is now, in light and in dark colours. */
export async function checkAccess(test, page, name) {
  await page.evaluate(AXE); // a script element would be against the page's policy
  for (const value of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
    const found = await page.evaluate(async () => {
      const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
      return violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.map(({ target }) => target.join(' ')) }));
    });
    const serious = found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    test.check(`axe finds nothing serious: ${name}, ${value}`, serious.length === 0,
      serious.map(({ id, where }) => `${id} at ${where.join(', ')}`).join('; ') || undefined);
    for (const { id, impact, where } of found.filter((each) => !serious.includes(each))) {
      test.note(`axe, ${impact}: ${id} at ${where.join(', ')}`);
    }
  }
  await page.emulateMediaFeatures([]);
}

/** Remembers what a page asks of other hosts than `origins`, what its policy forbids, and addresses with a token; `check` judges it. */
export function watchManners(test, page, ...origins) {
  const [foreign, forbidden, told, weights, waiting] = [new Set(), [], new Set(), {}, []];
  page.on('request', (request) => {
    if (!/^https?:/.test(request.url())) return;
    const { origin, pathname, search } = new URL(request.url());
    if (!origins.includes(origin)) foreign.add(origin);
    if (TOKEN.test(pathname + search)) told.add(pathname);
  });
  page.on('console', (message) => {
    if (/Content.Security.Policy/i.test(message.text())) forbidden.push(message.text());
  });
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    if (!/^\/(static|watch|embed|publish|favicon)/.test(pathname)) return;
    waiting.push(response.buffer().then((body) => { weights[pathname] = body.length; }).catch(() => {}));
  });
  return {
    check(name) {
      test.check(`${name} asks no other host`, foreign.size === 0, [...foreign].join(' ') || undefined);
      test.check(`${name} does nothing that its policy forbids`, forbidden.length === 0, forbidden[0]);
      test.check(`${name} asks for no address with a token in it`, told.size === 0, [...told].join(' ') || undefined);
    },
    /** Bytes of what was loaded whose path ends so. */
    async weight(ending = '') {
      await Promise.all(waiting);
      return Object.entries(weights).filter(([path]) => path.endsWith(ending)).reduce((sum, [, bytes]) => sum + bytes, 0);
    },
  };
}

/** The claims of a token: the beginning of a JSON object in base64. */
const TOKEN = /eyJ[\w-]{20}/;
