// One end-to-end case: its facts, its files, and what it must end when it is over, whatever happened.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The work tree. */
export const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What tests keep between runs; not in version control. */
export const CACHE = path.join(REPOSITORY, 'tests', '.cache');

export class Case {
  #failed = [];
  #checked = 0;
  #endings = [];
  #started = Date.now();

  constructor(name) {
    this.name = name;
    this.directory = path.join(CACHE, 'runs', name);
    fs.rmSync(this.directory, { recursive: true, force: true });
    fs.mkdirSync(this.directory, { recursive: true });
  }

  /** A file of this case, kept until its next run. */
  file(name) { return path.join(this.directory, name); }

  /** States a fact that must hold; the case goes on either way, so that one run tells all. */
  check(fact, holds, detail) {
    this.#checked += 1;
    if (!holds) this.#failed.push(fact);
    this.note(`${holds ? 'ok' : 'NOT OK'}: ${fact}${detail === undefined ? '' : ` (${detail})`}`);
  }

  /** Says something that is no criterion. */
  note(text) { console.log(`      ${((Date.now() - this.#started) / 1000).toFixed(1).padStart(5)} s  ${text}`); }

  /** Runs `action` when the case is over; the last one asked for runs first. */
  atEnd(action) { this.#endings.push(action); }

  /** Ends what was started; an ending that fails does not keep the others from running. */
  async end() {
    while (this.#endings.length > 0) {
      try {
        await this.#endings.pop()();
      } catch (error) {
        this.check('it was cleared away', false, error.message);
      }
    }
  }

  /** Runs `body`, clears away, prints the logs of a failure. Resolves to `true` when every fact held. */
  async run(body) {
    try {
      await body(this);
    } catch (error) {
      this.check('it ran to its end', false, error.stack ?? error);
    }
    await this.end();
    // A case that checks nothing proves nothing.
    if (this.#checked === 0) this.check('it checked something', false);
    if (this.#failed.length > 0) this.#printLogs();
    return this.#failed.length === 0;
  }

  #printLogs() {
    for (const name of fs.readdirSync(this.directory).filter((entry) => entry.endsWith('.log'))) {
      const lines = fs.readFileSync(this.file(name), 'utf8').trimEnd().split('\n');
      console.log(`      --- ${name}: the last ${Math.min(lines.length, TAIL_LINES)} of ${lines.length} lines`);
      for (const line of lines.slice(-TAIL_LINES)) console.log(`      | ${line.slice(0, 300)}`);
    }
  }
}

/** Waits. Only for what has to last a certain time; to wait for something, use `until`. */
export const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** Asks `condition` again and again until it gives something true, and returns that. */
export async function until(milliseconds, what, condition) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${milliseconds / 1000} s for ${what}`);
    await pause(50);
  }
}

const TAIL_LINES = 40;
