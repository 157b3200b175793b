// The conformance suite against our own server: no clause is broken but those that are explained here. Its report is
// kept beside the logs.

import fs from 'node:fs';
import os from 'node:os';

import { Server } from '../lib/server.mjs';
import { suite } from './suite.mjs';

/** Seconds that a run may take on a machine that has nothing else to do: of all binding clauses, and with the rest. */
const LONGEST = { full: 90, quality: 180, interop: 90 };

/** Clauses that may be FAIL or WARN, each with its reason. */
const EXPLAINED = {
  'WHIP-4.4.3-01': 'a data channel alone does not keep a presenter off the air',
  'WHEP-PLAY-07': 'no MID is sent to viewers: the answer gives each section its SSRC',
};

export default async function conformance(test, { level = 'quality', strict = false } = {}) {
  // With tokens for viewers too, so that the clauses about them are judged at both endpoints.
  // The strict run judges counter-offers too, which are off by default.
  const strictly = { TRIBUNE_HTTP_ETAG_POLICY: 'strict', TRIBUNE_HTTP_WHEP_COUNTER_OFFER: 'on-codec-mismatch' };
  const environment = { TRIBUNE_STREAMS_WATCH: 'token', ...(strict ? strictly : {}) };
  const server = await Server.start(test, { environment });
  const { status, stdout, stderr, seconds } = await suite(test, [
    '--whip', server.whip('talk'), '--whep', server.whep('talk'), '--level', level, '--format', 'json', '--quiet',
    ...(strict ? ['--strict'] : []),
  ], {
    CONFORMANCE_TOKEN: await server.token('talk'),
    CONFORMANCE_WATCH_TOKEN: await server.token('talk', { right: 'watch' }),
    CONFORMANCE_OTHER_TOKEN: await server.token('talk', { as: 'somebody-else' }),
  });
  fs.writeFileSync(test.file('report.json'), stdout);
  test.check('the suite ran and found no broken clause', status === 0, stderr.trim() || `exit code ${status}`);

  const { rows, summary, badge } = JSON.parse(stdout);
  for (const row of rows.filter(({ verdict }) => ['fail', 'warn'].includes(verdict))) {
    const reason = EXPLAINED[row.clause];
    test.check(`${row.clause} (${row.endpoint}) holds or is explained`, reason !== undefined, reason ?? row.observed);
  }
  for (const row of rows.filter(({ verdict }) => ['legacy', 'skip'].includes(verdict))) {
    test.note(`${row.verdict.toUpperCase()} ${row.clause} (${row.endpoint}): ${row.observed}`);
  }
  test.note(`held: ${badge}`);
  test.check('most rows were really judged', summary.PASS >= rows.length * 0.6, `${summary.PASS} of ${rows.length}`);
  // Others on the machine are no fault of the suite: what waits for the processor counts for as much as it waits.
  const longest = LONGEST[level] * Math.max(1, os.loadavg()[0] / os.availableParallelism());
  test.check(`it took less than ${longest.toFixed(0)} s`, seconds < longest, `${seconds.toFixed(1)} s`);
}
