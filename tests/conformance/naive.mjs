// The suite judges somebody else's server: a WHIP stub as one writes it in an afternoon. What comes out must be a
// report that its author can use, not a crash.

import http from 'node:http';

import { suite } from './suite.mjs';

/** An answer that has the look of one; nobody listens at its candidate. */
const ANSWER = [
  'v=0', 'o=- 0 0 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1',
  ...['audio 9 UDP/TLS/RTP/SAVPF 111', 'video 9 UDP/TLS/RTP/SAVPF 96'].flatMap((media, mid) => [
    `m=${media}`, 'c=IN IP4 0.0.0.0', `a=mid:${mid}`, 'a=recvonly', 'a=rtcp-mux', 'a=ice-ufrag:naive',
    'a=ice-pwd:0123456789abcdefghijkl', `a=fingerprint:sha-256 ${Array(32).fill('AB').join(':')}`, 'a=setup:passive',
    'a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host',
  ]), '',
].join('\n');

/** Every POST is a session, DELETE always works, all else is not there. */
function stub(request, response) {
  request.resume();
  if (request.method === 'POST') {
    response.writeHead(201, { 'Content-Type': 'application/sdp', Location: '/resource/1' }).end(ANSWER);
  } else if (request.method === 'DELETE') {
    response.writeHead(204).end();
  } else {
    response.writeHead(404).end('not found');
  }
}

export default async function naive(test) {
  const server = http.createServer(stub);
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  test.atEnd(() => { server.close(); server.closeAllConnections(); });
  const url = `http://127.0.0.1:${server.address().port}/whip`;

  const { status, stdout, stderr, seconds } = await suite(test, [
    '--whip', url, '--level', 'core', '--format', 'json', '--quiet', '--deadline', '60',
  ]);

  test.check('the exit code says that clauses are broken', status === 1, `${status}: ${stderr.trim()}`);
  const { rows, summary } = JSON.parse(stdout);
  const verdict = (clause) => rows.find((row) => row.clause === clause)?.verdict;
  for (const clause of ['W-4.2-01', 'W-4.2-02', 'W-4.2-03']) {
    test.check(`${clause} holds`, verdict(clause) === 'pass', verdict(clause));
  }
  for (const clause of ['W-4.1-01', 'W-4.2-04', 'W-4.2-06', 'W-4.2-07', 'W-4.2-09', 'W-4.2-40', 'CORS-01', 'ICE-01']) {
    test.check(`${clause} is found broken`, verdict(clause) === 'fail', verdict(clause));
  }
  const evidence = rows.filter((row) => row.verdict === 'fail');
  test.check('each broken clause says what was expected and what came',
    evidence.every((row) => row.expected && row.observed && row.source), `${evidence.length} rows`);
  test.check('a good part of them says how to see it again', evidence.filter((row) => row.curl).length >= evidence.length / 4);
  test.note(Object.entries(summary).filter(([, n]) => n > 0).map(([name, n]) => `${n} ${name}`).join(', '));
  test.check('the report came in a minute', seconds < 65, `${seconds.toFixed(1)} s`);
}
