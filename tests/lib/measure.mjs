// What every case that shows pictures asks for, in one place.

import { pause, until } from './case.mjs';

/** How long pictures are counted. */
export const WINDOW_MS = 10_000;

/** The first second of a stream is encoders and jitter buffers finding their pace. */
export const SETTLE_MS = 1_000;

/** The least share of the sent frames that must have been decoded. */
export const LEAST_SHARE = 0.9;

/** Waits for the first decoded picture; notes how long it took since `since` (milliseconds of the epoch). */
export async function firstPicture(test, viewer, since) {
  await until(15_000, 'the first decoded picture', async () => ((await viewer()).video?.framesDecoded ?? 0) > 0);
  test.note(`first picture ${Date.now() - since} ms after the viewer began`);
}

/**
 * Counts pictures for `WINDOW_MS` and checks what a viewer must have got.
 * @param sent gives the frames sent so far
 * @param viewer gives the viewer's statistics (`probe.stats`)
 */
export async function measure(test, sent, viewer, { name = 'viewer' } = {}) {
  const [sentBefore, before] = await Promise.all([sent(), viewer()]);
  await pause(WINDOW_MS);
  const [sentAfter, after] = await Promise.all([sent(), viewer()]);

  const frames = { sent: sentAfter - sentBefore, decoded: after.video.framesDecoded - before.video.framesDecoded };
  test.check(`the presenter sent pictures to the ${name}`, frames.sent > WINDOW_MS / 1000 * LEAST_FRAME_RATE,
    `${frames.sent} in ${WINDOW_MS / 1000} s`);
  test.check(`the ${name} decoded more than ${LEAST_SHARE * 100} % of them`, frames.decoded > LEAST_SHARE * frames.sent,
    `${frames.decoded} of ${frames.sent}, ${(100 * frames.decoded / frames.sent).toFixed(1)} %`);
  const energy = (after.audio?.totalAudioEnergy ?? 0) - (before.audio?.totalAudioEnergy ?? 0);
  test.check(`the ${name} heard something`, energy > 0, `audio energy ${energy.toExponential(2)}`);
  const lost = (after.video.packetsLost ?? 0) + (after.audio?.packetsLost ?? 0);
  test.check(`the ${name} lost no packet`, lost === 0, lost);
  const { frameWidth, frameHeight, freezeCount, pliCount, nackCount } = after.video;
  // Some browsers do not count them.
  const freezes = (freezeCount ?? 0) - (before.video.freezeCount ?? 0);
  test.check(`the ${name}'s picture did not stand still`, freezes === 0, `${freezes} freezes`);
  test.note(`${name}: ${after.video.codec} ${frameWidth}×${frameHeight}, ${freezeCount ?? '?'} freezes, `
    + `${pliCount ?? '?'} PLI, ${nackCount ?? '?'} NACK`);
  return after;
}

/** SRTP must be AES-GCM wherever the client offers it and tells what it got. */
export function checkCipher(test, name, stats) {
  test.check(`the ${name}'s SRTP is AES-GCM`, /GCM/.test(stats.srtpCipher ?? ''), stats.srtpCipher);
}

/** Less than this per second is a presenter that does not work, not a busy machine. */
const LEAST_FRAME_RATE = 5;
