// One server under test: own ports, own state directory, own log; ended by the process handle that started it.

import { execFile, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { REPOSITORY, until } from './case.mjs';

const run = promisify(execFile);

/** The binary that is judged. */
export const BINARY = process.env.TRIBUNE_BIN
  ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(REPOSITORY, 'target'), 'release', 'tribune');

export class Server {
  /**
   * Starts the binary and waits until `/readyz` says 200.
   * @param {import('./case.mjs').Case} test where logs go and who ends it
   * @param {{ media?: string, environment?: Record<string, string> }} options `media`: address (no port) of the media
   *   socket; the port is the HTTP port's number, as by default
   */
  static async start(test, { media = process.env.TRIBUNE_TEST_ADDRESS ?? '127.0.0.1', environment = {} } = {}) {
    const server = new Server();
    server.state = fs.mkdtempSync(path.join(os.tmpdir(), 'tribune-test-'));
    test.atEnd(() => fs.rmSync(server.state, { recursive: true, force: true }));
    const port = await freePort(media);
    server.address = `127.0.0.1:${port}`;
    server.url = `http://${server.address}`;
    server.environment = { ...process.env, TRIBUNE_STATE_DIR: server.state, ...environment };
    server.logFile = test.file('server.log');
    server.words = ['serve', '--http', server.address, '--media', `${media}:${port}`];
    test.atEnd(() => server.judgeAndStop(test));
    await server.run();
    return server;
  }

  /** Starts the process, the first time or again, and waits until it is ready. */
  async run() {
    const log = fs.openSync(this.logFile, 'a');
    this.child = spawn(BINARY, this.words, {
      cwd: this.state, // so that no config.toml of the work tree is picked up
      env: this.environment,
      stdio: ['ignore', log, log],
    });
    fs.closeSync(log);
    const { child } = this;
    this.how = undefined;
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(`not started: ${error.message}`));
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    this.ended.then((how) => { if (this.child === child) this.how = how; });
    await until(10_000, `the server's /readyz to say 200`, async () => {
      if (this.how) throw new Error(`the server ended by itself: ${this.how}`);
      const answer = await fetch(`${this.url}/readyz`).catch(() => null);
      return answer?.status === 200;
    });
  }

  /** Sends the process a signal and waits until it is gone. Resolves with how it ended. */
  end(signal) {
    this.child.kill(signal);
    return this.ended;
  }

  /** @returns the endpoint URL for presenters */
  whip(stream) { return `${this.url}/whip/${stream}`; }

  /** @returns the endpoint URL for viewers */
  whep(stream) { return `${this.url}/whep/${stream}`; }

  /** Makes a token with the server's own command, without a stream an admin's; `right`: `publish` or `watch`; `as`: another identity. */
  async token(stream, { right = 'publish', as } = {}) {
    const what = stream ? ['--stream', stream, `--${right}`] : ['--admin'];
    const words = ['token', ...what, '--for', '1h', ...(as ? ['--as', as] : [])];
    const { stdout } = await run(BINARY, words, { cwd: this.state, env: this.environment, timeout: 10_000 });
    const token = stdout.split('\n')[0].trim();
    if (!/^[A-Za-z0-9._~+/=-]+$/.test(token)) throw new Error(`no token on the first line of: ${stdout}`);
    return token;
  }

  /** The sum over all samples of one metric whose labels contain `labels`. */
  async metric(name, labels = '') {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const samples = text.split('\n').filter((line) => line.startsWith(name)
      && (line[name.length] === '{' || line[name.length] === ' ') && line.includes(labels));
    if (samples.length === 0) throw new Error(`/metrics has no ${name} ${labels}`);
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** What the kernel counts for the process: CPU seconds so far, resident bytes, threads. */
  usage() {
    const stat = fs.readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // field 3 of proc(5) onwards
    const [utime, stime, threads, residentPages] = [11, 12, 17, 21].map((index) => Number(fields[index]));
    return { cpuSeconds: (utime + stime) / 100, residentBytes: residentPages * 4096, threads };
  }

  async judgeAndStop(test) {
    test.check('the server was alive to the end', this.how === undefined, this.how);
    if (this.how === undefined) {
      this.child.kill('SIGTERM');
      // A drain may take its time; a second signal means at once.
      const urge = setTimeout(() => this.child.kill('SIGTERM'), 2_000);
      const kill = setTimeout(() => this.child.kill('SIGKILL'), 6_000);
      await this.ended;
      clearTimeout(urge);
      clearTimeout(kill);
      test.check('it ended when asked to', this.how !== 'SIGKILL', this.how);
    }
    const panics = fs.readFileSync(this.logFile, 'utf8').split('\n').filter((line) => line.includes('panicked at'));
    test.check('it panicked nowhere', panics.length === 0, panics[0]);
  }
}

/** A number that is free for TCP on loopback and for UDP on the media address. */
async function freePort(media) {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const tcp = net.createServer();
    await new Promise((resolve, reject) => { tcp.once('error', reject); tcp.listen(0, '127.0.0.1', resolve); });
    const { port } = tcp.address();
    const udp = dgram.createSocket(media.includes(':') ? 'udp6' : 'udp4');
    const free = await new Promise((resolve) => {
      udp.once('error', () => resolve(false));
      udp.bind(port, media, () => resolve(true));
    });
    await new Promise((resolve) => { tcp.close(resolve); });
    udp.close();
    if (free) return port;
  }
  throw new Error(`no number is free for TCP on 127.0.0.1 and UDP on ${media}`);
}
