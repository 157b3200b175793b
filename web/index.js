// The front page: which streams there are, and the way to them.

import "./copy.js";

const $ = (id) => document.getElementById(id);

/** How often to ask for the streams, in ms. */
const REFRESH_MS = 3000;

// ---- Streams ----

/** Rows by the stream's name. They are changed in place, so that the focus stays where it is. */
const rows = new Map();

async function refresh() {
  if (document.visibilityState === "hidden") return;
  try {
    const response = await fetch("/api/v1/streams");
    if (response.status === 401 || response.status === 403) return note("The list of streams is not public here.");
    if (!response.ok) return note(`The server cannot say which streams there are (${response.status}).`);
    const { streams } = await response.json();
    show(streams);
    note(streams.length ? "" : "Nobody is presenting at the moment.");
  } catch {
    note("The server does not answer. Trying again …");
  }
}

function show(streams) {
  const names = new Set(streams.map(({ name }) => name));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.item.remove();
    rows.delete(name);
  }
  for (const stream of streams) {
    const row = rows.get(stream.name) ?? add(stream.name);
    row.item.dataset.live = String(stream.live);
    set(row.status, stream.live ? "Live" : "Not live");
    const viewers = stream.viewers.now ?? stream.viewers;
    set(row.viewers, viewers === 1 ? "1 viewer" : `${viewers} viewers`);
  }
}

function add(name) {
  const item = element("li");
  const link = element("a", name);
  link.href = `/watch/${encodeURIComponent(name)}`;
  const row = { item, status: element("span"), viewers: element("span") };
  row.status.className = "status";
  item.append(link, row.status, row.viewers);
  item.dataset.stream = name;
  $("streams").append(item);
  rows.set(name, row);
  return row;
}

const element = (kind, content = "") => Object.assign(document.createElement(kind), { textContent: content });

/** Unchanged text is not set again: a screen reader would read it again. */
function set(target, content) {
  if (target.textContent !== content) target.textContent = content;
}

function note(content) {
  set($("streams-note"), content);
  $("streams-note").hidden = !content;
}

// ---- The way to a stream ----

function address() {
  const name = $("stream").validity.valid ? $("stream").value : $("stream").placeholder;
  $("whip-url").textContent = `${location.origin}/whip/${name}`;
  $("watch-url").textContent = `${location.origin}/watch/${name}`;
}

$("stream").addEventListener("input", address);
$("open").addEventListener("submit", (event) => {
  event.preventDefault();
  const page = event.submitter?.value === "publish" ? "publish" : "watch";
  location.assign(`/${page}/${encodeURIComponent($("stream").value)}`);
});

address();
refresh();
setInterval(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", refresh);
