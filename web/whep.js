// A viewer's side of WHEP: gets the picture, and gets it back.

import { Call, delay, opus, Problem } from "./wish.js";

/** How often we look, in ms. */
const TICK_MS = 500;
/** Without a packet for this long the stream counts as interrupted, in ms. */
const SILENCE_MS = 3000;
/** How long the first picture may take, in ms. */
const FIRST_PICTURE_MS = 12_000;
/** How long a presenter that has returned may take until there are packets, in ms. */
const RETURN_MS = 4000;
/** How long to wait after a refusal that is not likely to pass, in seconds. */
const REFUSED_S = 20;

/** What one session gets. */
class Reception {
  stream = new MediaStream();
  frames = 0;
  packets = 0;
  packetAt = 0;

  constructor(endpoint, token) {
    this.call = new Call(endpoint, token);
    this.call.pc.ontrack = ({ track }) => this.stream.addTrack(track);
    this.call.pc.addTransceiver("audio", { direction: "recvonly" });
    this.call.pc.addTransceiver("video", { direction: "recvonly" });
    this.startedAt = performance.now();
  }

  /**
   * Calls `told` with `active` or `inactive`, and with null when it is not known from now on. If events are not to be
   * had, the viewer finds out a little later.
   */
  async listen(told) {
    const { events, over } = this.call;
    if (!events) return;
    const kinds = ["active", "inactive"];
    const headers = { "content-type": "application/json" };
    const made = await fetch(events, { method: "POST", headers, body: JSON.stringify(kinds) });
    const location = made.headers.get("location");
    if (!location || this.call.ended) return;
    let source = null;
    const hear = () => {
      source?.close();
      source = null;
      // Over HTTP/1.1 all tabs of a browser share six connections: one that nobody looks at leaves them to others.
      if (document.hidden) return told(null);
      source = new EventSource(new URL(location, made.url));
      for (const kind of kinds) source.addEventListener(kind, () => told(kind));
      // Closed by the browser: refused, as by a full server. It does not ask again.
      source.onerror = ({ target }) => target.readyState === EventSource.CLOSED && told(null);
    };
    document.addEventListener("visibilitychange", hear);
    over.then(() => {
      document.removeEventListener("visibilitychange", hear);
      source?.close();
    });
    hear();
  }

  async sample() {
    const report = await this.call.pc.getStats();
    let [frames, packets] = [0, 0];
    for (const entry of report.values()) {
      if (entry.type !== "inbound-rtp") continue;
      frames += entry.framesDecoded ?? 0;
      packets += entry.packetsReceived ?? 0;
    }
    if (packets > this.packets) this.packetAt = performance.now();
    this.frames = frames;
    this.packets = packets;
  }

  /** Is there something to show? Sound without a picture counts after a while: there may be no picture. */
  get ready() {
    const { connectedAt, ended } = this.call;
    if (ended || !connectedAt || !this.packets) return false;
    return this.frames > 0 || performance.now() - connectedAt > 1500;
  }

  get flowing() {
    return !this.call.ended && this.packets > 0 && performance.now() - this.packetAt < SILENCE_MS;
  }

  get failed() {
    return this.call.ended !== null || performance.now() - this.startedAt > FIRST_PICTURE_MS;
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
  /** The session whose presenter has left; it continues when there is one again. */
  #paused = null;
  #timer = 0;
  #busy = false;
  #state = "idle";

  constructor(endpoint, token) {
    this.#endpoint = endpoint;
    this.token = token;
    /** Called with `connecting`, `live`, `waiting` (nobody presents), `lost` or `error`, and the Problem. */
    this.onstate = () => {};
    /** Called with the MediaStream to show. */
    this.onstream = () => {};
  }

  /** The session on the screen, or undefined. */
  get call() {
    return this.#shown?.call;
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
    this.#next?.call.close();
    this.#shown = this.#next = this.#paused = null;
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
    if (this.#next?.ready) {
      this.#shown?.call.close();
      this.#shown = this.#next;
      this.#next = null;
      this.#attempt = 0;
      this.onstream(this.#shown.stream);
      this.#report("live");
    } else if (this.#shown && this.#paused === this.#shown && !this.#shown.call.ended) {
      this.#next?.call.close();
      this.#next = null;
      this.#report("waiting");
    } else if (this.#shown?.flowing) {
      this.#next?.call.close();
      this.#next = null;
      this.#attempt = 0;
      this.#report("live");
    } else if (this.#state === "live") {
      // Everybody lost it in the same moment; we do not all come back in the same.
      this.#retryAt = now + Math.random() * 1000;
      this.#report("lost");
    } else if (this.#next?.failed) {
      const { ended, connectedAt } = this.#next.call;
      const title = connectedAt ? "The server sends nothing" : "No path for media to the server";
      this.#failed(new Problem({ status: -1, title, detail: ended ?? "" }));
    } else if (!this.#next && now >= this.#retryAt) {
      this.#try();
    }
  }

  #try() {
    const next = new Reception(this.#endpoint, this.token);
    this.#next = next;
    next.call.open({ offer: (sdp) => opus(sdp, { stereo: 1 }) }).then(
      () => next.listen((kind) => this.#told(next, kind)).catch(() => {}),
      (problem) => this.#next === next && this.#failed(problem),
    );
  }

  #told(session, kind) {
    if (kind === "inactive") {
      this.#paused = session;
    } else if (this.#paused === session) {
      this.#paused = null;
      this.#retryAt = performance.now() + RETURN_MS;
    }
  }

  #failed(problem) {
    this.#next?.call.close();
    this.#next = null;
    const { status, retryAfter } = problem;
    const passing = status <= 0 || status === 409 || status === 429 || status >= 500;
    const wait = delay(this.#attempt++, retryAfter ?? (passing ? null : REFUSED_S));
    // Without another token the answer stays the same, however often we ask.
    this.#retryAt = status === 401 || status === 403 ? Infinity : performance.now() + wait;
    if (status === 409) this.#report("waiting", problem);
    else if (passing && this.#attempt < 2) this.#report(this.#shown ? "lost" : "connecting", problem);
    else this.#report("error", problem);
  }
}
