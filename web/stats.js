// Reads the counters of a peer connection into words that people know.

const previous = new WeakMap();

/** Kilobits per second since the last look at this connection; null at the first. */
export function rate(pc, bytes) {
  const at = performance.now();
  const before = previous.get(pc);
  if (before && at - before.at < 500) return before.rate;
  const value = before && bytes >= before.bytes ? Math.round((8 * (bytes - before.bytes)) / (at - before.at)) : null;
  previous.set(pc, { at, bytes, rate: value });
  return value;
}

/** All that the browser counts for a connection. */
export const entriesOf = async (pc) => [...(await pc.getStats()).values()];

export const sum = (entries, field) => entries.reduce((total, entry) => total + (entry[field] ?? 0), 0);
export const ms = (seconds) => (Number.isFinite(seconds) ? `${Math.round(seconds * 1000)} ms` : "–");
export const size = ({ frameWidth, frameHeight }) => (frameWidth ? `${frameWidth} × ${frameHeight}` : "–");
export const bits = (kilobits) => {
  if (kilobits === null) return "–";
  return kilobits < 1000 ? `${kilobits} kbit/s` : `${(kilobits / 1000).toFixed(1)} Mbit/s`;
};

/** What a viewer's connection receives, as rows of a table. */
export async function receiving(pc) {
  const report = await pc.getStats();
  const entries = [...report.values()];
  const inbound = entries.filter(({ type }) => type === "inbound-rtp");
  const picture = inbound.find(({ kind }) => kind === "video") ?? {};
  const pair = entries.find(({ type, nominated }) => type === "candidate-pair" && nominated) ?? {};
  const codecs = inbound.map(({ codecId }) => report.get(codecId)?.mimeType.split("/")[1]);
  const buffer = picture.jitterBufferDelay / picture.jitterBufferEmittedCount;
  const received = sum(inbound, "packetsReceived");
  const lost = sum(inbound, "packetsLost");
  return {
    Picture: size(picture),
    "Frames per second": Math.round(picture.framesPerSecond ?? 0),
    "Bit rate": bits(rate(pc, sum(inbound, "bytesReceived"))),
    Codecs: codecs.filter(Boolean).join(", ") || "–",
    "Packets lost": received ? `${lost} (${((100 * lost) / (received + lost)).toFixed(2)} %)` : "–",
    "Frames dropped": picture.framesDropped ?? "–",
    Freezes: picture.freezeCount ?? "–",
    Buffer: ms(buffer),
    "Round trip": ms(pair.currentRoundTripTime),
    "Behind the server": ms(buffer + pair.currentRoundTripTime / 2),
  };
}

/** Fills a definition list with rows. */
export function table(list, rows) {
  const cell = (kind, content) => Object.assign(document.createElement(kind), { textContent: content });
  list.replaceChildren(...Object.entries(rows).flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]));
}
