// node tests/lib/e2e.mjs NAME      runs one end-to-end case against the release binary; exit code 0 when all held
// node tests/lib/e2e.mjs --list    prints `NAME SECONDS NEEDS…` for every case that runs by default

import { Case } from './case.mjs';

/** `seconds`: the case is ended after that; `needs`: what `tests/run` must have found or installed. */
const CASES = {
  'chromium-vp8': { module: '../browser/round-trip.mjs', options: { codec: 'video/VP8' }, seconds: 60, needs: ['chromium'] },
  'chromium-vp9': { module: '../browser/round-trip.mjs', options: { codec: 'video/VP9' }, seconds: 60, needs: ['chromium'] },
  'chromium-h264': { module: '../browser/round-trip.mjs', options: { codec: 'video/H264' }, seconds: 60, needs: ['chromium'] },
  'chromium-av1': { module: '../browser/round-trip.mjs', options: { codec: 'video/AV1' }, seconds: 60, needs: ['chromium'] },
  'firefox-vp8': { module: '../browser/round-trip.mjs', options: { browser: 'firefox', codec: 'video/VP8' }, seconds: 90, needs: ['firefox', 'netns'] },
  layers: { module: '../browser/layers.mjs', seconds: 120, needs: ['chromium', 'netns'] },
  'layers-obs': { module: '../browser/layers.mjs', options: { by: 'files' }, seconds: 120, needs: ['chromium', 'ffmpeg', 'netns'] },
  'svc-vp9': { module: '../browser/svc.mjs', options: { codec: 'video/VP9', mode: 'L3T3_KEY' }, seconds: 90, needs: ['chromium'] },
  'svc-av1': { module: '../browser/svc.mjs', options: { codec: 'video/AV1', mode: 'L1T3' }, seconds: 90, needs: ['chromium'] },
  'handshake-loss': { module: '../browser/handshake-loss.mjs', seconds: 120, needs: ['chromium', 'firefox', 'ffmpeg', 'netns'] },
  'instant-h264': { module: '../browser/instant.mjs', options: { by: 'ffmpeg' }, seconds: 75, needs: ['chromium', 'ffmpeg'] },
  'instant-sets': { module: '../browser/instant.mjs', options: { by: 'file' }, seconds: 75, needs: ['chromium', 'ffmpeg'] },
  'instant-vp8': { module: '../browser/instant.mjs', options: { codec: 'video/VP8' }, seconds: 75, needs: ['chromium'] },
  'instant-vp9': { module: '../browser/instant.mjs', options: { codec: 'video/VP9' }, seconds: 75, needs: ['chromium'] },
  'instant-av1': { module: '../browser/instant.mjs', options: { codec: 'video/AV1' }, seconds: 75, needs: ['chromium'] },
  'instant-firefox': { module: '../browser/instant.mjs', options: { codec: 'video/VP8', browser: 'firefox' }, seconds: 75, needs: ['chromium', 'firefox', 'netns'] },
  pages: { module: '../browser/pages.mjs', seconds: 75, needs: ['chromium'] },
  present: { module: '../browser/present.mjs', seconds: 120, needs: ['chromium'] },
  'present-firefox': { module: '../browser/present.mjs', options: { browser: 'firefox' }, seconds: 120, needs: ['firefox', 'netns'] },
  'present-trouble': { module: '../browser/present-trouble.mjs', seconds: 120, needs: ['chromium'] },
  embed: { module: '../browser/embed.mjs', seconds: 120, needs: ['chromium'] },
  restart: { module: '../browser/restart.mjs', seconds: 75, needs: ['chromium', 'ffmpeg'] },
  admin: { module: '../browser/admin.mjs', seconds: 150, needs: ['chromium'] },
  'first-steps': { module: '../browser/first-steps.mjs', seconds: 180, needs: ['chromium', 'netns'] },
  alarms: { module: '../browser/alarms.mjs', seconds: 180, needs: ['chromium', 'ffmpeg'] },
  'shots-admin': { module: '../browser/shots-admin.mjs', seconds: 280, needs: ['chromium'], onlyByName: true },
  'counter-offer': { module: '../browser/counter-offer.mjs', seconds: 60, needs: ['chromium'] },
  events: { module: '../browser/events.mjs', seconds: 120, needs: ['chromium'] },
  'whip-whep': { module: '../browser/whip-whep.mjs', seconds: 60, needs: ['chromium'] },
  roaming: { module: '../browser/roaming.mjs', seconds: 90, needs: ['chromium', 'netns'] },
  'ffmpeg-h264': { module: '../clients/ffmpeg-h264.mjs', seconds: 60, needs: ['chromium', 'ffmpeg'] },
  'aiortc-vp8': { module: '../clients/aiortc.mjs', options: { codec: 'video/VP8' }, seconds: 60, needs: ['aiortc'] },
  'aiortc-h264': { module: '../clients/aiortc.mjs', options: { codec: 'video/H264' }, seconds: 60, needs: ['aiortc'] },
  isolation: { module: '../clients/isolation.mjs', seconds: 90, needs: ['chromium', 'ffmpeg'] },
  curl: { module: '../clients/curl.mjs', seconds: 30, needs: ['curl'] },
  conformance: { module: '../conformance/conformance.mjs', seconds: 280, needs: [] },
  'conformance-strict': { module: '../conformance/conformance.mjs', options: { level: 'full', strict: true }, seconds: 280, needs: [] },
  'conformance-interop': { module: '../conformance/conformance.mjs', options: { level: 'interop' }, seconds: 120, needs: [] },
  'conformance-manners': { module: '../conformance/manners.mjs', seconds: 120, needs: [] },
  'conformance-naive': { module: '../conformance/naive.mjs', seconds: 90, needs: [] },
  mutants: { module: '../conformance/mutants.mjs', seconds: 400, needs: [] },
  'viewers-100': { module: '../clients/load.mjs', options: { shape: 'viewers' }, seconds: 90, needs: ['ffmpeg'] },
  tools: { module: '../clients/tools.mjs', seconds: 120, needs: ['chromium', 'ffmpeg'] },
  'join-storm': { module: '../clients/load.mjs', options: { shape: 'storm' }, seconds: 60, needs: ['ffmpeg'] },
  returns: { module: '../clients/returns.mjs', options: { shape: 'many' }, seconds: 75, needs: [] },
  'returns-picture': { module: '../clients/returns.mjs', options: { shape: 'picture' }, seconds: 75, needs: ['chromium', 'ffmpeg'] },
  backup: { module: '../clients/returns.mjs', options: { shape: 'backup' }, seconds: 60, needs: ['ffmpeg'] },
  shots: { module: '../browser/shots.mjs', seconds: 420, needs: ['chromium'], onlyByName: true },
  churn: { module: '../clients/load.mjs', options: { shape: 'churn' }, seconds: 150, needs: ['ffmpeg'] },
};

const [name] = process.argv.slice(2);

if (name === '--list' || name === '--list-all') {
  for (const [each, { seconds, needs, onlyByName }] of Object.entries(CASES)) {
    if (!onlyByName || name === '--list-all') console.log([each, seconds, ...needs].join(' '));
  }
} else if (!Object.hasOwn(CASES, name)) {
  console.error(`there is no case ${name}; there are: ${Object.keys(CASES).join(' ')}`);
  process.exitCode = 2;
} else {
  await runCase(name, CASES[name]);
}

async function runCase(each, { module, options = {}, seconds }) {
  const { default: body } = await import(module);
  const test = new Case(each);
  const finish = async (why) => {
    test.check('it ended in time', false, why);
    // What hangs is cleared away as far as that goes; then it ends in any case.
    setTimeout(() => process.exit(1), 10_000).unref();
    await test.end();
    process.exit(1);
  };
  setTimeout(() => finish(`over ${seconds} s`), seconds * 1000).unref();
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => finish(signal));
  process.exit(await test.run((running) => body(running, options)) ? 0 : 1);
}
