// What the suite owes to the server that it judges: it ends in time, leaves nothing behind after Ctrl-C, and floods
// only when it is told to.

import { Server } from '../lib/server.mjs';
import { until } from '../lib/case.mjs';
import { suite } from './suite.mjs';

export default async function manners(test) {
  const server = await Server.start(test);
  const token = { CONFORMANCE_TOKEN: await server.token('talk') };
  const target = ['--whip', server.whip('talk'), '--whep', server.whep('talk'), '--quiet', '--format', 'json'];
  const open = () => server.metric('tribune_sessions');

  const late = await suite(test, [...target, '--deadline', '3'], token);
  const { rows } = JSON.parse(late.stdout);
  const skipped = rows.filter(({ verdict, observed }) => verdict === 'skip' && observed.includes('deadline'));
  test.check('what is not judged by the deadline is skipped', skipped.length > rows.length / 2, `${skipped.length} of ${rows.length}`);
  test.check('a run with a deadline of 3 s is over soon', late.seconds < 30, `${late.seconds.toFixed(1)} s`);

  const stopped = await suite(test, target, token, async (press) => {
    await until(30_000, 'the suite to have a session', async () => await open() > 0);
    press();
  });
  test.check('Ctrl-C ends it with exit code 130', stopped.status === 130, `${stopped.status}`);
  await until(5_000, 'no session to be left', async () => await open() === 0);
  test.check('after Ctrl-C no session is left', await open() === 0);

  const only = ['--only', 'SEC-03,SEC-04'];
  const polite = JSON.parse((await suite(test, [...target, ...only], token)).stdout).rows;
  test.check('it does not flood unasked', polite.every(({ verdict }) => verdict === 'skip'));
  const rude = JSON.parse((await suite(test, [...target, ...only, '--abuse'], token)).stdout).rows;
  // Guesses from this machine's own address are not limited: it is where proxies are.
  const judged = rude.length > 0 && rude.every(({ verdict }) => ['pass', 'warn'].includes(verdict));
  test.check('it floods when asked', judged, rude.map((row) => `${row.clause} ${row.verdict}: ${row.observed}`).join('; '));
}
