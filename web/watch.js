// The watch page.

import { chooseLayer, keepLayer, layers } from "./layers.js";
import { keep, stream, token } from "./token.js";
import { Viewer } from "./whep.js";

const $ = (id) => document.getElementById(id);
const video = $("v");
/** Is this the player in somebody else's page? */
const EMBEDDED = location.pathname.startsWith("/embed/");
const viewer = new Viewer(`/whep/${encodeURIComponent(stream)}`, token("watch"));

/** How long the controls stay, in ms. */
const LINGER_MS = 2500;
/** Without a new frame for this long there is no picture, in ms. */
const FROZEN_MS = 8000;

// ---- What is going on ----

const SAYINGS = {
  connecting: ["Connecting …", ""],
  waiting: ["Starts soon", "Nobody is presenting yet. This page comes alive by itself."],
  again: ["A short break", "The presenter has left. This page continues by itself."],
  lost: ["One moment …", "The picture has stopped. It continues here as soon as it can."],
  live: ["Sound only", "There is no picture at the moment."],
  blind: ["Sound only", "This browser cannot play the picture: it does not know the presenter’s codec. Another one may."],
};

/** What went wrong: headline, detail, and whether a token may help. */
function explain({ status, title, detail }) {
  switch (status) {
    case 401:
      if (viewer.token) return ["This link is no longer valid", "Ask for a new one, or enter a token.", true];
      return ["Watching needs a token", "Open the link that you were given, or enter a token.", true];
    case 403:
      return ["This token is for something else", "It does not allow watching this stream.", true];
    case 404:
      return ["No such stream", `There is no stream called “${stream}” here.`];
    case 406:
    case 422:
      return ["This browser cannot play the stream", sentence(detail || "It does not know the presenter’s codec. Another one may")];
    case 410:
      return ["You were taken off this stream", "Whoever runs it has ended your session. Ask them, then load the page again."];
    case 429:
    case 503:
      return ["The server is full", "Trying again shortly."];
    case 0:
      return ["The server does not answer", "Trying again until it does."];
    case -1:
      return ["No picture gets through", "The server answers, but media does not arrive. A firewall may block it."];
    default:
      return ["The stream cannot be shown", sentence(detail || title || `The server said ${status}`)];
  }
}

const sentence = (words) => words[0].toUpperCase() + words.slice(1).replace(/\.?$/, ".");

let wasLive = false;

viewer.onstate = (state, problem) => {
  const key = state === "waiting" && wasLive ? "again" : state;
  const [headline, detail, asks] = state === "error" ? explain(problem) : SAYINGS[key];
  wasLive ||= state === "live";
  tell(headline, detail);
  $("state").dataset.state = state;
  const asked = !$("token-form").hidden;
  $("token-form").hidden = !asks;
  $("live").hidden = state !== "live";
  $("bar").hidden = !wasLive;
  if (state === "live") keepLayer(viewer.call).catch(() => {});
  // Told to the page around this one; it says nothing that a look at the picture would not.
  if (EMBEDDED) parent.postMessage({ tribune: { state } }, "*");
  framesAt = performance.now();
  lookForPicture();
  if (asks && !asked) $("token").focus();
};

/** Unchanged text is not set again: a screen reader would read it again. */
function tell(...texts) {
  for (const [at, id] of ["headline", "detail"].entries()) if ($(id).textContent !== texts[at]) $(id).textContent = texts[at];
}

let [frames, framesAt] = [0, 0];

/** A picture that has stopped while the sound goes on is not passed off as live. */
function lookForPicture() {
  const shown = video.getVideoPlaybackQuality().totalVideoFrames;
  if (shown !== frames || document.hidden) [frames, framesAt] = [shown, performance.now()];
  const frozen = !video.videoWidth || performance.now() - framesAt > FROZEN_MS;
  const live = $("state").dataset.state === "live";
  $("state").dataset.audio = live && frozen;
  if (live) tell(...SAYINGS[viewer.blind ? "blind" : "live"]);
  video.dataset.stale = wasLive && (!live || frozen);
}

viewer.onstream = () => {
  // Given anew, even the same stream would begin with a black picture.
  if (video.srcObject !== viewer.stream) video.srcObject = viewer.stream;
  play();
};

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken($("token").value.trim());
  $("token").value = "";
});

function useToken(value) {
  keep("watch", value);
  viewer.token = value;
  viewer.start();
}

// ---- Sound ----

// Browsers allow sound after a gesture, or on sites that one visits often: we try, and else ask for the gesture.
async function play() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError" || video.muted) return;
    video.muted = true;
    $("unmute").hidden = false;
    await video.play().catch(() => {});
  }
}

function mute(muted) {
  video.muted = muted;
  $("unmute").hidden = true;
  video.play().catch(() => {});
}

video.addEventListener("volumechange", () => {
  $("sound").setAttribute("aria-pressed", String(!video.muted));
  $("volume").value = video.muted ? 0 : video.volume;
});
$("unmute").addEventListener("click", () => mute(false));
$("sound").addEventListener("click", () => mute(!video.muted));
$("volume").addEventListener("input", ({ target }) => {
  video.volume = Number(target.value);
  mute(video.volume === 0);
});

// ---- Controls ----

let hiding = 0;

function showControls() {
  if ($("stage").dataset.chrome !== "shown") showLayers();
  $("stage").dataset.chrome = "shown";
  clearTimeout(hiding);
  hiding = setTimeout(() => ($("stage").dataset.chrome = "hidden"), LINGER_MS);
}

for (const kind of ["pointermove", "pointerdown", "keydown", "focusin"]) document.addEventListener(kind, showControls);
showControls();

function fullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($("stage").requestFullscreen) $("stage").requestFullscreen().catch(() => {});
  else video.webkitEnterFullscreen?.(); // Safari on a phone knows no other full screen.
}

async function pictureInPicture() {
  if (document.pictureInPictureElement) await document.exitPictureInPicture();
  else await video.requestPictureInPicture?.().catch(() => {});
}

/** Quality is a choice only where there is one; we look when the controls come up. */
async function showLayers() {
  if ($("live").hidden || document.activeElement === $("quality")) return;
  const { choices, chosen } = await layers(viewer.call);
  $("quality").hidden = choices.length < 2;
  $("quality").replaceChildren(new Option("Auto", ""), ...choices.map(({ name, wish }) => new Option(name, wish)));
  $("quality").value = chosen;
}

$("quality").addEventListener("change", ({ target }) => {
  chooseLayer(viewer.call, target.value).catch(showLayers);
  target.blur();
});
$("pip").hidden = !document.pictureInPictureEnabled;
$("pip").addEventListener("click", pictureInPicture);
$("fullscreen").addEventListener("click", fullscreen);
video.addEventListener("dblclick", fullscreen);
video.addEventListener("click", () => $("unmute").hidden || mute(false));
$("show-stats").addEventListener("click", toggleStats);

document.addEventListener("keydown", (event) => {
  if (event.target.matches?.("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { f: fullscreen, p: pictureInPicture, s: toggleStats, m: () => mute(!video.muted) }[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});

// ---- Statistics ----

function toggleStats() {
  const box = $("stats");
  box.hidden = !box.hidden;
  $("show-stats").setAttribute("aria-pressed", String(!box.hidden));
  if (!box.hidden) showStats();
}

// Most viewers never ask for statistics; the code is fetched for those who do.
async function showStats() {
  const { receiving, table } = await import("./stats.js");
  const { call } = viewer;
  if (!call) return;
  table(document.querySelector("#stats dl"), await receiving(call.pc));
  if (!call.record || $("record").href === call.record) return;
  $("record").href = call.record;
  const found = await fetch(call.record, { method: "HEAD" }).catch(() => null);
  $("record").hidden = !found?.ok;
}

setInterval(() => {
  if (!$("stats").hidden) showStats().catch(() => {});
  lookForPicture();
}, 1000);

// ---- Life of the page ----

addEventListener("pagehide", () => viewer.stop());
addEventListener("pageshow", (event) => event.persisted && viewer.start());
addEventListener("online", () => viewer.roam());
navigator.connection?.addEventListener("change", () => viewer.roam());
addEventListener("focus", () => viewer.hurry());
document.addEventListener("visibilitychange", () => document.hidden || viewer.hurry());
addEventListener("hashchange", () => location.hash && useToken(token("watch")));

document.title = `${stream} · tribune`;
$("name").textContent = $("title").textContent = stream;
if (EMBEDDED) Object.assign($("title"), { href: `/watch/${stream}`, target: "_blank", title: "Open in a page of its own" });
viewer.start();
