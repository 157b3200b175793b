// The curl transcripts in the README, executed line by line: each line works as printed. Every call of the API's
// description must be among them.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

import { REPOSITORY } from '../lib/case.mjs';
import { BINARY, Server } from '../lib/server.mjs';

/** The server that the README's first command starts, and the binary that it builds. */
const PRINTED = 'http://localhost:8080';
const PRINTED_BINARY = 'target/release/tribune';

export default async function curl(test) {
  const server = await Server.start(test);
  const steps = transcript(fs.readFileSync(path.join(REPOSITORY, 'README.md'), 'utf8'));
  test.check('the README has a transcript', steps.length > 0, `${steps.length} commands`);
  for (const call of calls()) test.check(`an example of ${call.name}`, steps.some(({ command }) => call.pattern.test(command)));

  // One shell, so that a variable set on one line is there on the next; a rare word parts the outputs.
  const parting = '=-=-= next =-=-=';
  const script = steps.map(({ command }) => {
    const here = command.replaceAll(PRINTED, server.url).replaceAll(PRINTED_BINARY, BINARY);
    return `${here}\necho; echo '${parting}'\n`;
  }).join('');
  const { stdout, stderr, status } = spawnSync('bash', ['-c', script], {
    cwd: REPOSITORY,
    env: { ...process.env, TRIBUNE_STATE_DIR: server.state },
    encoding: 'utf8',
    timeout: 20_000,
  });
  fs.writeFileSync(test.file('curl.log'), `${stdout}\n${stderr}`);
  test.check('the shell ran it all', status === 0, stderr.trim());

  const outputs = stdout.split(parting);
  steps.forEach(({ command, printed }, index) => {
    const missing = firstMissing(printed, outputs[index] ?? '');
    test.check(`$ ${command}`, missing === undefined, missing === undefined ? printed[0] ?? 'nothing printed' : `not printed: ${missing}`);
  });
}

/** Every method and path of the API's description, with what a curl command of it looks like. */
function calls() {
  const { paths } = JSON.parse(fs.readFileSync(path.join(REPOSITORY, 'src/http/api/openapi.json'), 'utf8'));
  const all = Object.entries(paths).flatMap(([at, methods]) => Object.keys(methods).map((method) => [method.toUpperCase(), at]));
  const options = { GET: '(?!.* (-X|-d|--data))', POST: '(?=.* (-d|--data))', DELETE: '(?=.* -X DELETE)' };
  return all.map(([method, at]) => {
    // A session's own path stands in one variable.
    const written = at.replace('/session/{secret}', '\\$SESSION').replace(/\{\w+\}/g, '[^/ ?]+');
    return { name: `${method} ${at}`, pattern: new RegExp(`^${options[method]}curl .*${PRINTED}${written}(\\?[^ "]*)?(["| ]|$)`) };
  });
}

/** The commands of the README's `console` blocks that talk to the server, each with the lines printed below it. */
function transcript(readme) {
  const steps = [];
  for (const [, block] of readme.matchAll(/^```console\n(.*?)^```$/gms)) {
    if (!block.includes(PRINTED)) continue;
    for (const line of block.split('\n')) {
      if (line.startsWith('$ ')) steps.push({ command: line.slice(2), printed: [] });
      else if (line.startsWith('> ')) steps.at(-1).command += `\n${line.slice(2)}`;
      else if (line !== '') steps.at(-1).printed.push(line);
    }
  }
  return steps;
}

/** Printed lines must come in this order, others may stand between them; `…` stands for anything. */
function firstMissing(printed, output) {
  const lines = output.split('\n').map((line) => line.replace(/\r$/, ''));
  return printed.filter((line) => line !== '…').find((wanted) => {
    const pattern = new RegExp(`^${wanted.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}$`);
    const at = lines.findIndex((line) => pattern.test(line));
    if (at >= 0) lines.splice(0, at + 1);
    return at < 0;
  });
}
