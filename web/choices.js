// What the presenter chose: read from the fields, and kept for the next time.

import { QUALITIES } from "./devices.js";

const $ = (id) => document.getElementById(id);

const MEMORY = "tribune.publish";
const FIELDS = ["camera", "microphone", "quality", "height", "frames", "bitrate", "codec", "hint"];
const SWITCHES = ["music", "layers"];
/** Fields that a quality fills. */
const OWN = ["height", "frames", "bitrate"];

/** `camera`, `screen` or `none`. */
export const picture = () => document.querySelector("[name=picture]:checked").value;

export function choosePicture(value) {
  document.querySelector(`[name=picture][value=${value}]`).checked = true;
}

/** Lines, frames per second and bits per second. */
export function quality() {
  const bitrate = Math.min(Math.max(Number($("bitrate").value) || 2.5, 0.1), 50);
  return { height: Number($("height").value), frames: Number($("frames").value), bitrate: Math.round(bitrate * 1e6) };
}

/** All that counts for capturing and sending. */
export function wish() {
  const fields = Object.fromEntries(["camera", "microphone", "codec", "hint"].map((id) => [id, $(id).value]));
  return { ...fields, quality: quality(), music: $("music").checked, layers: $("layers").checked };
}

/** Keeps the choices; `more` besides them. */
export function remember(more = {}) {
  const choices = Object.fromEntries(FIELDS.map((id) => [id, $(id).value]));
  for (const id of SWITCHES) choices[id] = $(id).checked;
  // A screen cannot be shared without asking again, so it is no choice to come back to.
  if (picture() !== "screen") choices.picture = picture();
  try {
    localStorage.setItem(MEMORY, JSON.stringify({ ...recall(), ...choices, ...more }));
  } catch {
    // Without storage the next visit starts with the defaults.
  }
}

/** What is kept, whoever wrote it there. */
export function recall() {
  try {
    return Object(JSON.parse(localStorage.getItem(MEMORY)));
  } catch {
    return {};
  }
}

/** Fills the fields with what was chosen the last time. */
export function restore() {
  const choices = recall();
  for (const id of FIELDS) select(id, choices[id]);
  for (const id of SWITCHES) $(id).checked = choices[id] === true;
  if (choices.picture === "none") choosePicture("none");
  if ($("quality").value in QUALITIES) spread();
}

/** Selects a value; a device that is not in the list yet is kept until the list of devices is known. */
function select(id, value) {
  if (typeof value !== "string" || value === "") return;
  const field = $(id);
  if (field.options && ![...field.options].some((option) => option.value === value)) {
    if (id !== "camera" && id !== "microphone") return;
    field.append(new Option("Last used", value));
  }
  field.value = value;
}

/** A field was changed: those that depend on it follow. */
export function follow(id) {
  if (id === "quality" && $("quality").value in QUALITIES) spread();
  if (OWN.includes(id)) {
    const { height, frames, bitrate } = quality();
    const same = ([, q]) => q.height === height && q.frames === frames && q.bitrate === bitrate;
    $("quality").value = Object.entries(QUALITIES).find(same)?.[0] ?? "own";
  }
}

function spread() {
  const { height, frames, bitrate } = QUALITIES[$("quality").value];
  $("height").value = height;
  $("frames").value = frames;
  $("bitrate").value = bitrate / 1e6;
}
