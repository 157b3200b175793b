// What happened since the page was opened in this tab, the newest first.

import { clock, element } from "./words.js";

/** How many lines are kept. */
const MOST = 200;
/** Where they are kept until the tab is closed, so that a reload forgets nothing. */
const KEY = "tribune.log";

export class Log {
  #list;
  #note;

  #kept = [];

  constructor(list, note) {
    this.#list = list;
    this.#note = note;
    for (const [topic, data] of stored()) this.#write(topic, data);
  }

  /** Adds an event of `/api/v1/events`; counts of viewers are no news. */
  add(topic, data) {
    this.#write(topic, data);
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.#kept));
    } catch {
      // Storage may be forbidden, or full; then a reload begins anew.
    }
  }

  #write(topic, data) {
    const words = SENTENCES[topic]?.(data);
    if (!words) return;
    const line = element("div");
    line.dataset.kind = topic === "alarm" && data.on ? "alarm" : "";
    line.append(element("time", clock(data.at)), element("span", data.stream ? `${data.stream}: ${words}` : words));
    this.#list.prepend(line);
    if (this.#list.children.length > MOST) this.#list.lastElementChild.remove();
    this.#note.hidden = true;
    this.#kept.push([topic, data]);
    if (this.#kept.length > MOST) this.#kept.shift();
  }
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

const SENTENCES = {
  stream: ({ state }) => ({ live: "is live", grace: "the presenter is gone; viewers are kept", idle: "is over" })[state] ?? state,
  alarm: ({ kind, on, detail }) => (on ? detail || kind : `${ALARMS[kind] ?? kind}: over`),
  session: ({ id, role, state, reason }) => state === "connecting" ? "" : `${role} ${id} ${state}${reason ? ` (${reason.replaceAll("_", " ")})` : ""}`,
  link: ({ right, state }) => `a link to ${right === "publish" ? "present" : "watch"} was ${state}`,
  report: () => "the report is written",
};

/** What alarms are called. */
export const ALARMS = {
  silence: "Silence",
  no_video: "No video",
  frozen: "Frozen picture",
  b_frames: "B-frames",
  key_frame_interval: "Key frames far apart",
  bitrate_collapse: "Bitrate collapsed",
  loss: "Presenter’s packets get lost",
};
