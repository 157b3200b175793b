// A presenter's side of WHIP: sends what the page gives it, and comes back after an interruption.

import { Call, delay, opus, Problem } from "./wish.js";

/** Refusals that only the presenter can mend; anything else is tried again. */
const FINAL = new Set([400, 401, 403, 404, 405, 406, 413, 415, 422]);
/** How often we look whether the server is still there, in ms. */
const LOOK_MS = 500;
/** The problem of asking for a session that somebody wanted to end. */
const WANTED = /:session-(taken-over|kicked)$/;

/** Keeps a presenter on the air. */
export class Presenter {
  #endpoint;
  #stream;
  #call = null;
  #wake = () => {};
  #run = 0;

  constructor(stream) {
    this.#stream = stream;
    this.#endpoint = `/whip/${encodeURIComponent(stream)}`;
    /** Called with `connecting`, `live`, `idle` or `error`, the Problem or null, and the ms until the next attempt. */
    this.onstate = () => {};
    /** What is sent; a track may be null. Change them by `replace`. */
    this.tracks = { audio: null, video: null };
  }

  /** The peer connection, for statistics. */
  get pc() {
    return this.#call?.pc;
  }

  /**
   * Goes on the air and stays there until `stop`. Options: `token`; `codec`, a MIME type or ""; `encodings`, a list of
   * RTCRtpEncodingParameters; `music`, stereo at a high bitrate.
   */
  async start(options) {
    const run = ++this.#run;
    const current = () => run === this.#run;
    for (let attempt = 0; current(); attempt++) {
      this.onstate("connecting", null, 0);
      let problem = null;
      try {
        const why = await this.#present(options, () => {
          attempt = 0;
          if (current()) this.onstate("live", null, 0);
        });
        if (!current()) return;
        this.onstate("connecting", null, 0);
        if (why instanceof Problem) problem = why;
        else if (why === "unreachable") problem = new Problem({ status: -1, title: "No path for media to the server" });
      } catch (error) {
        problem = error;
      }
      if (!current()) return;
      const busy = problem?.status === 409 && problem.retryAfter === null;
      if (problem && (FINAL.has(problem.status) || busy)) {
        this.#run++;
        this.onstate("error", problem, 0);
        return;
      }
      const wait = delay(attempt, problem ?? {});
      this.onstate("connecting", problem, wait);
      await new Promise((done) => {
        this.#wake = done;
        setTimeout(done, wait);
      });
    }
  }

  /** Leaves the air. May be called in `pagehide`. */
  stop() {
    this.#run++;
    this.#call?.close();
    this.#call = null;
    this.#wake();
    this.onstate("idle", null, 0);
  }

  /** The network is another one: media may have to find another way. */
  roam() {
    this.#call?.restart();
    this.hurry();
  }

  /** Does not wait any longer for the next attempt. */
  hurry() {
    this.#wake();
  }

  /** Sends another track from now on; no new negotiation is needed. */
  async replace(kind, track) {
    this.tracks[kind] = track;
    const sender = this.pc?.getTransceivers().find((t) => t.receiver.track.kind === kind)?.sender;
    await sender?.replaceTrack(track).catch(() => {});
  }

  /** Changes the limits of the picture, or of each of its layers, while it is sent. */
  async limit(encodings) {
    const sender = this.pc?.getTransceivers().find((t) => t.receiver.track.kind === "video")?.sender;
    const parameters = sender?.getParameters();
    if (!parameters?.encodings?.length) return;
    for (const [at, encoding] of parameters.encodings.entries()) {
      const { maxBitrate, maxFramerate } = encodings[at] ?? encoding;
      Object.assign(encoding, { maxBitrate, maxFramerate });
    }
    await sender.setParameters(parameters).catch(() => {});
  }

  /** One session, from offer to end. Resolves with why it ended: a word of the call's, or the server's Problem. */
  async #present({ token, codec, encodings, music }, onconnected) {
    // An offer that got no answer is made again.
    const call = this.#call?.ended === null ? this.#call : this.#prepare(token, codec, encodings);
    this.#call = call;
    call.onconnected = onconnected;
    // The answer's parameters bind the sender; a server that forwards has no reason to limit them.
    const polish = (sdp) => opus(sdp, { stereo: 1, "sprop-stereo": 1, maxaveragebitrate: 192_000 });
    await call.open(music ? { offer: polish, answer: polish } : {});
    const looks = setInterval(() => call.look().catch(() => {}), LOOK_MS);
    const why = await call.over;
    clearInterval(looks);
    // Ended by the server: because it stops, or because somebody wants it so? Two pages that answered a takeover by a
    // takeover would never come to rest.
    const problem = await call.verdict();
    // The old session must be gone before the next offer, or the server might see two presenters.
    await Promise.race([call.close(), new Promise((done) => setTimeout(done, 2000))]);
    return WANTED.test(problem?.type) ? problem : why;
  }

  #prepare(token, codec, encodings) {
    const call = new Call(this.#endpoint, token);
    // Both sections are offered even without a track, so that one can be added later without another offer.
    const streams = [new MediaStream(Object.values(this.tracks).filter(Boolean))];
    call.pc.addTransceiver(this.tracks.audio ?? "audio", { direction: "sendonly", streams });
    const picture = call.pc.addTransceiver(this.tracks.video ?? "video", {
      direction: "sendonly",
      streams,
      sendEncodings: encodings.map((encoding) => ({ ...encoding })),
    });
    prefer(picture, codec);
    return call;
  }
}

/** Offers one video codec only. */
function prefer(transceiver, codec) {
  if (!codec) return;
  const { codecs } = RTCRtpSender.getCapabilities("video");
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === codec.toLowerCase());
  const repair = codecs.filter(({ mimeType }) => /\/(rtx|red|ulpfec|flexfec-03)$/i.test(mimeType));
  if (wanted.length) transceiver.setCodecPreferences?.([...wanted, ...repair]);
}

/** The video codecs that this browser can send, as MIME types. */
export function codecs() {
  const { codecs: all } = RTCRtpSender.getCapabilities?.("video") ?? { codecs: [] };
  const known = ["video/H264", "video/VP8", "video/VP9", "video/AV1"];
  return known.filter((name) => all.some(({ mimeType }) => mimeType.toLowerCase() === name.toLowerCase()));
}
