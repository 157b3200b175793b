// Numbers as people read them, and elements made of text: nothing from the network is ever markup.

/** An element with text and classes. */
export function element(kind, content = "", classes = "") {
  const made = document.createElement(kind);
  made.textContent = content;
  if (classes) made.className = classes;
  return made;
}

/** Unchanged text is not set again: a screen reader would read it again. */
export function set(target, content) {
  if (target.textContent !== content) target.textContent = content;
}

/** What a client calls itself, in short: a browser's own words are a line of history. */
export function agent(text) {
  const words = text ?? "unknown client";
  const [, name, version] = [/(Edg|OPR|Firefox|OBS-Studio|Lavf|GStreamer)\/([\d.]+)/, /(Chrome)\/([\d.]+)/, /(Version)\/([\d.]+).*Safari/]
    .map((pattern) => pattern.exec(words)).find(Boolean) ?? [];
  if (!name) return words.length > 60 ? `${words.slice(0, 59)}…` : words;
  const names = { Edg: "Edge", OPR: "Opera", "OBS-Studio": "OBS", Lavf: "FFmpeg (Lavf)", Version: "Safari" };
  const [system] = /iPhone|iPad|Android|Windows|Macintosh|Linux/.exec(words) ?? [];
  return `${names[name] ?? name} ${parseInt(version, 10)}${system ? ` on ${system === "Macintosh" ? "Mac" : system}` : ""}`;
}

/** A codec as people write it. */
export const codec = (word) => ({ h264: "H.264", h265: "H.265", opus: "Opus" })[word] ?? word.toUpperCase();

const known = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));

/** Seconds as `1:02:03` or `2:03`. */
export function duration(seconds) {
  if (!known(seconds)) return "–";
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Bits per second. */
export function bits(rate) {
  if (!known(rate)) return "–";
  return rate < 1e6 ? `${Math.round(rate / 1e3)} kbit/s` : `${(rate / 1e6).toFixed(1)} Mbit/s`;
}

/** Bytes. */
export function bytes(count) {
  if (!known(count)) return "–";
  const step = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]].find(([, size]) => count >= size);
  return step ? `${(count / step[1]).toFixed(1)} ${step[0]}` : `${count} B`;
}

/** A share of one as per cent. */
export const percent = (share) => (known(share) ? `${(100 * share).toFixed(share && share < 0.1 ? 2 : 1)} %` : "–");
export const millis = (ms) => (!known(ms) ? "–" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
export const number = (value) => (known(value) ? Number(value).toLocaleString([], { maximumFractionDigits: 1 }) : "–");
/** The time of day of a date. */
export const clock = (date) => new Date(date).toLocaleTimeString();
export const dateAndTime = (date) => new Date(date).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** Fills a `<dl>` in place: [name, value, isBad]. */
export function figures(list, rows) {
  rows.forEach(([name, value, isBad], i) => {
    const row = list.children[i] ?? list.appendChild(document.createElement("div"));
    if (!row.children.length) row.append(element("dt"), element("dd"));
    set(row.firstElementChild, name);
    set(row.lastElementChild, String(value));
    row.classList.toggle("bad", Boolean(isBad));
  });
  while (list.children.length > rows.length) list.lastElementChild.remove();
}
