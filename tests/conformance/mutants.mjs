// The suite judges wrong servers, made from ours: each must be found out, or its checks cannot fail. The table of clauses
// and mutants is kept beside the logs.

import fs from 'node:fs';

import { Server } from '../lib/server.mjs';
import { patience, suite, target } from './suite.mjs';

/** Seconds that a whole run may take on a machine that has nothing else to do. */
const LONGEST = 300;

export default async function mutants(test) {
  const environment = { TRIBUNE_STREAMS_WATCH: 'token', TRIBUNE_HTTP_WHEP_COUNTER_OFFER: 'on-codec-mismatch' };
  const server = await Server.start(test, { environment });
  const { words, environment: tokens } = await target(server);
  const { status, stdout, stderr, seconds } = await suite(test, ['--self-test', ...words], tokens);
  fs.writeFileSync(test.file('mutants.md'), stdout);
  fs.writeFileSync(test.file('progress.txt'), stderr);
  const [, surprises = ''] = stdout.split('\nOtherwise than expected:\n');
  for (const line of surprises.split('\n').filter((each) => each.startsWith('- '))) {
    test.check('it went as the table says', false, line.slice(2));
  }
  test.check('every mutant was found out', status === 0, stderr.trim().split('\n').at(-1) || `exit code ${status}`);
  test.note(stdout.trim().split('\n').at(-1));
  const longest = patience(LONGEST);
  test.check(`it took less than ${longest.toFixed(0)} s`, seconds < longest, `${seconds.toFixed(1)} s`);
}
