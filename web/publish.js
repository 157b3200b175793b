// The presenter's page.

import "./copy.js";
import * as devices from "./devices.js";
import { Mixer } from "./sound.js";
import { sending } from "./stats.js";
import { keep, stream, token } from "./token.js";
import { codecs, Presenter } from "./whip.js";
import { bearer } from "./wish.js";

const $ = (id) => document.getElementById(id);

/** After this much silence we ask whether it is the right microphone, in ms. */
const QUIET_MS = 6000;

/** A picture worse than chosen for this long is worth a word, in ms. */
const LIMITED_MS = 15_000;

const presenter = new Presenter(stream);
const mixer = new Mixer();
/** What is captured now; null where there is nothing. */
const now = { picture: null, microphone: null, screenSound: null };
let pass = token("publish");
let liveSince = 0;
let viewersAt = 0;
let limitedSince = 0;

// ---- Choices ----

const FIELDS = ["camera", "microphone", "quality", "codec"];
const MEMORY = "tribune.publish";

const picture = () => document.querySelector("[name=picture]:checked").value;
const quality = () => devices.QUALITIES[$("quality").value];

function wish() {
  const microphone = $("microphone").value;
  return { camera: $("camera").value, microphone, quality: quality(), music: $("music").checked };
}

function remember() {
  const choices = Object.fromEntries(FIELDS.map((id) => [id, $(id).value]));
  // A screen cannot be shared without asking again, so it is no choice to come back to.
  if (picture() !== "screen") choices.picture = picture();
  choices.music = $("music").checked;
  try {
    localStorage.setItem(MEMORY, JSON.stringify({ ...recall(), ...choices }));
  } catch {
    // Without storage the next visit starts with the defaults.
  }
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}

/** Selects a value; one that is not in the list yet is kept until the list of devices is known. */
function select(id, value) {
  if (typeof value !== "string" || value === "") return;
  const list = $(id);
  if (![...list.options].some((option) => option.value === value)) {
    if (id !== "camera" && id !== "microphone") return;
    list.append(new Option("Last used", value));
  }
  list.value = value;
}

function restore() {
  for (const mime of codecs()) $("codec").append(new Option(mime.split("/")[1], mime));
  const choices = recall();
  for (const id of FIELDS) select(id, choices[id]);
  $("music").checked = choices.music === true;
  if (choices.picture === "none") document.querySelector("[name=picture][value=none]").checked = true;
}

async function fillLists() {
  const { cameras, microphones } = await devices.list();
  fill("camera", cameras, now.picture, []);
  fill("microphone", microphones, now.microphone, [new Option("No microphone", "none")]);
}

/** Shows the devices that there are; the one in use is selected, else what was selected before. */
function fill(id, found, track, extra) {
  const list = $(id);
  if (!found.length) return;
  const wanted = list.value === "none" ? "none" : track?.getSettings().deviceId || list.value;
  list.replaceChildren(...found.map(({ id: device, label }) => new Option(label, device)), ...extra);
  list.value = wanted;
  if (list.selectedIndex < 0) list.selectedIndex = 0;
}

// ---- Capturing ----

// Changes run one after another: two requests for one device at the same time would get in each other's way.
let queue = Promise.resolve();
function inTurn(change) {
  queue = queue.then(change).catch((error) => say(devices.reason(error, "device")));
  return queue;
}

/** Gets what is chosen and not there yet. Returns whether there is anything to send. */
async function prepare() {
  if (!devices.secure()) return false;
  const kinds = [];
  if (picture() === "camera" && !now.picture) kinds.push("camera");
  if ($("microphone").value !== "none" && !now.microphone) kinds.push("microphone");
  if (kinds.length === 2) {
    try {
      const both = await devices.capture(wish(), kinds);
      await Promise.all([usePicture(both.camera), useMicrophone(both.microphone)]);
      kinds.length = 0;
      say("");
    } catch (error) {
      if (error.name === "NotAllowedError") {
        say(devices.reason(error, "camera and microphone"));
        kinds.length = 0;
      }
    }
  }
  // With only one of the two at hand, presenting is still possible.
  const failed = [];
  for (const kind of kinds) failed.push(await (kind === "camera" ? getCamera() : getMicrophone()));
  if (failed.length === 2 && failed.every(Boolean)) say(devices.reason(failed[0], "camera and microphone"));
  await fillLists();
  return Boolean(now.picture || now.microphone || now.screenSound);
}

/** Gets the chosen camera anew. When it cannot be had it says so and returns the error, otherwise null. */
async function getCamera() {
  now.picture?.stop();
  try {
    const { camera } = await devices.capture(wish(), ["camera"]);
    await usePicture(camera);
    return null;
  } catch (error) {
    await usePicture(null);
    say(devices.reason(error, "camera"));
    return error;
  }
}

/** Like `getCamera`, for the microphone. */
async function getMicrophone() {
  now.microphone?.stop();
  if ($("microphone").value === "none") {
    await useMicrophone(null);
    return null;
  }
  try {
    const { microphone } = await devices.capture(wish(), ["microphone"]);
    await useMicrophone(microphone);
    return null;
  } catch (error) {
    await useMicrophone(null);
    say(devices.reason(error, "microphone"));
    return error;
  }
}

async function getScreen() {
  try {
    const { screen, sound } = await devices.captureScreen(quality());
    await usePicture(screen, sound);
  } catch (error) {
    say(devices.reason(error, "screen"));
    const before = now.picture ? "camera" : "none";
    document.querySelector(`[name=picture][value=${before}]`).checked = true;
  }
}

async function usePicture(track, screenSound = null) {
  if (now.picture !== track) now.picture?.stop();
  now.screenSound?.stop();
  Object.assign(now, { picture: track, screenSound });
  $("preview").srcObject = track && new MediaStream([track]);
  track?.addEventListener("ended", () => inTurn(() => pictureEnded(track)));
  showCover();
  await presenter.replace("video", track);
  await useMicrophone(now.microphone);
}

async function useMicrophone(track) {
  if (now.microphone !== track) {
    now.microphone?.stop();
    track?.addEventListener("ended", () => inTurn(() => microphoneEnded(track)));
  }
  now.microphone = track;
  if (track) track.enabled = $("mute").getAttribute("aria-pressed") !== "true";
  await presenter.replace("audio", mixer.use(track, now.screenSound));
  $("mute").disabled = !track;
}

/** The camera was unplugged, or sharing was ended in the browser. */
async function pictureEnded(track) {
  if (now.picture !== track) return;
  const wasScreen = picture() === "screen";
  say(wasScreen ? "The screen is no longer shared." : "The camera is gone.");
  // A camera is never switched on by itself.
  document.querySelector("[name=picture][value=none]").checked = true;
  await usePicture(null);
  await fillLists();
}

async function microphoneEnded(track) {
  if (now.microphone !== track) return;
  $("microphone").selectedIndex = 0;
  await fillLists();
  await getMicrophone();
  if (now.microphone) say(`The microphone is gone. Now you are heard through: ${now.microphone.label}.`);
}

function showCover() {
  $("cover").hidden = Boolean(now.picture);
  $("camera-field").hidden = picture() !== "camera";
  $("allow").hidden = picture() !== "camera" || !devices.secure();
  const promise = "Your picture will be here. Nobody sees it before you go live.";
  const without = "No picture: your viewers only hear you.";
  if (devices.secure()) $("cover-text").textContent = picture() === "none" || liveSince ? without : promise;
}

// ---- What is going on ----

const PILLS = { idle: "Not live", connecting: "Connecting", live: "Live", error: "Not live" };

function explain({ status, title, detail }) {
  switch (status) {
    case 401:
      return pass ? "This token is not valid here, or it has expired. Enter another one." : "Presenting needs a token.";
    case 403:
      return "This token is good, but not for presenting on this stream. Enter another one.";
    case 404:
      return `There is no stream called “${stream}” on this server.`;
    case 406:
    case 422:
      return `The server cannot take what this browser offers: ${detail || title}. Another codec may help (see More).`;
    case 409:
      if (detail === "taken-over") {
        return "You are presenting from somewhere else now, with the same token. “Go live” brings it back here.";
      }
      return "Somebody else is presenting on this stream right now. Try again when they have finished.";
    case 429:
    case 503:
      return "The server has all it can carry at the moment.";
    case 0:
      return "The server does not answer.";
    case -1:
      return "The server answered, but media does not reach it. A firewall may block the way.";
    default:
      return `The server refused with ${status}. ${detail || title}`;
  }
}

/** Is what was said last about the connection? Then it is outdated when there is one. */
let spoken = false;

function say(sentence) {
  spoken = false;
  if ($("message").textContent !== sentence) $("message").textContent = sentence;
  $("message").hidden = !sentence;
}

presenter.onstate = (state, problem, wait) => {
  const active = state === "connecting" || state === "live";
  $("state").dataset.state = state;
  $("state").textContent = state === "connecting" && liveSince ? "Reconnecting" : PILLS[state];
  $("go").hidden = active;
  $("stop").hidden = !active;
  $("on-air").hidden = $("numbers").hidden = state !== "live";
  if (state !== "live") $("limit").hidden = true;
  if (state === "live") {
    liveSince ||= performance.now();
    limitedSince = performance.now();
    if (spoken) say("");
    stayAwake();
    showCover();
    showNumbers();
  }
  if (!active) {
    liveSince = 0;
    awake?.release().catch(() => {});
    awake = null;
  }
  if (problem) {
    const again = wait ? ` Trying again in ${Math.ceil(wait / 1000)} s.` : "";
    say(explain(problem) + again);
    spoken = true;
    if (problem.status === 401 || problem.status === 403) askToken();
  } else if (state === "connecting" && wait) {
    say("The connection was lost. Coming back …");
    spoken = true;
  }
};

async function showNumbers() {
  if (!presenter.pc || $("numbers").hidden) return;
  $("elapsed").textContent = duration((performance.now() - liveSince) / 1000);
  const numbers = await sending(presenter.pc);
  for (const id of ["rate", "frame", "loss", "rtt"]) $(id).textContent = numbers[id];
  const limits = {
    cpu: "This computer cannot keep up, so the picture was made smaller. A lower quality may look better.",
    bandwidth: "Your connection is slow at the moment, so the picture is less sharp.",
  };
  // While the rate still climbs the picture is always limited; that says nothing.
  if (!numbers.limit) limitedSince = performance.now();
  $("limit").hidden = performance.now() - limitedSince < LIMITED_MS;
  if (numbers.limit) $("limit").textContent = limits[numbers.limit];
  if (performance.now() - viewersAt > 3000) await countViewers();
}

async function countViewers() {
  viewersAt = performance.now();
  const response = await fetch("/api/v1/streams", { headers: bearer(pass) }).catch(() => null);
  const { streams = [] } = response?.ok ? await response.json().catch(() => ({})) : {};
  $("viewers").textContent = streams.find(({ name }) => name === stream)?.viewers ?? "–";
}

function duration(seconds) {
  const [h, m, s] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function measure() {
  const level = mixer.level();
  const muted = $("mute").getAttribute("aria-pressed") === "true";
  const percent = Math.round(100 * (level ?? 0));
  $("level").style.setProperty("--level", `${percent}%`);
  $("level").setAttribute("aria-valuenow", String(percent));
  $("silent").hidden = level === null || muted || mixer.quiet < QUIET_MS;
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
    say("Presenting needs a token.");
    askToken();
    return;
  }
  $("token-form").hidden = true;
  $("go").disabled = true;
  let ready = false;
  await inTurn(async () => (ready = await prepare()));
  $("go").disabled = false;
  if (!ready) return;
  const options = { token: pass, codec: $("codec").value, video: devices.limits(quality()), music: $("music").checked };
  presenter.start(options);
  $("stop").focus();
});

$("stop").addEventListener("click", () => {
  presenter.stop();
  say("");
  $("go").focus();
});

$("allow").addEventListener("click", () => inTurn(prepare));

$("mute").addEventListener("click", () => {
  const muted = $("mute").getAttribute("aria-pressed") !== "true";
  $("mute").setAttribute("aria-pressed", String(muted));
  $("mute").querySelector("span").textContent = muted ? "Muted" : "Mute";
  if (now.microphone) now.microphone.enabled = !muted;
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

const changed = (id, change) =>
  $(id).addEventListener("change", () => {
    remember();
    inTurn(change);
  });

changed("camera", () => now.picture && getCamera());
changed("microphone", () => (now.microphone || now.picture || presenter.pc) && getMicrophone());
changed("music", () => now.microphone && getMicrophone());
changed("codec", () => {});
changed("quality", async () => {
  if (now.picture && picture() === "camera") await devices.retune(now.picture, quality());
  await presenter.limit(devices.limits(quality()));
});

// ---- Life of the page ----

navigator.mediaDevices?.addEventListener?.("devicechange", () => inTurn(fillLists));
addEventListener("online", () => presenter.roam());
navigator.connection?.addEventListener("change", () => presenter.roam());
addEventListener("pagehide", () => presenter.stop());
addEventListener("beforeunload", (event) => $("stop").hidden || event.preventDefault());
addEventListener("pointerdown", () => mixer.wake());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && liveSince) stayAwake();
});
setInterval(measure, 100);
setInterval(() => showNumbers().catch(() => {}), 1000);

document.title = `Present ${stream} · tribune`;
$("name").textContent = stream;
$("watch-link").textContent = `${location.origin}/watch/${stream}`;
$("screen-choice").hidden = !devices.canShareScreen();
restore();
showCover();
if (!devices.secure()) {
  $("go").disabled = true;
  $("cover-text").textContent = "No camera on an insecure page.";
  const port = location.port ? `:${location.port}` : "";
  say(
    `Browsers give cameras and microphones to secure pages only. On the server’s own machine open ` +
      `http://localhost${port}${location.pathname}, from elsewhere the page’s https:// address.`,
  );
} else {
  if (!pass) askToken();
  const kinds = [picture() === "camera" && "camera", $("microphone").value !== "none" && "microphone"].filter(Boolean);
  if (await devices.allowed(kinds)) inTurn(prepare);
}
