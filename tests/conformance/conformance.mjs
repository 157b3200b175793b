// The conformance suite against our own server: no binding clause may be broken. Its report is kept beside the logs.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

import { BINARY, Server } from '../lib/server.mjs';

/** The suite: built next to the server, unless it is named. */
const SUITE = process.env.TRIBUNE_CONFORMANCE_BIN ?? path.join(path.dirname(BINARY), 'tribune-conformance');

/** Seconds that a whole run may take. */
const LONGEST = 90;

export default async function conformance(test) {
  // With tokens for viewers too, so that the clauses about them are judged at both endpoints.
  const server = await Server.start(test, { environment: { TRIBUNE_STREAMS_WATCH: 'token' } });
  const began = Date.now();
  const { status, stdout, stderr } = await suite(test, [
    '--whip', server.whip('talk'), '--whep', server.whep('talk'), '--level', 'full', '--format', 'json', '--quiet',
  ], {
    CONFORMANCE_TOKEN: await server.token('talk'),
    CONFORMANCE_WATCH_TOKEN: await server.token('talk', { right: 'watch' }),
  });
  const seconds = (Date.now() - began) / 1000;
  fs.writeFileSync(test.file('report.json'), stdout);
  test.check('the suite ran and found no broken clause', status === 0, stderr.trim() || `exit code ${status}`);

  const { summary, rows } = JSON.parse(stdout);
  for (const row of rows.filter(({ verdict }) => ['fail', 'warn', 'legacy', 'skip'].includes(verdict))) {
    test.note(`${row.verdict.toUpperCase()} ${row.clause} (${row.endpoint}): ${row.observed}`);
  }
  const score = Object.entries(summary).filter(([, count]) => count > 0).map(([verdict, count]) => `${count} ${verdict}`);
  test.note(`score: ${score.join(', ')} of ${rows.length}`);
  test.check('most clauses were really judged', summary.PASS >= rows.length * 0.6, `${summary.PASS} of ${rows.length}`);
  test.check(`it took less than ${LONGEST} s`, seconds < LONGEST, `${seconds.toFixed(1)} s`);
}

/** Runs the suite to its end; when the case is over before that, it is ended. */
async function suite(test, words, environment) {
  const child = spawn(SUITE, words, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  test.atEnd(() => { child.kill(); });
  const texts = ['', ''];
  [child.stdout, child.stderr].forEach((stream, index) => {
    stream.setEncoding('utf8');
    stream.on('data', (text) => { texts[index] += text; });
  });
  const status = await new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${SUITE}: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  const [stdout, stderr] = texts;
  return { status, stdout, stderr };
}
