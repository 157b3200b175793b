// FFmpeg presents H264 and Opus, Chromium watches.

import { Clients, hangUp, launch, statsOf } from '../browser/browser.mjs';
import { pause, until } from '../lib/case.mjs';
import { checkCipher, firstPicture, measure, SETTLE_MS } from '../lib/measure.mjs';
import { Server } from '../lib/server.mjs';
import { Ffmpeg } from './ffmpeg.mjs';

export default async function ffmpegH264(test) {
  const server = await Server.start(test);
  const clients = await Clients.start(test, await launch(test));
  const presenter = Ffmpeg.start(test, 'ffmpeg', { url: server.whip('talk'), token: await server.token('talk') });
  await until(15_000, 'FFmpeg to send pictures', () => {
    if (presenter.how) throw new Error(`FFmpeg ended: ${presenter.how}`);
    return presenter.framesSent > 0;
  });

  const since = Date.now();
  const viewer = await clients.play('viewer', { url: server.whep('talk') });
  await firstPicture(test, () => statsOf(viewer), since);
  await pause(SETTLE_MS);
  const seen = await measure(test, () => presenter.framesSent, () => statsOf(viewer));

  test.check("the viewer's codec is H264", seen.video.codec === 'video/H264', seen.video.codec);
  checkCipher(test, 'viewer', seen);
  test.check('FFmpeg presented to the end', presenter.how === undefined, presenter.how);
  await viewer.screenshot({ path: test.file('viewer.png') });
  await hangUp(test, 'viewer', viewer);
}
