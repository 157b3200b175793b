// aiortc, an implementation of its own in Python, presents and watches.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { CACHE } from '../lib/case.mjs';
import { LEAST_SHARE } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';

const CLIENT = path.join(path.dirname(fileURLToPath(import.meta.url)), 'aiortc_client.py');

export default async function aiortc(test, { codec }) {
  const server = await Server.start(test);
  const python = process.env.TEST_PYTHON ?? path.join(CACHE, 'venv', 'bin', 'python');
  const counted = await json(test, python, [
    CLIENT, '--whip', server.whip('talk'), '--whep', server.whep('talk'), '--token', await server.token('talk'), '--codec', codec,
  ]);

  const { framesSent: sent, framesDecoded: decoded, size } = counted;
  test.note(`first picture after ${counted.firstPictureSeconds} s`);
  test.check('the presenter sent pictures', sent > 0, sent);
  test.check(`the viewer decoded more than ${LEAST_SHARE * 100} % of them`, decoded > LEAST_SHARE * sent, `${decoded} of ${sent}`);
  test.check('the pictures have the size that was sent', size?.join('×') === '640×360', size?.join('×'));
  test.check('the viewer heard something', counted.audioEnergy > 0, counted.audioEnergy.toExponential(2));
  test.check('the viewer lost no packet', counted.viewer.packetsLost === 0, JSON.stringify(counted.viewer));
  test.check('both DELETEs say 200', counted.deleted.every((status) => status === 200), counted.deleted.join(' '));
}

/** Runs a program that prints one JSON object on its last line. */
async function json(test, program, words) {
  const log = fs.createWriteStream(test.file('aiortc.log'));
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  test.atEnd(() => child.kill('SIGKILL'));
  child.stderr.pipe(log);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { output += text; });
  const how = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  if (how !== 0) throw new Error(`${path.basename(words[0])} ended with ${how}: ${output}`);
  return JSON.parse(output.trim().split('\n').at(-1));
}
