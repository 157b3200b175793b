// FFmpeg 8 as a presenter: H264 and Opus by its WHIP muxer.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';

import { CACHE } from '../lib/case.mjs';

/** The FFmpeg that `tests/run` installs (the path is written there by it). */
const ffmpeg = () => process.env.FFMPEG ?? fs.readFileSync(`${CACHE}/ffmpeg.path`, 'utf8').trim();

export class Ffmpeg {
  /**
   * Starts to present a test picture and a tone; ends with the case. `key`: pictures from one key frame to the next;
   * `numbered`: pictures say which one they are, in black and white blocks;
   * `silent`: instead of the tone; `shuffled`: times of pictures go back and forth as with B-frames, which its muxer refuses.
   */
  static start(test, name, { url, token, size = '640x360', bitrate = '1M', constant = false, key = 30, numbered = false, silent = false, shuffled = false }) {
    const publisher = new Ffmpeg();
    publisher.framesSent = 0;
    const log = fs.openSync(test.file(`${name}.log`), 'w');
    publisher.child = spawn(ffmpeg(), [
      '-hide_banner', '-nostdin', '-loglevel', 'info', '-progress', 'pipe:1', '-stats_period', '0.1',
      '-re', '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=30${numbered ? `,${numbers()}` : ''}`,
      '-re', '-f', 'lavfi', '-i', silent ? 'anullsrc=r=48000:cl=stereo' : 'sine=frequency=440:sample_rate=48000',
      // Its muxer wants no B-frames; it answers no key frame request, hence by default one a second.
      '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p',
      '-bf', '0', '-g', `${key}`, '-keyint_min', `${key}`, '-sc_threshold', '0', '-b:v', bitrate, '-maxrate', bitrate, '-bufsize', bitrate,
      ...(constant ? ['-x264-params', 'nal-hrd=cbr:force-cfr=1'] : []),
      ...(shuffled ? ['-bsf:v', `setts=pts=PTS+if(eq(mod(N\\,3)\\,1)\\,2/30/TB\\,0)`] : []),
      '-c:a', 'libopus', '-ar', '48000', '-ac', '2', '-b:a', '64k',
      '-authorization', token, '-f', 'whip', url,
    ], { stdio: ['ignore', 'pipe', log] });
    fs.closeSync(log);
    let rest = '';
    publisher.child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) if (line.startsWith('frame=')) publisher.framesSent = Number(line.slice('frame='.length));
    });
    publisher.ended = new Promise((resolve) => {
      publisher.child.once('error', (error) => resolve(`not started: ${error.message}`));
      publisher.child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    publisher.ended.then((how) => { publisher.how = how; });
    test.atEnd(() => publisher.stop());
    return publisher;
  }

  /** Asks it to end, so that it sends its DELETE; insists after 3 s. */
  async stop() {
    if (this.how !== undefined) return;
    this.child.kill('SIGTERM');
    const kill = setTimeout(() => this.child.kill('SIGKILL'), 3_000);
    await this.ended;
    clearTimeout(kill);
  }
}

/** So many seconds of numbered pictures as H264 with start codes, `key` pictures from one key frame to the next. */
export async function encoded({ seconds, key }) {
  const { stdout } = await promisify(execFile)(ffmpeg(), [
    '-hide_banner', '-nostdin', '-loglevel', 'error', '-f', 'lavfi', '-i', `testsrc2=size=640x360:rate=30:duration=${seconds},${numbers()}`,
    '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p',
    '-bf', '0', '-g', `${key}`, '-keyint_min', `${key}`, '-sc_threshold', '0', '-b:v', '1M', '-f', 'h264', 'pipe:1',
  ], { encoding: 'buffer', maxBuffer: 64 << 20 });
  return stdout;
}

/** Filters that write the number of a picture as 16 blocks of 32 × 32, the lowest bit on the left, a set one white. */
function numbers() {
  const bits = Array.from({ length: 16 }, (_, bit) => `drawbox=x=${32 * bit}:y=0:w=32:h=32:color=white:t=fill`
    + `:enable='eq(mod(floor(n/${2 ** bit}),2),1)'`);
  return ['drawbox=x=0:y=0:w=512:h=32:color=black:t=fill', ...bits].join(',');
}
