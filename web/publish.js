// The presenter's page: trying out, going live, and what is going on then.

import "./copy.js";
import { fillLists, getCamera, getMicrophone, getScreen, inTurn, makeUsual, mixer, now } from "./capture.js";
import { connect, prepare, pressed, usePicture } from "./capture.js";
import { follow, picture, quality, remember, restore, wish } from "./choices.js";
import * as devices from "./devices.js";
import { arriving, findings, sending } from "./onair.js";
import * as rehearsal from "./rehearsal.js";
import { claims, explain, notice, say } from "./say.js";
import { share } from "./share.js";
import { audible, decibels } from "./sound.js";
import { keep, stream, token } from "./token.js";
import { codecs, Presenter } from "./whip.js";
import { bearer, Problem } from "./wish.js";

const $ = (id) => document.getElementById(id);

/** After this much silence we ask whether it is the right microphone, in ms. */
const QUIET_MS = 5000;
/** A picture worse than chosen for this long is worth a word, in ms. */
const LIMITED_MS = 15_000;
/** A token that ends within this is worth a word, in ms. */
const SOON_MS = 30 * 60_000;
/** How often the server is asked what it gets, in ms. */
const ASK_MS = 2000;

const presenter = new Presenter(stream);
let pass = token("publish");
/** What was chosen when we went live. */
let chosen = wish();
let liveSince = 0;
let peak = 0;
let limitedSince = 0;
/** What was said of the connection: outdated when there is one. */
let spoken = null;

// ---- Before going live ----

connect({
  send: (kind, track) => presenter.replace(kind, track),
  changed() {
    showCover();
    checkPicture();
    $("mute").disabled = !now.microphone;
    $("hide").disabled = !now.picture;
  },
});

function showCover() {
  const waiting = picture() === "camera" && devices.secure() && !liveSince;
  $("cover").hidden = Boolean(now.picture);
  $("camera-field").hidden = picture() !== "camera";
  notice("veiled", now.picture && pressed("hide") ? "Hidden: your viewers see black." : "");
  $("allow").hidden = !waiting;
  const promise = "Your picture will be here. Nobody sees it before you go live.";
  const without = "No picture: your viewers only hear you.";
  if (devices.secure()) $("cover-text").textContent = waiting ? promise : without;
}

/** One line of what there is before going live; `state`: `good`, `bad` or `open`. */
function check(what, state, sentence) {
  const line = $(`check-${what}`);
  line.dataset.state = state;
  const text = line.querySelector("span");
  if (text.textContent !== sentence) text.textContent = sentence;
}

function checkPicture() {
  if (!now.picture) return check("picture", "open", picture() === "none" ? "None: sound only." : "Not turned on yet.");
  const { width, height, frameRate } = now.picture.getSettings();
  const size = width ? `, ${width} × ${height}` : "";
  const frames = frameRate ? `, ${Math.round(frameRate)} per second` : "";
  check("picture", "good", `${now.picture.label || "The camera"}${size}${frames}.`);
}

let heard = null;
function checkSound(level) {
  if (heard?.track !== now.microphone) heard = { track: now.microphone, ever: false };
  if (level !== null && audible(level)) heard.ever = true;
  const name = now.microphone?.label || "The microphone";
  const without = $("microphone").value === "none" ? "No microphone." : "Not turned on yet.";
  if (!now.microphone) check("sound", "open", now.screenSound ? "The screen’s only." : without);
  else if (pressed("mute")) check("sound", "bad", `${name} is muted.`);
  else if (heard.ever) check("sound", "good", `${name} is heard.`);
  else check("sound", "open", level === null ? `${name} is on.` : `${name}: say something.`);
}

/** Asks whether the server would take us, so that a bad link shows now and not when everybody waits. */
async function checkServer() {
  share(stream, pass);
  if (!pass) return check("server", "bad", "Presenting needs a token.");
  const address = `/whip/${encodeURIComponent(stream)}`;
  const response = await fetch(address, { headers: bearer(pass) }).catch(() => null);
  if (response?.ok) return checkTime();
  const problem = response ? await Problem.from(response) : new Problem({});
  check("server", "bad", explain(problem, stream, pass));
  if (problem.status === 401 || problem.status === 403) askToken();
}

function checkTime() {
  const left = claims(pass).exp * 1000 - Date.now();
  if (!(left < SOON_MS)) return check("server", "good", "It is ready for you.");
  const minutes = Math.max(1, Math.round(left / 60_000));
  check("server", "open", `It is ready for you, but your link ends in ${minutes} min. Once live you stay live.`);
}

let backToLive = null;

async function rehearse() {
  mixer.wake();
  if (backToLive) return backToLive.abort();
  let ready = false;
  await inTurn(async () => (ready = await prepare()));
  if (!ready) return;
  notice("verdict", "");
  $("go").disabled = true;
  backToLive = new AbortController();
  try {
    mixer.loudest = 0;
    $("rehearse").disabled = true;
    const tracks = [now.picture, presenter.tracks.audio].filter(Boolean);
    const recording = await rehearsal.record(tracks, (seconds) => notice("recording", `Recording … ${seconds}`));
    const { loudest } = mixer;
    $("rehearse").disabled = false;
    $("rehearse").textContent = "Back to the live picture";
    notice("recording", "Playing");
    await rehearsal.play($("preview"), recording, backToLive.signal);
    notice("verdict", verdict(loudest));
    $("verdict").classList.toggle("good", !now.microphone || !mixer.measures || audible(loudest));
  } catch (error) {
    say(`The test did not work: ${error.message}`);
  } finally {
    backToLive = null;
    $("rehearse").disabled = $("go").disabled = false;
    $("rehearse").textContent = REHEARSE;
    notice("recording", "");
    $("preview").srcObject = now.picture && new MediaStream([now.picture]);
  }
}

function verdict(loudest) {
  if (!now.microphone) return "That is what your viewers would see.";
  if (mixer.measures && !audible(loudest)) return "Nothing was heard in those seconds. Is it the right microphone?";
  const loud = mixer.measures ? ` The loudest was ${decibels(loudest)}.` : "";
  return `That is what your viewers would see and hear.${loud}`;
}

const REHEARSE = $("rehearse").textContent;

// ---- Live ----

const PILLS = { idle: "Not live", connecting: "Connecting", live: "Live", error: "Not live" };

presenter.onstate = (state, problem, wait) => {
  const active = state === "connecting" || state === "live";
  $("state").dataset.state = state;
  $("state").textContent = state === "connecting" && liveSince ? "Reconnecting" : PILLS[state];
  $("go").hidden = active;
  $("rehearse").hidden = active || !rehearsal.possible();
  $("checks").hidden = active;
  $("stop").hidden = !active;
  $("on-air").hidden = $("on-the-air").hidden = state !== "live";
  if (state !== "live") notice("limit", "");
  if (state === "live") {
    if (!liveSince) {
      [liveSince, peak] = [performance.now(), 0];
      makeUsual();
    }
    limitedSince = performance.now();
    if ($("message").textContent === spoken) say("");
    stayAwake();
    showCover();
    showNumbers();
    askServer();
  }
  if (!active) {
    liveSince = 0;
    showCover();
    checkServer();
    awake?.release().catch(() => {});
    awake = null;
  }
  if (problem) {
    const again = wait ? ` Trying again in ${Math.ceil(wait / 1000)} s.` : "";
    say((spoken = explain(problem, stream, pass) + again));
    if (problem.status === 401 || problem.status === 403) askToken();
  } else if (state === "connecting" && wait) {
    say((spoken = "The connection was lost. Coming back …"));
  }
};

const LIMITS = {
  cpu: "This computer cannot keep up, so the picture was made smaller. A lower quality may look better.",
  bandwidth: "Your connection is slow at the moment, so the picture is less sharp.",
};

async function showNumbers() {
  if (!presenter.pc || $("on-the-air").hidden) return;
  $("elapsed").textContent = duration((performance.now() - liveSince) / 1000);
  const numbers = await sending(presenter.pc);
  if (!now.picture) numbers.frame = "none";
  for (const id of ["rate", "frame", "loss", "rtt"]) $(id).textContent = numbers[id];
  // While the rate still climbs the picture is always limited; that says nothing.
  if (!numbers.limit) limitedSince = performance.now();
  notice("limit", performance.now() - limitedSince < LIMITED_MS ? "" : LIMITS[numbers.limit]);
}

async function askServer() {
  if ($("on-the-air").hidden) return;
  const known = await arriving(stream, pass);
  const count = Object(known.viewers);
  peak = Math.max(peak, count.now ?? 0, count.peak ?? 0);
  $("viewers").textContent = count.now ?? "–";
  $("peak").textContent = count.now === undefined ? "–" : peak;
  const { facts, alarms } = findings(known, {
    muted: pressed("mute"),
    hidden: pressed("hide"),
    sound: Boolean(presenter.tracks.audio),
    picture: Boolean(now.picture),
  });
  $("server-view").hidden = !facts.length && !alarms.length;
  list("findings", facts);
  list("alarms", alarms);
}

function list(id, sentences) {
  const shown = [...$(id).children].map(({ textContent }) => textContent);
  if (shown.join("\n") === sentences.join("\n")) return;
  $(id).replaceChildren(...sentences.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

function duration(seconds) {
  const [h, m, s] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** How far the meter falls from one look to the next: slowly enough for eyes. */
const FALL = 0.04;
let shown = 0;

function measure() {
  const level = mixer.level();
  shown = Math.max(level ?? 0, shown - FALL);
  const percent = Math.round(100 * shown);
  $("level").style.setProperty("--level", `${percent}%`);
  $("level").setAttribute("aria-valuenow", String(percent));
  $("level").setAttribute("aria-valuetext", decibels(shown));
  $("loudness").textContent = level === null ? "" : decibels(shown);
  const silent = level !== null && !pressed("mute") && mixer.quiet >= QUIET_MS;
  notice("silent", silent ? "You have been silent for 5 s. Is this the right microphone, and is it switched on?" : "");
  checkSound(level);
}

// A phone that falls asleep would take the presentation with it.
let awake = null;
async function stayAwake() {
  awake = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
}

// ---- Token ----

function askToken() {
  $("token-form").hidden = false;
  $("token").focus();
}

function useToken(value) {
  pass = value;
  keep("publish", value);
  $("token").value = "";
  $("token-form").hidden = true;
  say("");
  checkServer();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken($("token").value.trim());
  $("go").focus();
});
$("change-token").addEventListener("click", askToken);
addEventListener("hashchange", () => location.hash && useToken(token("publish")));

// ---- Buttons and fields ----

$("go").addEventListener("click", async () => {
  mixer.wake();
  if (!pass) {
    say(explain({ status: 401 }, stream, ""));
    askToken();
    return;
  }
  $("token-form").hidden = true;
  $("go").disabled = true;
  notice("verdict", "");
  let ready = false;
  await inTurn(async () => (ready = await prepare()));
  $("go").disabled = false;
  if (!ready) {
    if ($("message").hidden) say("There is nothing to present. Choose a camera, a screen or a microphone.");
    return;
  }
  chosen = wish();
  presenter.start({ token: pass, codec: chosen.codec, encodings: devices.encodings(chosen), music: chosen.music });
  $("stop").focus();
});

$("stop").addEventListener("click", () => {
  presenter.stop();
  say("");
  $("go").focus();
});

$("rehearse").addEventListener("click", rehearse);
$("allow").addEventListener("click", () => inTurn(prepare));

/** A button that is on or off. */
function toggle(id, track, [off, on]) {
  const button = $(id);
  button.addEventListener("click", () => {
    const state = !pressed(id);
    button.setAttribute("aria-pressed", String(state));
    button.querySelector("span").textContent = state ? on : off;
    if (track()) track().enabled = !state;
    showCover();
  });
}

toggle("mute", () => now.microphone, ["Mute", "Muted"]);
toggle("hide", () => now.picture, ["Hide", "Hidden"]);

document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = { m: "mute", h: "hide" }[event.key.toLowerCase()];
  if (button && !event.repeat) $(button).click();
});

for (const radio of document.querySelectorAll("[name=picture]")) {
  radio.addEventListener("change", () => {
    remember();
    say("");
    // A screen must be asked for at once: browsers want the click to be fresh.
    if (radio.value === "screen") inTurn(getScreen).then(showCover);
    else if (radio.value === "camera") inTurn(getCamera).then(fillLists).then(showCover);
    else inTurn(() => usePicture(null));
  });
}

/** A field whose change is remembered, and then does something. */
function changed(id, action = () => {}) {
  $(id).addEventListener("change", () => {
    follow(id);
    remember();
    inTurn(action);
  });
}

async function tune() {
  if (now.picture && picture() === "camera") await devices.retune(now.picture, quality());
  checkPicture();
  await presenter.limit(devices.encodings({ ...chosen, quality: quality() }));
}

changed("camera", async () => {
  if (now.picture) await getCamera();
  await fillLists();
  makeUsual(["camera"]);
});
changed("microphone", async () => {
  if (now.microphone || now.picture || presenter.pc) await getMicrophone();
  await fillLists();
  makeUsual(["microphone"]);
});
changed("music", () => now.microphone && getMicrophone());
changed("hint", () => {
  if (now.picture) now.picture.contentHint = $("hint").value || (picture() === "screen" ? "detail" : "motion");
});
changed("codec");
changed("layers");
for (const id of ["quality", "height", "frames", "bitrate"]) changed(id, tune);

$("take-usual").addEventListener("click", () => {
  const { kind, id } = $("other-device").dataset;
  $(kind).value = id;
  $(kind).dispatchEvent(new Event("change"));
});
$("keep-other").addEventListener("click", () => makeUsual());

// ---- Life of the page ----

navigator.mediaDevices?.addEventListener?.("devicechange", () => inTurn(fillLists));
addEventListener("online", () => {
  presenter.roam();
  checkServer();
});
navigator.connection?.addEventListener("change", () => presenter.roam());
addEventListener("pagehide", () => presenter.stop());
addEventListener("beforeunload", (event) => $("stop").hidden || event.preventDefault());
addEventListener("pointerdown", () => mixer.wake());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && liveSince) stayAwake();
});
setInterval(measure, 100);
setInterval(() => showNumbers().catch(() => {}), 1000);
setInterval(askServer, ASK_MS);

document.title = `Present ${stream} · tribune`;
$("name").textContent = stream;
share(stream, "");
$("screen-choice").hidden = !devices.canShareScreen();
$("rehearse").hidden = !rehearsal.possible();
for (const mime of codecs()) $("codec").append(new Option(mime.split("/")[1], mime));
restore();
showCover();
checkPicture();
if (!devices.secure()) {
  $("go").disabled = $("rehearse").disabled = $("checks").hidden = true;
  $("cover-text").textContent = "No camera on an insecure page.";
  const port = location.port ? `:${location.port}` : "";
  say(
    `Browsers give cameras and microphones to secure pages only. On the server’s own machine open ` +
      `http://localhost${port}${location.pathname}, from elsewhere the page’s https:// address.`,
  );
} else {
  if (!pass) askToken();
  checkServer();
  const kinds = [picture() === "camera" && "camera", $("microphone").value !== "none" && "microphone"].filter(Boolean);
  if (await devices.allowed(kinds)) inTurn(prepare);
}
