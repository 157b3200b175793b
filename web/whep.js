// A viewer's side of WHEP: gets the picture, and gets it back.

import { Call, delay, opus, Problem } from "./wish.js";

/** How often we look, in ms. */
const TICK_MS = 500;
/** Without a packet for this long the stream counts as interrupted, in ms. */
const SILENCE_MS = 3000;
/** How long we wait to be told that somebody presents before we take it that nobody does, in ms. */
const WORD_MS = 1000;
/** How long the first picture may take, in ms. */
const FIRST_PICTURE_MS = 12_000;
/** How long after it is connected a session may be without a picture until its sound is enough, in ms. */
const NO_PICTURE_MS = 1500;
/** How long a presenter that has returned may take until there are packets, in ms. */
const RETURN_MS = 4000;
/** Over how long those spread who lost the picture in the same moment, in ms. */
const SPREAD_MS = 1000;
/** How long to wait after a refusal that is not likely to pass, in seconds. */
const REFUSED_S = 20;
/** Ended because somebody wanted it so: not to be made again. */
const WANTED = /:session-kicked$/;
/** The events that a viewer acts on. */
const EVENTS = ["active", "inactive", "reconnect"];

/** What one session gets. */
class Reception {
  stream = new MediaStream();
  frames = 0;
  packets = 0;
  packetAt = 0;
  /** Asked for, and not refused for want of an answer. */
  asked = false;
  /** Since when nobody presents, as far as the server has told; 0 while somebody does. */
  pausedAt = 0;
  /** Its end, or its silence, has been noticed. */
  missed = false;
  /** The server has asked for another session in place of this one. */
  leaving = false;

  constructor(endpoint, token) {
    this.call = new Call(endpoint, token);
    this.call.pc.ontrack = ({ track }) => this.stream.addTrack(track);
    this.call.pc.addTransceiver("audio", { direction: "recvonly" });
    this.call.pc.addTransceiver("video", { direction: "recvonly" });
    this.startedAt = performance.now();
  }

  /** Calls `told` with each event's kind. If there are no events to be had, the viewer finds out a little later. */
  async listen(told) {
    const { events, over } = this.call;
    if (!events) return;
    const headers = { "content-type": "application/json" };
    const made = await fetch(events, { method: "POST", headers, body: JSON.stringify(EVENTS) });
    const location = made.headers.get("location");
    if (!location || this.call.ended) return;
    let [source, informed] = [null, false];
    const hear = () => {
      source?.close();
      source = null;
      // Over HTTP/1.1 all tabs of a browser share six connections: one that nobody looks at leaves them to others.
      if (document.hidden) return;
      source = new EventSource(new URL(location, made.url));
      for (const kind of EVENTS) {
        source.addEventListener(kind, () => {
          informed = true;
          told(kind);
        });
      }
      // Who comes while somebody presents is told so at once; that nobody does yet is told by silence.
      source.onopen = () => setTimeout(() => informed || this.packets || told("inactive"), WORD_MS);
      source.onerror = ({ target }) => {
        // Closed by the browser: refused, as by a full server. It does not ask again.
        if (target.readyState === EventSource.CLOSED) told("unknown");
        // A server that dies cannot say so, but its connections break.
        this.call.ask();
      };
    };
    document.addEventListener("visibilitychange", hear);
    over.then(() => {
      document.removeEventListener("visibilitychange", hear);
      source?.close();
    });
    hear();
  }

  async sample() {
    const report = await this.call.look();
    let [frames, packets] = [0, 0];
    for (const entry of report.values()) {
      if (entry.type !== "inbound-rtp") continue;
      frames += entry.framesDecoded ?? 0;
      packets += entry.packetsReceived ?? 0;
    }
    if (packets > this.packets) {
      this.packetAt = performance.now();
      // Those that were on their way do not count.
      if (this.pausedAt && this.packetAt - this.pausedAt > 2 * TICK_MS) this.pausedAt = 0;
    }
    this.frames = frames;
    this.packets = packets;
  }

  /** Is there something to show? Sound without a picture counts after a while: there may be no picture. */
  get ready() {
    const { connectedAt, ended } = this.call;
    if (ended || !connectedAt || !this.packets) return false;
    return this.frames > 0 || performance.now() - connectedAt > NO_PICTURE_MS;
  }

  /** Has the answer no place for a picture? Then this browser knows no codec that the presenter sends. */
  get blind() {
    const { connectedAt, pc } = this.call;
    const places = pc.getTransceivers().filter(({ currentDirection }) => currentDirection === "recvonly");
    return connectedAt > 0 && !places.some(({ receiver }) => receiver.track.kind === "video");
  }

  get flowing() {
    return !this.call.ended && this.packets > 0 && performance.now() - this.packetAt < SILENCE_MS;
  }

  get failed() {
    if (!this.asked || this.waiting) return false;
    const over = this.blind ? this.call.connectedAt + 2 * NO_PICTURE_MS : this.startedAt + FIRST_PICTURE_MS;
    return this.call.ended !== null || performance.now() > over;
  }

  /** Is all well but that nobody presents? */
  get waiting() {
    return this.pausedAt > 0 && this.call.connectedAt > 0 && !this.call.ended;
  }
}

/**
 * Keeps a stream on the screen. For a moment there may be two sessions, one shown and one to replace it: the last
 * picture stays until there is a new one, and an interruption that ends by itself costs nothing.
 */
export class Viewer {
  #endpoint;
  #shown = null;
  #next = null;
  #attempt = 0;
  #retryAt = 0;
  #timer = 0;
  #busy = false;
  #state = "idle";

  constructor(endpoint, token) {
    this.#endpoint = endpoint;
    this.token = token;
    /** What to show. Always the same one: an element that plays it keeps its last picture until the next one comes. */
    this.stream = new MediaStream();
    /** Called with `connecting`, `live`, `waiting` (nobody presents), `lost` or `error`, and the Problem. */
    this.onstate = () => {};
    /** Called whenever `stream` has got other tracks. */
    this.onstream = () => {};
  }

  /** The session on the screen, or undefined. */
  get call() {
    return this.#shown?.call;
  }

  /** Is there sound only, because this browser knows no codec of the picture? */
  get blind() {
    return this.#shown?.blind ?? false;
  }

  start() {
    this.stop();
    this.#attempt = 0;
    this.#retryAt = 0;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#report("connecting");
    this.#tick();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#shown?.call.close();
    this.#shown = null;
    this.#drop();
    this.#state = "idle";
  }

  /** The network is another one: media may have to find another way. */
  roam() {
    this.#shown?.call.restart();
    this.hurry();
  }

  /** Does not wait any longer: the network is back, or somebody looks. */
  hurry() {
    if (this.#retryAt < Infinity) this.#retryAt = Math.min(this.#retryAt, performance.now() + Math.random() * 500);
    if (this.#shown && !this.#shown.flowing) this.#shown.call.ask();
  }

  #report(state, problem = null) {
    if (state === this.#state && state !== "error") return;
    this.#state = state;
    this.onstate(state, problem);
  }

  // Decides anew each time from what can be seen, so that no order of events can leave it stuck.
  async #tick() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await Promise.all([this.#shown?.sample(), this.#next?.sample()]);
      if (this.#timer) this.#decide(performance.now());
    } finally {
      this.#busy = false;
    }
  }

  #decide(now) {
    const [shown, next] = [this.#shown, this.#next];
    if (next?.ready) {
      this.#show(next);
    } else if (shown?.waiting || (shown?.flowing && !shown.leaving)) {
      this.#drop();
      this.#attempt = 0;
      shown.missed = false;
      this.#report(shown.waiting ? "waiting" : "live");
    } else if (shown && !shown.flowing && !shown.missed) {
      // Everybody misses it in the same moment; we do not all come back in the same.
      shown.missed = true;
      const earliest = this.#retryAt < Infinity ? this.#retryAt : 0;
      this.#retryAt = Math.max(earliest, now + Math.random() * SPREAD_MS);
      if (this.#state === "live") this.#report("lost");
    } else if (next?.failed) {
      const { ended, connectedAt } = next.call;
      const title = connectedAt ? "The server sends nothing" : "No path for media to the server";
      // What the server would say if it had nothing at all for this browser.
      this.#failed(new Problem(next.blind && !ended ? { status: 422 } : { status: -1, title, detail: ended ?? "" }));
    } else if (next?.waiting) {
      this.#report("waiting");
    } else if (!next?.asked && now >= this.#retryAt && !shown?.call.away) {
      this.#try();
    }
  }

  /** Puts a session's tracks on the screen in place of those that are there. */
  #show(next) {
    const old = this.stream.getTracks();
    for (const track of next.stream.getTracks()) this.stream.addTrack(track);
    for (const track of old) this.stream.removeTrack(track);
    this.#shown?.call.close();
    this.#shown = next;
    this.#next = null;
    this.#attempt = 0;
    this.onstream();
    this.#report("live");
  }

  #drop() {
    this.#next?.call.close();
    this.#next = null;
  }

  /** Asks for a session; once more with the same offer if that got no answer. */
  #try() {
    const next = (this.#next ??= this.#receive());
    next.asked = true;
    next.startedAt = performance.now();
    next.call.open({ offer: (sdp) => opus(sdp, { stereo: 1 }) }).then(
      () => next.listen((kind) => this.#told(next, kind)).catch(() => {}),
      (problem) => this.#next === next && this.#failed(problem),
    );
  }

  #receive() {
    const reception = new Reception(this.#endpoint, this.token);
    reception.call.over.then(() => this.#over(reception));
    return reception;
  }

  /** Ended by the server: because it stops, or because somebody wants it so? */
  async #over({ call }) {
    const why = await call.verdict();
    if (!this.#timer || !WANTED.test(why?.type)) return;
    this.stop();
    this.#report("error", new Problem({ ...why, status: 410 }));
  }

  #told(session, kind) {
    const now = performance.now();
    if (kind === "reconnect") {
      session.leaving = true;
      this.#retryAt = now + Math.random() * SPREAD_MS;
    } else if (kind === "inactive") {
      session.pausedAt = now;
    } else if (session.pausedAt) {
      session.pausedAt = 0;
      session.startedAt = now;
      // Another presenter may send what this browser knows.
      session.leaving ||= session.blind;
      this.#retryAt = now + (session.leaving ? Math.random() * SPREAD_MS : RETURN_MS);
    }
  }

  #failed(problem) {
    const { status, retryAfter } = problem;
    if (status !== 0) this.#drop();
    else this.#next.asked = false;
    const passing = status <= 0 || status === 409 || status === 429 || status >= 500;
    const wait = delay(this.#attempt++, { status, retryAfter: retryAfter ?? (passing ? null : REFUSED_S) });
    // Without another token the answer stays the same, however often we ask.
    this.#retryAt = status === 401 || status === 403 ? Infinity : performance.now() + wait;
    if (this.#shown?.flowing) return;
    if (status === 409) this.#report("waiting", problem);
    else if (passing && this.#attempt < 2) this.#report(this.#shown ? "lost" : "connecting", problem);
    else this.#report("error", problem);
  }
}
