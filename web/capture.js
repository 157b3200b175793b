// What is captured now, and how it is exchanged while it is sent.

import { choosePicture, picture, recall, remember, wish } from "./choices.js";
import * as devices from "./devices.js";
import { notice, say } from "./say.js";
import { Mixer } from "./sound.js";

const $ = (id) => document.getElementById(id);

/** A device that cannot be opened may be free once the one in use is let go: phones have one camera at a time. */
const BUSY = new Set(["NotReadableError", "AbortError"]);

export const mixer = new Mixer();

/** Null where there is nothing. */
export const now = { picture: null, microphone: null, screenSound: null };

/** What the page does when something was exchanged: `send(kind, track)`, `changed()`. */
let page = { send: async () => {}, changed: () => {} };

export function connect(given) {
  page = given;
}

// Changes run one after another: two requests for one device at the same time would get in each other's way.
let queue = Promise.resolve();

export function inTurn(change) {
  queue = queue.then(change).catch((error) => say(devices.reason(error, "device")));
  return queue;
}

/** Gets what is chosen and not there yet. Returns whether there is anything to send. */
export async function prepare() {
  if (!devices.secure()) return false;
  let kinds = [];
  if (picture() === "camera" && !now.picture) kinds.push("camera");
  if ($("microphone").value !== "none" && !now.microphone) kinds.push("microphone");
  if (kinds.length === 2) kinds = await getBoth(kinds);
  // With only one of the two at hand, presenting is still possible.
  const failed = [];
  for (const kind of kinds) failed.push(await (kind === "camera" ? getCamera() : getMicrophone()));
  if (failed.length === 2 && failed.every(Boolean)) say(devices.reason(failed[0], "camera and microphone"));
  await fillLists();
  return Boolean(now.picture || now.microphone || now.screenSound);
}

/** Asks once for both; returns what is left to be asked for. */
async function getBoth(kinds) {
  try {
    const both = await devices.capture(wish(), kinds);
    await Promise.all([usePicture(both.camera), useMicrophone(both.microphone)]);
    say("");
    return [];
  } catch (error) {
    if (error.name !== "NotAllowedError") return kinds;
    say(devices.reason(error, "camera and microphone"));
    return [];
  }
}

/** Gets the chosen camera. When it cannot be had it says so and returns the error, otherwise null. */
export const getCamera = () => exchange("camera", now.picture, usePicture);

/** Like `getCamera`, for the microphone. */
export async function getMicrophone() {
  if ($("microphone").value !== "none") return exchange("microphone", now.microphone, useMicrophone);
  await useMicrophone(null);
  return null;
}

/** What is in use is sent until its successor is there. */
async function exchange(kind, old, use) {
  // One device cannot be had twice with different settings.
  const same = old && [old.getSettings().deviceId, ""].includes(wish()[kind]);
  if (same) old.stop();
  try {
    const got = await devices.capture(wish(), [kind]).catch((error) => {
      if (!old || same || !BUSY.has(error.name)) throw error;
      old.stop();
      return devices.capture(wish(), [kind]);
    });
    await use(got[kind]);
    return null;
  } catch (error) {
    if (old?.readyState !== "live") await use(null);
    say(devices.reason(error, kind));
    return error;
  }
}

export async function getScreen() {
  try {
    const { screen, sound } = await devices.captureScreen(wish());
    await usePicture(screen, sound);
  } catch (error) {
    say(devices.reason(error, "screen"));
    choosePicture(now.picture ? "camera" : "none");
  }
}

export async function usePicture(track, screenSound = null) {
  if (now.picture !== track) now.picture?.stop();
  now.screenSound?.stop();
  Object.assign(now, { picture: track, screenSound });
  if (track) track.enabled = !pressed("hide");
  $("preview").srcObject = track && new MediaStream([track]);
  track?.addEventListener("ended", () => inTurn(() => pictureEnded(track)));
  page.changed();
  await page.send("video", track);
  await useMicrophone(now.microphone);
}

async function useMicrophone(track) {
  if (now.microphone !== track) {
    now.microphone?.stop();
    track?.addEventListener("ended", () => inTurn(() => microphoneEnded(track)));
  }
  now.microphone = track;
  if (track) track.enabled = !pressed("mute");
  await page.send("audio", mixer.use(track, now.screenSound));
  page.changed();
}

/** The camera was unplugged, or sharing was ended in the browser. */
async function pictureEnded(track) {
  if (now.picture !== track) return;
  const wasScreen = picture() === "screen";
  // A camera is never switched on by itself.
  choosePicture("none");
  await usePicture(null);
  await fillLists();
  say(
    wasScreen
      ? "The screen is no longer shared. Choose Screen again, or the camera."
      : "The camera is gone. Plug it in again and choose Camera, or choose something else to show.",
  );
}

async function microphoneEnded(track) {
  if (now.microphone !== track) return;
  $("microphone").selectedIndex = 0;
  await fillLists();
  await getMicrophone();
  const instead = now.microphone?.label;
  if (instead) say(`The microphone is gone. Now you are heard through: ${instead}.`);
  else say("The microphone is gone. Plug it in again, or choose another one under Sound.");
}

// ---- Lists of devices ----

export async function fillLists() {
  const { cameras, microphones } = await devices.list();
  fill("camera", cameras, picture() === "camera" ? now.picture : null, []);
  fill("microphone", microphones, now.microphone, [new Option("No microphone", "none")]);
  compare(cameras, microphones);
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

// ---- The device that was used the last time ----

const inUse = () => ({ camera: picture() === "camera" ? now.picture : null, microphone: now.microphone });

/** Keeps what is in use now as what is usual: it was chosen, or went live. */
export function makeUsual(kinds = ["camera", "microphone"]) {
  const usual = { ...recall().usual };
  for (const kind of kinds) {
    const track = inUse()[kind];
    if (track) usual[kind] = { id: track.getSettings().deviceId, label: track.label };
  }
  remember({ usual });
  notice("other-device", "");
}

/** Says when a device is another one than the last time. The microphone comes first: one does not hear oneself. */
function compare(cameras, microphones) {
  const usual = Object(recall().usual);
  for (const [kind, found] of [["microphone", microphones], ["camera", cameras]]) {
    const [track, before] = [inUse()[kind], Object(usual[kind])];
    if (!track || !before.id || before.id === track.getSettings().deviceId || before.label === track.label) continue;
    const present = found.find(({ id, label }) => id === before.id || label === before.label);
    const where = present ? "" : ", which is not plugged in";
    const last = String(before.label || "another one").slice(0, 100);
    notice("other-device", `This is not the ${kind} you used last time. It was ${last}${where}; now it is ${track.label}.`);
    $("take-usual").hidden = !present;
    Object.assign($("other-device").dataset, { kind, id: present?.id ?? "" });
    return;
  }
  notice("other-device", "");
}

/** Is one of the page's switches on? */
export const pressed = (id) => $(id).getAttribute("aria-pressed") === "true";
