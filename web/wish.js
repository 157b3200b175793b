// What WHIP (RFC 9725) and WHEP share: an offer goes out by POST, an answer and the address of a session come back,
// DELETE ends it. Candidates are gathered before the POST, so that nothing has to be sent after it; when the network
// changes, PATCH finds the media another way (an ICE restart).

/** How long to gather candidates, in ms. The server finds us by our first check; none of them is essential. */
const GATHER_MS = 1000;
/** How long an answer may take, in ms. */
const ANSWER_MS = 10_000;
/** How long media may take to find its way after the answer, in ms. */
const CONNECT_MS = 12_000;
/** How long that way may be interrupted, in ms. */
const INTERRUPTED_MS = 3000;
/** Without a packet for this long the server is asked whether it still has the session, in ms. */
const SILENCE_MS = 1500;
/** How long it may take to say so, in ms. */
const ASKED_MS = 3000;
/** The longest pause between two such questions about a session that it has, in ms. */
const ASK_SELDOM_MS = 15_000;
/** These grow whenever packets come, in the statistics of one browser or the other. */
const SIGNS = ["packetsReceived", "bytesReceived", "reportsReceived", "roundTripTimeMeasurements"];

/** Why something failed. `status` 0: no answer at all, -1: an answer, but no path for media. */
export class Problem extends Error {
  constructor({ status = 0, type = "", title = "", detail = "", retryAfter = null }) {
    super(detail || title);
    Object.assign(this, { status, type, title, detail, retryAfter });
  }

  /** Reads a refusal (RFC 9457), or what a proxy has put in its place. */
  static async from(response) {
    let body = {};
    if (/json/.test(response.headers.get("content-type") ?? "")) body = await response.json().catch(() => ({}));
    return new Problem({
      status: response.status,
      type: text(body?.type),
      title: text(body?.title) || response.statusText,
      detail: text(body?.detail),
      retryAfter: seconds(response.headers.get("retry-after")),
    });
  }
}

const text = (value) => (typeof value === "string" ? value : "");

/** Reads a `Retry-After` in seconds, at most two minutes; null when there is none. */
const seconds = (header) => (/^\d+$/.test(header ?? "") ? Math.min(Number(header), 120) : null);

/**
 * How long to wait before the next attempt after a Problem, in ms. Jitter, so that those who left together do not return
 * together. A server that is not there has no load to be spared: it is looked for often, so that it is found soon.
 */
export function delay(attempt, { status = 0, retryAfter = null } = {}) {
  if (retryAfter !== null) return Math.max(retryAfter, 0.5) * 1000 * (1 + Math.random() / 4);
  const step = status === 0 ? Math.min(400 * 1.25 ** attempt, 5000) : Math.min(500 * 2 ** attempt, 15_000);
  return step * (0.5 + Math.random() / 2);
}

/** One session: a peer connection, and the resource that the server keeps for it. */
export class Call {
  #endpoint;
  #token;
  #resource = null;
  #answer = "";
  #polish = {};
  #restarting = false;
  #timer = 0;
  #abort = null;
  #settle;
  #pulse = 0;
  #askAt = Infinity;
  #asked = 0;
  /** The question that is on its way, if any. */
  #asking = null;
  /** When media first could flow (`performance.now()`), or 0. */
  connectedAt = 0;
  /**
   * Why it ended: `unreachable`, `lost`, `closed` (by the server), `gone` (the server knows it no more), `left` (by us);
   * null while it has not.
   */
  ended = null;
  /** The server's Problem, when it knows the session no more and was asked why. */
  why = null;
  /** Nobody is there to be asked about it: the server is gone, or the way to it. */
  away = false;

  constructor(endpoint, token) {
    this.#endpoint = endpoint;
    this.#token = token;
    this.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    /** Where the server tells what happens to the stream, and takes a choice of layers (WHEP core extensions), or null. */
    this.events = this.layers = null;
    /** Resolves with `ended`. */
    this.over = new Promise((settle) => (this.#settle = settle));
    /** Called once, when media can flow. */
    this.onconnected = () => {};
  }

  /** Where the server tells what happened to this session; "" when there is none. */
  get record() {
    return this.#resource ? `${this.#resource}/timeline` : "";
  }

  /**
   * Offers, and takes the answer; `polish` may rewrite both. Throws a Problem; the call is closed then, unless there was
   * no answer at all: the same offer can be made again.
   */
  async open(polish = {}) {
    this.#polish = polish;
    try {
      if (!this.pc.localDescription) await this.#offer();
      const response = await this.#post();
      this.#answer = await response.text();
      await this.#take(this.#answer);
      this.#listen();
    } catch (error) {
      if (error.status !== 0 || this.ended) this.close();
      if (error instanceof Problem) throw error;
      throw new Problem({ status: -1, title: "The browser could not use the answer", detail: error.message });
    }
  }

  /**
   * Looks for another way for the media, on which it goes on as it was: an ICE restart (RFC 9725 §4.3.3). Until there
   * is one, or if there is none, the old one stays.
   */
  async restart() {
    const { pc } = this;
    if (this.ended || this.#restarting || !this.#resource || !this.connectedAt) return;
    this.#restarting = true;
    try {
      const offer = await pc.createOffer({ iceRestart: true });
      await this.#bring(offer);
      // Candidates need not be waited for: the server finds us by our checks.
      const response = await fetch(this.#resource, {
        method: "PATCH",
        headers: { "content-type": "application/trickle-ice-sdpfrag", "if-match": "*", ...this.#credentials() },
        body: credentials(offer.sdp),
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (response.status !== 200) throw await Problem.from(response);
      this.#answer = renewed(this.#answer, await response.text());
      await this.#take(this.#answer);
    } catch (problem) {
      if (isGone(problem)) this.#end("gone");
      else if (pc.signalingState === "have-local-offer") await pc.setLocalDescription({ type: "rollback" }).catch(() => {});
    } finally {
      this.#restarting = false;
    }
  }

  async #offer() {
    const gathered = new Promise((done) => {
      this.pc.onicegatheringstatechange = () => this.pc.iceGatheringState === "complete" && done();
      setTimeout(done, GATHER_MS);
    });
    await this.#bring(await this.pc.createOffer());
    await gathered;
  }

  async #bring(offer) {
    try {
      await this.pc.setLocalDescription({ type: "offer", sdp: this.#polish.offer?.(offer.sdp) ?? offer.sdp });
    } catch {
      // A browser may refuse to change its offer; then it goes out as it was.
      await this.pc.setLocalDescription(offer);
    }
  }

  #take(answer) {
    return this.pc.setRemoteDescription({ type: "answer", sdp: this.#polish.answer?.(answer) ?? answer });
  }

  /**
   * Looks at the session: to be called about twice a second. Resolves with the browser's statistics. When nothing comes
   * any more, the server is asked why.
   */
  async look() {
    const report = await this.pc.getStats();
    let pulse = 0;
    for (const entry of report.values()) for (const sign of SIGNS) pulse += entry[sign] ?? 0;
    const now = performance.now();
    if (pulse !== this.#pulse) {
      this.#pulse = pulse;
      this.#asked = 0;
      this.away = false;
      this.#askAt = now + SILENCE_MS;
    } else if (now >= this.#askAt && !this.ended) this.ask();
    return report;
  }

  /**
   * Asks the server whether it still has the session, and ends it if not: a server that was restarted knows nothing of it
   * and says nothing by itself. Resolves with the Problem, or with null if there is none.
   */
  ask() {
    if (!this.#resource) return Promise.resolve(null);
    this.#asking ??= this.#ask().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  /** Why the server ended the session, if it says so: its Problem, or null. */
  async verdict() {
    if (this.ended !== "closed" && this.ended !== "gone") return null;
    // An answer that is on its way may be older than the end.
    await this.#asking;
    if (this.ended === "closed" && !this.why) await this.ask();
    return this.why;
  }

  async #ask() {
    const headers = this.#credentials();
    const asked = { headers, cache: "no-store", signal: AbortSignal.timeout(ASKED_MS) };
    const problem = await fetch(this.#resource, asked).then(
      (response) => (response.ok ? null : Problem.from(response)),
      () => new Problem({ title: "The server does not answer" }),
    );
    if (isGone(problem)) {
      this.why = problem;
      this.#end("gone");
    }
    // A proxy that stands before a server speaks for it while it is away.
    this.away = problem !== null && [0, 502, 503, 504].includes(problem.status);
    const pause = this.away ? delay(this.#asked) : Math.min(SILENCE_MS * 2 ** (this.#asked + 1), ASK_SELDOM_MS);
    this.#asked++;
    this.#askAt = performance.now() + pause;
    return problem;
  }

  async #post() {
    this.#abort = new AbortController();
    const timer = setTimeout(() => this.#abort.abort(), ANSWER_MS);
    let response;
    try {
      response = await fetch(this.#endpoint, {
        method: "POST",
        headers: { "content-type": "application/sdp", ...bearer(this.#token) },
        body: this.pc.localDescription.sdp,
        signal: this.#abort.signal,
      });
    } catch {
      throw new Problem({ title: "The server does not answer" });
    } finally {
      clearTimeout(timer);
    }
    if (response.status !== 201) throw await Problem.from(response);
    const location = response.headers.get("location");
    if (location) this.#resource = new URL(location, response.url).href;
    this.events = extension(response, "server-sent-events");
    this.layers = extension(response, "layer");
    // Closed while the POST was on its way: the server must still learn of it.
    if (this.ended) this.#remove();
    return response;
  }

  #listen() {
    const { pc } = this;
    if (this.ended) return;
    this.#timer = setTimeout(() => this.#end("unreachable"), CONNECT_MS);
    pc.onconnectionstatechange = () => {
      const state = pc.connectionState;
      if (state === "connecting" || state === "new") return;
      clearTimeout(this.#timer);
      if (state === "disconnected") {
        this.#timer = setTimeout(() => this.#end("lost"), INTERRUPTED_MS);
        this.restart();
      } else if (state !== "connected") this.#end(this.connectedAt ? "lost" : "unreachable");
      else if (!this.connectedAt) {
        this.connectedAt = performance.now();
        this.#askAt = this.connectedAt + SILENCE_MS;
        this.onconnected();
      }
    };
    // A close_notify from the server leaves `connectionState` at `connected`; only the transport tells.
    const transport = (pc.getSenders()[0] ?? pc.getReceivers()[0])?.transport;
    transport?.addEventListener("statechange", () => transport.state === "closed" && this.#end("closed"));
  }

  #end(why) {
    if (this.ended) return;
    this.ended = why;
    if (why === "gone") this.#resource = null;
    clearTimeout(this.#timer);
    this.#settle(why);
  }

  /** Ends the session at both sides. May be called in `pagehide`; the request outlives the page. */
  close() {
    this.#end("left");
    this.#abort?.abort();
    this.pc.onconnectionstatechange = null;
    this.pc.close();
    return this.#remove();
  }

  async #remove() {
    const resource = this.#resource;
    this.#resource = null;
    if (!resource) return;
    const headers = this.#credentials(resource);
    await fetch(resource, { method: "DELETE", keepalive: true, headers }).catch(() => {});
  }

  /** The session's address is right enough; another origin does not get to see the token. */
  #credentials(resource = this.#resource) {
    return new URL(resource).origin === location.origin ? bearer(this.#token) : {};
  }
}

/** Does the server say that there is no such session? */
const isGone = (problem) => problem instanceof Problem && (problem.status === 404 || problem.status === 410);

/** The ICE lines of an offer, as the SDP fragment that begins a restart (RFC 8840 §9). */
function credentials(sdp) {
  const line = (name) => sdp.match(new RegExp(`^a=${name}:[^\\r\\n]*`, "m"))?.[0] ?? "";
  return ["ice-ufrag", "ice-pwd"].map((name) => `${line(name)}\r\n`).join("");
}

/** An answer with the ICE lines of a fragment instead of its own. */
function renewed(answer, fragment) {
  const candidates = fragment.match(/^a=(candidate:|end-of-candidates)[^\r\n]*/gm) ?? [];
  let sdp = answer.replace(/(^a=(candidate:|end-of-candidates)[^\r\n]*\r?\n)+/m, () => `${candidates.join("\r\n")}\r\n`);
  for (const name of ["ice-ufrag", "ice-pwd"]) {
    const line = new RegExp(`^a=${name}:[^\\r\\n]*`, "gm");
    const fresh = fragment.match(line)?.[0];
    if (!fresh) throw new Problem({ status: -1, title: "The server's ICE restart is incomplete" });
    sdp = sdp.replace(line, () => fresh);
  }
  return sdp;
}

/** The address of a new session's extension. */
function extension(response, name) {
  const link = new RegExp(`<([^>]+)>;\\s*rel="urn:ietf:params:whep:ext:core:${name}"`).exec(response.headers.get("link"));
  return link && new URL(link[1], response.url).href;
}

/** The request headers that carry a token. */
export const bearer = (token) => (token ? { authorization: `Bearer ${token}` } : {});

/** Sets parameters, such as `{ stereo: 1 }`, of Opus in a description. */
export function opus(sdp, parameters) {
  const types = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000/gim)].map((match) => match[1]);
  const set = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  return sdp.replace(/^a=fmtp:(\d+) ([^\r\n]*)/gm, (line, type, old) => {
    if (!types.includes(type)) return line;
    const others = old.split(";").filter((p) => !(p.split("=")[0].trim() in parameters));
    return `a=fmtp:${type} ${[...others, ...set].join(";")}`;
  });
}
