// What the presenter sees while live: what leaves this computer, and what the server says has arrived.

import { bits, entriesOf, ms, rate, size, sum } from "./stats.js";
import { bearer } from "./wish.js";

/** How long the server may take to tell what it gets, in ms. */
const PATIENCE_MS = 5000;

/** What a connection sends, by the ids of the fields that show it; `limit`: `cpu`, `bandwidth` or "". */
export async function sending(pc) {
  const entries = await entriesOf(pc);
  const outbound = entries.filter(({ type }) => type === "outbound-rtp");
  const remote = entries.filter(({ type }) => type === "remote-inbound-rtp");
  // Of layers the largest is the picture.
  const pictures = outbound.filter(({ kind }) => kind === "video");
  const picture = pictures.toSorted((a, b) => (b.frameHeight ?? 0) - (a.frameHeight ?? 0))[0] ?? {};
  const pair = entries.find(({ type, nominated }) => type === "candidate-pair" && nominated) ?? {};
  const loss = Math.max(...remote.map(({ fractionLost }) => fractionLost ?? 0), 0);
  const frames = Math.round(picture.framesPerSecond ?? 0);
  return {
    rate: bits(rate(pc, sum(outbound, "bytesSent"))),
    frame: picture.frameWidth ? `${size(picture)}, ${frames}/s` : "–",
    loss: remote.length ? `${(100 * loss).toFixed(1)} %` : "–",
    rtt: ms(pair.currentRoundTripTime ?? remote[0]?.roundTripTime),
    limit: /^(cpu|bandwidth)$/.exec(picture.qualityLimitationReason)?.[0] ?? "",
  };
}

/** What the server knows of a stream, for whoever presents on it; an empty object when it does not say. */
export async function arriving(stream, token) {
  const given = { headers: bearer(token), signal: AbortSignal.timeout(PATIENCE_MS) };
  const response = await fetch(`/api/v1/streams/${encodeURIComponent(stream)}`, given).catch(() => null);
  return Object(response?.ok ? await response.json().catch(() => null) : null);
}

/**
 * What a stream's description says of the presenter's sound and picture, as sentences: `facts`, and `alarms` that want
 * something done. What the presenter means to do is no alarm: to be `muted` or `hidden`, to have no `sound` or `picture`.
 */
export function findings(known, { muted, hidden, sound, picture: shown }) {
  const { video, audio } = Object(known.presenter);
  const facts = [];
  if (shown && video?.codec) {
    const picture = video.width ? `, ${video.width} × ${video.height}` : "";
    const key = video.key_interval_ms > 0 ? `, a key frame every ${(video.key_interval_ms / 1000).toFixed(1)} s` : "";
    const layers = video.layers?.length > 1 ? `, ${video.layers.length} sizes` : "";
    facts.push(`It sees ${video.codec.toUpperCase()}${picture}${layers}${key}.`);
  }
  if (!sound) facts.push("It gets no sound: there is no microphone.");
  else if (audio?.silent_s >= 1) facts.push(`It has heard nothing for ${Math.round(audio.silent_s)} s.`);
  else if (Number.isFinite(audio?.level_dbov)) facts.push(`It hears you at ${Math.round(audio.level_dbov)} dB.`.replace("-", "−"));
  else if (audio?.codec) facts.push(`It hears ${audio.codec}.`);
  const dark = (hidden || !shown) && "";
  const meant = { silence: sound ? muted && MUTED : "", no_video: !shown && "", frozen: dark, bitrate_collapse: dark };
  const alarms = (Array.isArray(known.alarms) ? known.alarms.map(Object) : []).map(({ kind, detail }) => {
    return typeof meant[kind] === "string" ? meant[kind] : (ALARMS[kind] ?? String(detail || kind));
  });
  return { facts, alarms: alarms.filter(Boolean) };
}

const MUTED = "Nobody hears you: you are muted.";

/** What an alarm means to whoever presents. */
const ALARMS = {
  silence: "Nobody hears you. Check the microphone.",
  no_video: "No picture arrives. Check the camera.",
  frozen: "The picture stands still.",
  b_frames: "The encoder sends B-frames, which browsers do not show in order. Turn them off.",
  key_frame_interval: "Key frames are rare, so new viewers wait for a picture. Set the key frame interval to 2 s.",
  bitrate_collapse: "Much less arrives than before. Is the connection good?",
  loss: "Much is lost on the way to the server. A cable, or a lower quality, may help.",
};
