// A receiver of webhooks that believes nothing: it checks every signature with the lines that the README gives to others.

import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { REPOSITORY, until } from './case.mjs';

export class Hooks {
  /** All that came and is genuine, in order: `{ type, stream, data, … }`. */
  events = [];
  #forged = [];
  #test;

  /** Listens on a free port of the loopback until the case is over. */
  static async start(test) {
    const hooks = new Hooks();
    hooks.#test = test;
    hooks.secret = `whsec_${randomBytes(32).toString('base64')}`;
    const isGenuine = await checker(test);
    const server = http.createServer(async (request, response) => {
      let body = '';
      for await (const piece of request) body += piece;
      // The first event is refused once: it must come again, and before all others.
      const refuse = hooks.events.length === 0 && !hooks.refused;
      hooks.refused ||= body;
      if (!isGenuine(request.headers, body, hooks.secret)) hooks.#forged.push(body);
      else if (!refuse) hooks.events.push(JSON.parse(body));
      response.writeHead(refuse ? 503 : 204, refuse ? { 'retry-after': '1' } : {}).end();
    });
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    test.atEnd(() => { server.closeAllConnections(); server.close(); });
    hooks.url = `http://127.0.0.1:${server.address().port}/hook`;
    return hooks;
  }

  /** The server's environment that leads here. */
  environment(events = ['stream', 'alarm', 'report']) {
    return { TRIBUNE_WEBHOOKS: `[{ url = "${this.url}", secret = "${this.secret}", events = ${JSON.stringify(events)} }]` };
  }

  /** Waits for one of this type, and returns it. */
  next(type, milliseconds) {
    return until(milliseconds, `the webhook ${type}`, () => this.events.find((event) => event.type === type));
  }

  /** States what must hold in the end: these types came, in this order; others may stand between them. */
  check(types) {
    const came = this.events.map((event) => event.type);
    let from = 0;
    const missing = types.find((type) => { from = came.indexOf(type, from) + 1; return from === 0; });
    this.#test.check('webhooks tell it in order', missing === undefined, came.join(', '));
    this.#test.check('each with a good signature', this.#forged.length === 0, this.#forged[0]);
    this.#test.check('each once', new Set(this.events.map((event) => event.id)).size === came.length);
    this.#test.check('what was refused came again, first', this.refused !== undefined && JSON.parse(this.refused).id === this.events[0]?.id);
  }
}

/** The function `isGenuine` as it stands in the README; also proved to refuse. */
async function checker(test) {
  const readme = fs.readFileSync(path.join(REPOSITORY, 'README.md'), 'utf8');
  const block = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code).find((code) => code.includes('isGenuine'));
  const file = test.file('verify.mjs');
  fs.writeFileSync(file, `${block}\nexport { isGenuine };\n`);
  const { isGenuine } = await import(pathToFileURL(file));
  const headers = { 'webhook-id': 'msg_a', 'webhook-timestamp': String(Math.floor(Date.now() / 1000)), 'webhook-signature': 'v1,AAAA' };
  test.check('the README’s lines refuse a forgery', !isGenuine(headers, '{}', `whsec_${'A'.repeat(44)}`));
  return isGenuine;
}
