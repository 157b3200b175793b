// The pages to run the show by over an API that is made up: shows as large, as bad and as hostile as none in a test is.

import http from 'node:http';

/**
 * A server that answers `/api/v1` from `answers` (`path → value`, `path → (request) → value`, or a Number as a status)
 * and gives everything else on to `url`. `events`: what the event stream tells, `[name, data]` each; it stays open.
 */
export async function stage(test, url, answers, events = []) {
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://stage');
    if (!pathname.startsWith('/api/v1/')) return passOn(url, request, response);
    const name = pathname.slice('/api/v1/'.length);
    if (name === 'events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const [event, data] of events) response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
      return undefined;
    }
    const found = answers[`${request.method} ${name}`] ?? answers[name] ?? 404;
    const value = typeof found === 'function' ? found(request) : found;
    if (typeof value === 'number') return problem(response, value);
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end(JSON.stringify(value));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  test.atEnd(() => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}`;
}

function passOn(url, request, response) {
  const ask = http.request(new URL(request.url, url), { method: request.method }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  ask.on('error', () => response.writeHead(502).end());
  ask.end();
}

function problem(response, status) {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ type: 'about:blank', title: 'Not found', status }));
}

// ---- What can be on stage ----

const NOW = Date.now();
/** So many seconds ago. */
const ago = (seconds) => new Date(NOW - seconds * 1000).toISOString();

export const AGENTS = {
  chrome: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36',
  phone: 'Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1',
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  obs: 'Mozilla/5.0 (OBS-Studio/32.0.2; Linux x86_64; en-US)',
  ffmpeg: 'Lavf/62.3.100',
  hostile: '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>',
  long: `Agent${'0123456789'.repeat(20)}`,
  none: null,
};
const LONG = `a-very-long-name-${'x'.repeat(47)}`;

export const SERVER = { version: '0.1.0', started: ago(9_000), uptime_s: 9_000, ready: true, sessions: 0, presenters: 0, viewers: 0, streams: 0,
  capacity: { max_sessions: 4_000, free_viewer_places: 3_900, media_threads: 1, cpu: 0.12, packets_per_second: 40_000, cpu_us_per_packet: 0.4, room_packets_per_second: 1e6 } };

/** A stream that is well; `wrong`: what is otherwise. */
export function stream(name, wrong = {}) {
  return { name, state: 'live', live: true, since: ago(1_500), open: true, report: `r-${name}`, room_for_more: 1_240,
    viewers: { now: 3, peak: 5, average: 2.71 }, alarms: [], presenter: presenter(), ...wrong };
}

export function presenter(wrong = {}) {
  return { session: '00112233445566aa', user_agent: AGENTS.obs, subject: 'publisher:talk', address: '192.0.2.7', connected_s: 1_500,
    audio: { codec: 'opus', level_dbov: -18, silent_s: 0 },
    video: { codec: 'h264', width: 1_920, height: 1_080, key_interval_ms: 2_000, has_b_frames: false, is_frozen: false,
      layers: [{ rid: null, spatial: null, temporal: null, bitrate: 2_480_000, fps: 30, width: 1_920, height: 1_080 }] },
    bitrate: 2_612_000, loss: 0.0012, rtt_ms: 21.4, ...wrong };
}

const LAYERS = [['q', 480, 270, 150_000], ['h', 960, 540, 600_000], ['f', 1_920, 1_080, 2_400_000]]
  .map(([rid, width, height, bitrate]) => ({ rid, spatial: null, temporal: null, bitrate, fps: 30, width, height }));

export function session(n, wrong = {}) {
  const agents = [AGENTS.chrome, AGENTS.phone, AGENTS.firefox, AGENTS.hostile, AGENTS.long, AGENTS.none];
  return { id: n.toString(16).padStart(16, '0'), stream: 'talk', role: 'viewer', state: 'connected', user_agent: agents[n % agents.length],
    address: n % 3 ? `203.0.113.${n % 250}` : '2001:db8:1234:5678:9abc:def0:1234:5678', media_address: `203.0.113.${n % 250}:50000`,
    subject: n % 4 ? null : 'viewer:talk', link: null, joined: ago(60 * (n % 50)), ended: null, reason: null, connected_after_ms: 90, first_packet_ms: 110,
    first_picture_ms: 120, codec: { audio: 'opus', video: 'h264' }, layer: n % 2 ? { rid: 'h', spatial: null, temporal: 1 } : null,
    loss: n % 7 === 3 ? 0.083 : 0, lost: n, rtt_ms: 12.3 * (n % 9), packets: 9_000 * n, bytes: 12_345_678 * n, resent: n, ...wrong };
}

export const link = (n, wrong = {}) => ({ id: `l${n}`, stream: n % 5 === 4 ? LONG : 'talk', right: n % 2 ? 'watch' : 'publish',
  subject: n % 5 === 3 ? AGENTS.hostile.slice(0, 128) : (n % 2 ? 'viewer:talk' : 'Anna’s laptop'), created: ago(3_600 * n), expires: ago(-43_200 * (n + 1)), revoked: n % 3 === 2, ...wrong });

export const ALARMS = [
  ['silence', 'nothing can be heard: is this the right microphone, and is it on?'],
  ['no_video', 'no video for 14 s'],
  ['frozen', 'the picture does not change'],
  ['b_frames', 'there are B-frames, which browsers do not play: turn them off (bframes=0)'],
  ['key_frame_interval', 'key frames are 10 s apart, and asking for one does not help: set an interval of 1 or 2 s'],
  ['bitrate_collapse', '210 kbit/s come instead of 2480'],
  ['loss', '12 % of the presenter\'s packets get lost'],
].map(([kind, detail], n) => ({ kind, detail, since: ago(10 * n + 4) }));

export const reportInShort = (n) => ({ id: `20261122T1${String(n).padStart(3, '0')}Z-talk-${n}`, stream: n % 6 === 5 ? LONG : 'talk', started: ago(86_400 * n + 7_200), ended: ago(86_400 * n),
  interrupted: n % 5 === 2, seconds: 7_200 - n * 13, peak: 412 * (n + 1), average: 380.25, sessions: 1_031, alarms: n % 4 });

const NEVER = { count: 0, p50: 0, p95: 0, max: 0 };

/** The report of a broadcast of `hours`. */
export function report(hours, wrong = {}) {
  const points = Math.min(Math.round(hours * 720), 700);
  const samples = Array.from({ length: points }, (_, i) => Math.round(400 * Math.min(1, i / (points / 8)) * (1 - 0.25 * Math.max(0, i / points - 0.6)) + 12 * Math.sin(i / 5) + 12));
  const start = hours * 3_600 + 600;
  return { id: '20261122T180000Z-talk-0001', stream: 'talk', started: ago(start), ended: ago(600), written: ago(600), interrupted: false, seconds: hours * 3_600,
    presenters: [
      { session: '1', subject: 'publisher:talk', user_agent: AGENTS.obs, from: ago(start), to: ago(start - 1_000), reason: 'connection_lost' },
      { session: '2', subject: AGENTS.hostile.slice(0, 100), user_agent: AGENTS.hostile, from: ago(start - 1_010), to: ago(700), reason: 'deleted' },
      { session: '3', subject: null, user_agent: AGENTS.long, from: ago(690), to: ago(650), reason: null },
    ],
    reconnects: 2, viewers: { peak: Math.max(...samples, 0), average: 377.41, joins: 1_204, sessions: 1_190, unique: 812, sample_seconds: Math.round((hours * 3_600) / points), samples },
    first_packet_ms: { count: 1_190, p50: 64, p95: 182, max: 2_100 }, first_picture_ms: { count: 1_187, p50: 71, p95: 203, max: 2_140 },
    received: { packets: 2_160_000, bytes: 2_340_000_000, lost: 1_203, resent: 1_150 }, sent: { packets: 820_000_000, bytes: 883_000_000_000, lost: 93_111, resent: 88_010 },
    alarms: ALARMS.map(({ kind, detail }, n) => ({ kind, detail, from: ago(start - 300 * (n + 1)), to: n ? ago(start - 300 * (n + 1) - 40) : null })), ...wrong };
}

/** The report of a broadcast that nobody watched, as far as it is. */
export const SHORT = report(0.01, { viewers: { peak: 0, average: 0, joins: 0, sessions: 0, unique: 0, sample_seconds: 5, samples: [0, 0, 0] },
  alarms: [], reconnects: 0, ended: null, first_packet_ms: NEVER, first_picture_ms: NEVER, sent: { packets: 0, bytes: 0, lost: 0, resent: 0 } });

/** Everything that `/admin` asks for: nothing is on. */
export const EMPTY = { 'reports/r-talk': report(0.4), server: SERVER, streams: { streams: [] }, sessions: { sessions: [], total: 0, next: null }, links: { links: [] }, reports: { reports: [], total: 0, next: null } };

/** One talk with three viewers. */
export const ONE = { ...EMPTY, server: { ...SERVER, sessions: 4, presenters: 1, viewers: 3, streams: 1 },
  streams: { streams: [stream('talk', { presenter: presenter({ video: { ...presenter().video, layers: LAYERS } }) })] },
  sessions: { sessions: [session(1, { role: 'presenter', user_agent: AGENTS.obs }), session(2), session(6), session(7, { state: 'connecting' })], total: 4, next: null },
  links: { links: [link(0), link(1), link(2)] }, reports: { reports: [0, 1, 2].map(reportInShort), total: 3, next: null } };

/** Everything is wrong. */
export const ALARMING = { ...ONE, streams: { streams: [stream('talk', { alarms: ALARMS,
  presenter: presenter({ loss: 0.12, audio: { codec: 'opus', level_dbov: -127, silent_s: 47 }, video: { ...presenter().video, key_interval_ms: 10_000, has_b_frames: true, is_frozen: true } }) }),
stream('gone', { state: 'grace', live: false, presenter: null, room_for_more: null }), stream('over', { state: 'idle', live: false, since: null, presenter: null, room_for_more: null, report: null, viewers: { now: 0, peak: 0, average: 0 } })] } };

/** More of everything than anybody should have. */
export const MANY = { ...EMPTY, server: { ...SERVER, sessions: 3_999, presenters: 62, viewers: 3_937, streams: 62 },
  streams: { streams: Array.from({ length: 62 }, (_, n) => stream(n % 10 === 9 ? `${LONG.slice(0, 62)}${n}` : `room-${n}`, {
    viewers: { now: 12_345 + n, peak: 23_456, average: 8_765.43 }, alarms: n % 9 === 4 ? ALARMS.slice(0, 2) : [],
    presenter: presenter({ user_agent: n === 1 ? AGENTS.hostile : n === 2 ? AGENTS.long : AGENTS.obs, subject: n === 1 ? AGENTS.hostile.slice(0, 120) : `publisher:room-${n}` }) })) },
  sessions: { sessions: Array.from({ length: 70 }, (_, n) => session(n + 1)), total: 3_938, next: '46' },
  links: { links: Array.from({ length: 60 }, (_, n) => link(n)) }, reports: { reports: Array.from({ length: 60 }, (_, n) => reportInShort(n)), total: 60, next: null } };

/** What is told as it happens. */
export const EVENTS = [
  ['state', { streams: [] }],
  ['link', { at: ago(500), id: 'l0', right: 'publish', state: 'made', stream: 'talk' }],
  ['session', { at: ago(400), stream: 'talk', id: '00112233445566aa', role: 'presenter', state: 'connected' }],
  ['stream', { at: ago(399), stream: 'talk', state: 'live', presenter: '00112233445566aa' }],
  ['session', { at: ago(300), stream: 'talk', id: '0000000000000002', role: 'viewer', state: 'connected' }],
  ['alarm', { at: ago(200), stream: 'talk', kind: 'silence', on: true, detail: ALARMS[0].detail }],
  ['alarm', { at: ago(150), stream: 'talk', kind: 'silence', on: false, detail: ALARMS[0].detail }],
  ['session', { at: ago(100), stream: 'talk', id: '0000000000000002', role: 'viewer', state: 'ended', reason: 'consent_expired' }],
  ['alarm', { at: ago(50), stream: 'talk', kind: '<b>x</b>', on: true, detail: AGENTS.hostile }],
  ['report', { at: ago(20), stream: 'older', id: 'x' }],
];

export const LONG_LOG = Array.from({ length: 25 }, () => EVENTS.slice(1)).flat();
