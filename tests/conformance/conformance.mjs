// The conformance suite against our own server: no clause is broken but those that are explained here. Its report is
// kept beside the logs.

import fs from 'node:fs';

import { Server } from '../lib/server.mjs';
import { patience, suite, target } from './suite.mjs';

/** Seconds that a run may take on a machine that has nothing else to do. */
const LONGEST = 90;

/** Clauses that may be FAIL or WARN, each with its reason. */
const EXPLAINED = {
  'WHEP-PLAY-07': 'no MID is sent to viewers: the answer gives each section its SSRC',
};

/** What the suite's README says of our server. */
const README = fs.readFileSync(new URL('../../conformance/README.md', import.meta.url), 'utf8');

/** `MUST/SHALL | 0 | 0 | 0` for each class of keywords: what is broken, FAIL, WARN and LEGACY. */
function scores(rows) {
  const classes = { MUST: 'MUST/SHALL', SHALL: 'MUST/SHALL', SHOULD: 'SHOULD', MAY: 'MAY', GOOD: 'GOOD' };
  const counts = new Map();
  for (const { keyword, verdict } of rows) {
    const name = classes[keyword.split(' ')[0]];
    const count = counts.get(name) ?? { fail: 0, warn: 0, legacy: 0 };
    if (verdict in count) count[verdict] += 1;
    if (name) counts.set(name, count);
  }
  return [...counts].map(([name, { fail, warn, legacy }]) => `${name} | ${fail} | ${warn} | ${legacy}`);
}

export default async function conformance(test, { level = 'quality', strict = false } = {}) {
  // With tokens for viewers too, so that the clauses about them are judged at both endpoints.
  // The strict run judges counter-offers too, which are off by default.
  const strictly = { TRIBUNE_HTTP_ETAG_POLICY: 'strict', TRIBUNE_HTTP_WHEP_COUNTER_OFFER: 'on-codec-mismatch' };
  const environment = { TRIBUNE_STREAMS_WATCH: 'token', ...(strict ? strictly : {}) };
  const server = await Server.start(test, { environment });
  const { words, environment: tokens } = await target(server);
  const { status, stdout, stderr, seconds } = await suite(test, [
    ...words, '--level', level, '--format', 'json', '--quiet', ...(strict ? ['--strict'] : []),
  ], tokens);
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
  if (level !== 'interop') scores(rows).forEach((score) => {
    test.check(`conformance/README.md says: ${score}`, README.includes(`| ${score} |`));
  });
  test.check('most rows were really judged', summary.PASS >= rows.length * 0.6, `${summary.PASS} of ${rows.length}`);
  const longest = patience(LONGEST);
  test.check(`it took less than ${longest.toFixed(0)} s`, seconds < longest, `${seconds.toFixed(1)} s`);
}
