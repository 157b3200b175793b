// Runs the conformance suite and reads its report.

import { spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';

import { BINARY } from '../lib/server.mjs';

/** The suite: built next to the server, unless it is named. */
export const SUITE = process.env.TRIBUNE_CONFORMANCE_BIN ?? path.join(path.dirname(BINARY), 'tribune-conformance');

/**
 * Seconds that something may take which takes `seconds` on a machine that has nothing else to do. Others on the machine
 * are no fault of the suite: what waits for the processor counts for as much as it waits.
 */
export function patience(seconds) {
  return seconds * Math.max(1, os.loadavg()[0] / os.availableParallelism());
}

/** The endpoints of two streams of a server, and all kinds of tokens for them. */
export async function target(server) {
  const tokens = async (stream, prefix) => ({
    [`${prefix}_TOKEN`]: await server.token(stream),
    [`${prefix}_WATCH_TOKEN`]: await server.token(stream, { right: 'watch' }),
    [`${prefix}_OTHER_TOKEN`]: await server.token(stream, { as: 'somebody-else' }),
  });
  return {
    words: [
      '--whip', server.whip('talk'), '--whep', server.whep('talk'),
      '--second-whip', server.whip('more'), '--second-whep', server.whep('more'),
    ],
    environment: { ...await tokens('talk', 'CONFORMANCE'), ...await tokens('more', 'CONFORMANCE_SECOND') },
  };
}

/**
 * Runs the suite to its end; when the case is over before that, it is ended. `during`: what is done meanwhile, with a
 * way to press Ctrl-C.
 */
export async function suite(test, words, environment = {}, during = null) {
  const child = spawn(SUITE, words, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  test.atEnd(() => { child.kill(); });
  const texts = ['', ''];
  [child.stdout, child.stderr].forEach((stream, index) => {
    stream.setEncoding('utf8');
    stream.on('data', (text) => { texts[index] += text; });
  });
  const began = Date.now();
  if (during) during(() => { child.kill('SIGINT'); }).catch((error) => { test.note(`meanwhile: ${error.message}`); });
  const status = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${SUITE}: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  const [stdout, stderr] = texts;
  return { status, stdout, stderr, seconds: (Date.now() - began) / 1000 };
}
