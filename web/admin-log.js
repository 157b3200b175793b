// What happened since the page was opened, the newest first.

import { clock, element } from "./words.js";

/** How many lines are kept. */
const MOST = 200;

export class Log {
  #list;
  #note;

  constructor(list, note) {
    this.#list = list;
    this.#note = note;
  }

  /** Adds an event of `/api/v1/events`; counts of viewers are no news. */
  add(topic, data) {
    const words = SENTENCES[topic]?.(data);
    if (!words) return;
    const line = element("div");
    line.dataset.kind = topic === "alarm" && data.on ? "alarm" : "";
    line.append(element("time", clock(data.at)), element("span", data.stream ? `${data.stream}: ${words}` : words));
    this.#list.prepend(line);
    if (this.#list.children.length > MOST) this.#list.lastElementChild.remove();
    this.#note.hidden = true;
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
