// Runs the conformance suite and reads its report.

import { spawn } from 'node:child_process';
import path from 'node:path';

import { BINARY } from '../lib/server.mjs';

/** The suite: built next to the server, unless it is named. */
export const SUITE = process.env.TRIBUNE_CONFORMANCE_BIN ?? path.join(path.dirname(BINARY), 'tribune-conformance');

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
