// One card for every stream: the presenter, the viewers, what is wrong.

import { ALARMS } from "./admin-log.js";
import { sure } from "./admin-links.js";
import { ask, download } from "./api.js";
import { draw } from "./chart.js";
import { agent, bits, bytes, clock, duration, element, figures, millis, number, percent, set } from "./words.js";

/** How many points of a graph are kept: an hour at one in four seconds. */
const MOST_POINTS = 900;

export class Streams {
  #place;
  #say;
  #changed;
  /** Cards by the stream's name; changed in place, so that the focus stays where it is. */
  #cards = new Map();

  constructor(place, { changed, say }) {
    this.#place = place;
    this.#changed = changed;
    this.#say = say;
  }

  /** Shows `/api/v1/streams`, and the sessions of every stream whose table is open. */
  async show(streams) {
    const names = new Set(streams.map(({ name }) => name));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.root.remove();
      this.#cards.delete(name);
    }
    for (const stream of streams) {
      let card = this.#cards.get(stream.name);
      if (!card) {
        card = new Card(stream.name, this.#changed, this.#say);
        this.#cards.set(stream.name, card);
        this.#place.append(card.root);
      }
      card.show(stream);
    }
    await Promise.all([...this.#cards.values()].map((card) => card.sessions()));
  }
}

class Card {
  #points = [];
  #rows = new Map();
  #report = null;

  constructor(name, changed, say) {
    this.name = name;
    this.say = say;
    this.changed = changed;
    this.root = element("article", "", "card stream");
    this.root.dataset.stream = name;
    const header = element("header");
    this.title = element("h3", name);
    this.state = element("span", "", "pill");
    this.from = element("span", "", "from");
    const watch = element("a", "Watch");
    watch.href = `/watch/${encodeURIComponent(name)}`;
    header.append(this.title, this.state, this.from, watch);
    this.alarms = element("ul", "", "plain alarms");
    this.alarms.setAttribute("role", "status");
    this.figures = element("dl", "", "figures");
    this.graph = element("div", "", "graph");
    this.details = element("details");
    this.count = element("summary", "Sessions");
    const scroll = element("div", "", "scroll");
    Object.assign(scroll, { tabIndex: 0, role: "region", ariaLabel: `Sessions of ${name}` });
    this.table = element("table");
    const head = this.table.createTHead().insertRow();
    for (const words of ["Who", "State", "Joined", "Codec", "Layer", "Loss", "Round trip", "Sent", "What it is", "Actions"]) {
      const cell = element("th", words);
      cell.scope = "col";
      head.append(cell);
    }
    this.body = this.table.createTBody();
    this.more = element("p", "", "hint");
    scroll.append(this.table);
    this.details.append(this.count, scroll, this.more);
    this.details.addEventListener("toggle", () => this.sessions());
    this.root.append(header, this.alarms, this.figures, this.graph, this.details);
  }

  show(stream) {
    const { presenter, viewers } = stream;
    this.state.dataset.state = stream.state;
    set(this.state, { live: "Live", grace: "Presenter gone", idle: "Not live" }[stream.state] ?? stream.state);
    set(this.from, presenter ? from(presenter) : "");
    this.from.title = presenter?.user_agent ?? "";
    this.#alarm(stream.alarms);
    figures(this.figures, [
      ["Viewers now", number(viewers.now)],
      ["Peak", number(viewers.peak)],
      ["Average", number(viewers.average)],
      ["Room for more", stream.room_for_more === null ? "–" : `about ${number(stream.room_for_more)}`],
      ...(presenter ? presenting(presenter) : []),
    ]);
    if (stream.report !== this.#report) {
      this.#report = stream.report;
      this.#points.length = 0;
    }
    this.#points.push([Date.now(), viewers.now]);
    if (this.#points.length > MOST_POINTS) this.#points.shift();
    draw(this.graph, this.#points, `Viewers of ${this.name}`);
  }

  #alarm(alarms) {
    const words = alarms.map(({ kind, detail }) => detail || ALARMS[kind] || kind);
    if (words.join("\n") === [...this.alarms.children].map((item) => item.textContent).join("\n")) return;
    this.alarms.replaceChildren(...words.map((each) => element("li", each)));
  }

  /** Fills the table of sessions, if it is open. */
  async sessions() {
    if (!this.details.open) return;
    let answer;
    try {
      answer = await ask("GET", `sessions?stream=${encodeURIComponent(this.name)}`);
    } catch (problem) {
      return this.say(problem);
    }
    const ids = new Set(answer.sessions.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    for (const session of answer.sessions) this.#row(session);
    set(this.more, answer.next ? `The first ${answer.sessions.length} of ${answer.total}; the others by /api/v1/sessions.` : "");
  }

  #row(session) {
    let row = this.#rows.get(session.id);
    if (!row) {
      row = this.body.insertRow();
      for (let i = 0; i < 9; i++) row.append(element("td"));
      row.cells[8].className = "wide";
      row.append(this.#buttons(session));
      row.dataset.session = session.id;
      this.#rows.set(session.id, row);
    }
    const layer = session.layer && [session.layer.rid, session.layer.spatial, session.layer.temporal].filter((part) => part !== null && part !== undefined);
    [
      `${session.role} ${session.id}`,
      session.state,
      clock(session.joined),
      [session.codec.video, session.codec.audio].filter(Boolean).join(", ") || "–",
      layer?.length ? layer.join(" · ") : "–",
      percent(session.loss),
      millis(session.rtt_ms),
      bytes(session.bytes),
      [agent(session.user_agent), session.address].filter(Boolean).join(" · "),
    ].forEach((words, i) => set(row.cells[i], words));
    row.cells[8].title = session.user_agent ?? "";
  }

  #buttons({ id, role }) {
    const cell = element("td");
    const kick = element("button", "Kick", "kick");
    kick.setAttribute("aria-label", `Kick ${role} ${id}`);
    sure(kick, async () => {
      await ask("DELETE", `sessions/${id}`).catch(this.say);
      this.changed();
    });
    const record = element("button", "Record");
    record.setAttribute("aria-label", `Record of what happened to ${role} ${id}`);
    record.addEventListener("click", () => download(`sessions/${id}/timeline`, `tribune-${id}.json`).catch(this.say));
    for (const button of [kick, record]) button.type = "button";
    cell.append(kick, " ", record);
    return cell;
  }
}

/** Who presents, from what. */
function from({ user_agent, subject, address, connected_s }) {
  return [agent(user_agent), subject, address, `for ${duration(connected_s)}`].filter(Boolean).join(" · ");
}

function presenting({ video, audio, bitrate, loss, rtt_ms }) {
  const rows = [["Comes in", bits(bitrate)], ["Loss", percent(loss), loss > 0.02], ["Round trip", millis(rtt_ms)]];
  if (video) {
    const size = video.width ? ` ${video.width} × ${video.height}` : "";
    const rate = Math.max(...video.layers.map(({ fps }) => fps), 0);
    rows.unshift(["Picture", `${video.codec}${size}${rate ? `, ${Math.round(rate)}/s` : ""}`]);
    rows.push(["Key frames", video.key_interval_ms === null ? "–" : `every ${(video.key_interval_ms / 1000).toFixed(1)} s`, video.key_interval_ms > 4000]);
    if (video.layers.length > 1) rows.push(["Layers", video.layers.map(({ rid, height, bitrate: rate }) => [rid, height && `${height}p`, bits(rate)].filter(Boolean).join(" ")).join(", ")]);
    if (video.has_b_frames) rows.push(["B-frames", "yes: turn them off", true]);
    if (video.is_frozen) rows.push(["Picture", "frozen", true]);
  }
  if (audio) {
    const silent = audio.silent_s >= 5;
    rows.push(["Sound", silent ? `silent for ${duration(audio.silent_s)}` : level(audio), silent]);
  }
  return rows;
}

const level = ({ codec, level_dbov }) => (level_dbov === null ? codec : `${codec}, ${level_dbov} dBov`);
