// The scripts that the binary serves are those of `web/` without comments and indentation, and nothing else.

import fs from 'node:fs';
import path from 'node:path';

import esbuild from 'esbuild';

import { REPOSITORY } from '../lib/case.mjs';

/** Compares what both mean to a parser of the language: it, too, leaves out what only readers need. */
export async function checkScripts(test, server) {
  const names = fs.readdirSync(path.join(REPOSITORY, 'web')).filter((name) => name.endsWith('.js'));
  const others = [];
  for (const name of names) {
    const served = await (await fetch(`${server.url}/static/${name}`)).text();
    if (bare(served) !== bare(fs.readFileSync(path.join(REPOSITORY, 'web', name), 'utf8'))) others.push(name);
  }
  test.check('every script is served as it was written', names.length > 10 && others.length === 0, others.join(' ') || `${names.length} scripts`);
}

const bare = (script) => esbuild.transformSync(script, { minifyWhitespace: true }).code;
