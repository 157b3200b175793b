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
  const [, name, version] = /(Edg|OPR|Firefox|OBS-Studio|Lavf|GStreamer)\/([\d.]+)/.exec(text ?? "") ?? /(Chrome|Safari)\/([\d.]+)/.exec(text ?? "") ?? [];
  const names = { Edg: "Edge", OPR: "Opera", "OBS-Studio": "OBS", Lavf: "FFmpeg (Lavf)" };
  return name ? `${names[name] ?? name} ${parseInt(version, 10)}` : (text ?? "unknown client").slice(0, 60);
}

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
export const millis = (ms) => (known(ms) ? `${Math.round(ms)} ms` : "–");
export const number = (value) => (known(value) ? Number(value).toLocaleString() : "–");
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
