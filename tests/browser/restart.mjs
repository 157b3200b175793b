// The server dies, or is told to stop, and is back a little later: presenters and viewers find each other again, and nobody
// touches anything. One presenter is FFmpeg in a loop, the other one our page; the viewers are our page's, several in a tab.

import { Ffmpeg } from '../clients/ffmpeg.mjs';
import { pause, until } from '../lib/case.mjs';
import { Server } from '../lib/server.mjs';
import { launch, openPage } from './browser.mjs';

export default async function restart(test) {
  const server = await Server.start(test);
  const browser = await launch(test);
  const loop = loopFfmpeg(test, { url: server.whip('loop'), token: await server.token('loop'), size: '160x90', bitrate: '100k' });
  const presenter = await openPage(test, browser, `${server.url}/publish/page#${await server.token('page')}`, 'presenter');
  await presenter.select('#quality', '360p30');
  await presenter.click('#go');
  const tabs = [];
  for (const stream of STREAMS) {
    const tab = await openPage(test, browser, `${server.url}/watch/${stream}`, `tab-${tabs.length}`);
    await tab.evaluate(watchMore, stream, VIEWERS_PER_TAB - 1);
    tabs.push(tab);
  }
  await everybody(tabs, 25_000, 'to watch', (viewers) => viewers.map(({ frames }) => frames > 5));
  test.check(`${tabs.length * VIEWERS_PER_TAB} viewers watch`, true);
  await Promise.all(tabs.map((tab) => tab.evaluate(watchForBlack)));

  for (const [signal, away] of [['SIGKILL', DEAD_MS], ['SIGTERM', 0]]) await again(test, { server, signal, away, tabs });

  const black = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.black)));
  test.check('the last picture stayed on the screen', black.every(({ times }) => times === 0), JSON.stringify(black));
  const state = await presenter.evaluate(() => document.querySelector('#state')?.dataset.state);
  test.check('the presenter\'s page says live', state === 'live', state);
  test.note(`FFmpeg was started ${loop.starts} times`);
}

/** Ends the server by `signal`, starts it again after `away` ms, and waits until everybody sees new pictures. */
async function again(test, { server, signal, away, tabs }) {
  const told = Date.now();
  const how = await server.end(signal);
  if (signal === 'SIGTERM') test.check('it ended well', how === 'exit code 0', `${how} after ${Date.now() - told} ms`);
  await pause(away);
  const before = await Promise.all(tabs.map(look));
  await server.run();
  const back = Date.now();
  const times = await everybody(tabs, 20_000, `to watch again after ${signal}`, (viewers, tab) => viewers.map(
    ({ state, frames }, index) => state === 'live' && frames > before[tab][index].frames + NEW_FRAMES));
  const late = times.flat().map((time) => time - back).sort((a, b) => a - b);
  test.check(`${signal}: everybody watches again within ${BACK_MS / 1000} s`, late.at(-1) <= BACK_MS,
    `the first after ${late[0]}, half after ${late[late.length >> 1]}, the last after ${late.at(-1)} ms`);
  const counted = (await Promise.all(tabs.map(look))).flat();
  const sum = (name) => counted.reduce((all, viewer) => all + viewer[name], 0);
  test.note(`${signal}: freezeCount ${sum('freezes')}, framesDropped ${sum('dropped')} of ${sum('received')}`);
}

/** Waits until `condition` has held for each viewer of each tab; resolves with when it first did. */
function everybody(tabs, milliseconds, what, condition) {
  return Promise.all(tabs.map(async (tab, index) => {
    const times = [];
    await until(milliseconds, `the viewers of tab ${index} ${what}`, async () => {
      const holds = condition(await look(tab), index);
      holds.forEach((does, viewer) => { if (does) times[viewer] ??= Date.now(); });
      return holds.every((_, viewer) => times[viewer]);
    });
    return times;
  }));
}

/** Presents by FFmpeg, and by another one whenever that ends, as a loop of the shell does. */
function loopFfmpeg(test, options) {
  const loop = { starts: 0 };
  let over = false;
  test.atEnd(() => { over = true; });
  (async () => {
    while (!over) {
      loop.starts += 1;
      await Ffmpeg.start(test, `ffmpeg-${loop.starts}`, options).ended;
      await pause(LOOP_PAUSE_MS);
    }
  })();
  return loop;
}

/** More viewers in a watch page, by its own code: a process for each of twenty tabs is more than a small machine can bear. */
async function watchMore(stream, count) {
  const { Viewer } = await import('/static/whep.js');
  window.more = Array.from({ length: count }, () => {
    const viewer = new Viewer(`/whep/${stream}`, '');
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true });
    document.body.append(video);
    const watching = { viewer, video, state: '' };
    viewer.onstate = (state) => { watching.state = state; };
    viewer.onstream = () => { video.srcObject ??= viewer.stream; };
    viewer.start();
    return watching;
  });
}

/** What each viewer of a tab shows, the page's own first. */
const look = (tab) => tab.evaluate(async () => {
  const own = { video: document.querySelector('#v'), state: document.querySelector('#state').dataset.state };
  const peers = window.probe.peers();
  const counts = { freezes: 0, dropped: 0, received: 0 };
  for (const peer of peers) {
    for (const entry of (await peer.getStats()).values()) {
      if (entry.type !== 'inbound-rtp' || entry.kind !== 'video') continue;
      counts.freezes += entry.freezeCount ?? 0;
      counts.dropped += entry.framesDropped ?? 0;
      counts.received += entry.framesReceived ?? 0;
    }
  }
  return [own, ...window.more].map(({ video, state }, index) => ({
    state,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    ...(index === 0 ? counts : { freezes: 0, dropped: 0, received: 0 }),
  }));
});

/** Counts from now on how often there is no picture, or a black one. Runs in the page. */
function watchForBlack() {
  const [video, canvas] = [document.querySelector('#v'), document.createElement('canvas')];
  [canvas.width, canvas.height] = [8, 8];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  window.black = { times: 0, looks: 0 };
  setInterval(() => {
    context.clearRect(0, 0, 8, 8);
    context.drawImage(video, 0, 0, 8, 8);
    const lightest = Math.max(...context.getImageData(0, 0, 8, 8).data.filter((_, index) => index % 4 !== 3));
    window.black.looks += 1;
    if (lightest < 40) window.black.times += 1;
  }, 50);
}

/** What each tab watches. */
const STREAMS = ['page', 'loop', 'loop', 'loop', 'loop'];
/** They share six connections, of which each keeps one for its events. */
const VIEWERS_PER_TAB = 4;
/** How long the server is dead. */
const DEAD_MS = 3_000;
/** How soon everybody has to watch again. */
const BACK_MS = 5_000;
/** One is the old picture, drawn again. */
const NEW_FRAMES = 5;
const LOOP_PAUSE_MS = 200;
