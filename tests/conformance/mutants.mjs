// The suite judges wrong servers, made from ours: each must be found out, or its checks cannot fail. The table of clauses
// and mutants is kept beside the logs.

import fs from 'node:fs';

import { Server } from '../lib/server.mjs';
import { suite } from './suite.mjs';

/** Seconds that a whole run may take. */
const LONGEST = 240;

export default async function mutants(test) {
  const server = await Server.start(test, { environment: { TRIBUNE_STREAMS_WATCH: 'token' } });
  const { status, stdout, stderr, seconds } = await suite(test, [
    '--self-test', '--whip', server.whip('talk'), '--whep', server.whep('talk'),
  ], {
    CONFORMANCE_TOKEN: await server.token('talk'),
    CONFORMANCE_WATCH_TOKEN: await server.token('talk', { right: 'watch' }),
    CONFORMANCE_OTHER_TOKEN: await server.token('talk', { as: 'somebody-else' }),
  });
  fs.writeFileSync(test.file('mutants.md'), stdout);
  fs.writeFileSync(test.file('progress.txt'), stderr);
  const [, surprises = ''] = stdout.split('\nOtherwise than expected:\n');
  for (const line of surprises.split('\n').filter((each) => each.startsWith('- '))) {
    test.check('it went as the table says', false, line.slice(2));
  }
  test.check('every mutant was found out', status === 0, stderr.trim().split('\n').at(-1) || `exit code ${status}`);
  test.note(stdout.trim().split('\n').at(-1));
  test.check(`it took less than ${LONGEST} s`, seconds < LONGEST, `${seconds.toFixed(1)} s`);
}
