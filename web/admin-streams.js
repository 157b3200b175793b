// One card for every stream: the presenter, the viewers, what is wrong.

import { ALARMS } from "./admin-log.js";
import { ask } from "./api.js";
import { draw } from "./chart.js";
import { Sessions } from "./admin-sessions.js";
import { agent, bits, codec, duration, element, figures, millis, number, percent, set } from "./words.js";

/** How many points of a graph are kept. */
const MOST_POINTS = 1000;
/** With more streams than this a new card shows its headline only. */
const MOST_OPEN = 3;

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
    for (const [i, stream] of streams.entries()) {
      let card = this.#cards.get(stream.name);
      if (!card) {
        card = new Card(stream.name, streams.length <= MOST_OPEN, this.#changed, this.#say);
        this.#cards.set(stream.name, card);
        this.#place.insertBefore(card.root, this.#place.children[i] ?? null);
      }
      card.show(stream);
    }
    await Promise.all([...this.#cards.values()].map((card) => card.sessions.refresh()));
  }

  /** Shows the streams whose names have these letters in them. */
  find(letters) {
    for (const [name, card] of this.#cards) card.root.hidden = !name.toLowerCase().includes(letters.toLowerCase());
  }

  /** Brings a stream's card before the eyes. */
  point(name) {
    const card = this.#cards.get(name);
    if (!card) return;
    card.root.hidden = false;
    card.open(true);
    card.root.scrollIntoView({ block: "start" });
    card.toggle.focus({ preventScroll: true });
  }
}

class Card {
  #points = [];
  #report = null;
  #isRecalled = true;
  #stream = null;

  constructor(name, isOpen, changed, say) {
    this.name = name;
    this.root = element("article", "", "card stream");
    this.root.dataset.stream = name;
    const header = element("header");
    this.title = element("h3", name);
    this.state = element("span", "", "pill");
    this.from = element("span", "", "from");
    this.brief = element("span", "", "brief");
    const watch = element("a", "Watch");
    watch.href = `/watch/${encodeURIComponent(name)}`;
    watch.setAttribute("aria-label", `Watch ${name}`);
    this.toggle = element("button", "", "small");
    this.toggle.type = "button";
    this.toggle.addEventListener("click", () => this.open(this.body.hidden));
    header.append(this.title, this.state, this.from, this.brief, watch, this.toggle);
    this.alarms = element("ul", "", "plain alarms");
    this.alarms.setAttribute("aria-live", "polite");
    this.body = element("div");
    this.figures = element("dl", "", "figures");
    this.graph = element("div", "", "graph");
    this.sessions = new Sessions(name, { changed, say });
    this.body.append(this.figures, this.graph, this.sessions.root);
    this.root.append(header, this.alarms, this.body);
    this.open(isOpen);
  }

  /** Shows everything or the headline only. */
  open(isOpen) {
    this.body.hidden = !isOpen;
    this.brief.hidden = isOpen;
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    set(this.toggle, isOpen ? "Less" : "More");
    this.toggle.setAttribute("aria-label", `${isOpen ? "Less" : "More"} about ${this.name}`);
    if (isOpen && this.#stream) this.#fill();
    if (!isOpen) this.sessions.close();
  }

  show(stream) {
    this.#stream = stream;
    const { presenter, viewers } = stream;
    this.state.dataset.state = stream.state;
    set(this.state, { live: "Live", grace: "Presenter gone", idle: "Not live" }[stream.state] ?? stream.state);
    set(this.from, presenter ? from(presenter) : "");
    this.from.title = presenter?.user_agent ?? "";
    set(this.brief, `${number(viewers.now)} watching${presenter ? `, ${bits(presenter.bitrate)} come in` : ""}`);
    this.#alarm(stream.alarms);
    this.#note(stream);
    if (!this.body.hidden) this.#fill();
  }

  #fill() {
    const { presenter, viewers, room_for_more: room } = this.#stream;
    figures(this.figures, [
      ["Viewers now", number(viewers.now)],
      ["Peak", number(viewers.peak)],
      ["Average", number(viewers.average)],
      ["Room for more", room === null ? "–" : `about\u00a0${number(room)}`],
      ...(presenter ? presenting(presenter, this.#stream.alarms) : []),
    ]);
    draw(this.graph, this.#points, `Viewers of ${this.name}`);
    if (this.#isRecalled) return;
    this.#isRecalled = true;
    this.#recall(this.#report).catch(() => {}); // It is not written yet, or gone: then the graph begins here.
  }

  /** Keeps a point of the graph. */
  #note({ report, viewers }) {
    if (report !== this.#report) {
      this.#report = report;
      this.#points = [];
      this.#isRecalled = report === null;
    }
    this.#points.push([Date.now(), viewers.now]);
    if (this.#points.length > MOST_POINTS) this.#points = this.#points.filter((_, i) => i % 2 === 0 || i === MOST_POINTS);
  }

  /** What was before this page was opened, the report knows. */
  async #recall(report) {
    const { started, viewers } = await ask("GET", `reports/${encodeURIComponent(report)}`);
    if (report !== this.#report) return;
    const known = viewers.samples.map((count, i) => [Date.parse(started) + i * viewers.sample_seconds * 1000, count]);
    const first = this.#points[0]?.[0] ?? Infinity;
    this.#points = [...known.filter(([at]) => at < first), ...this.#points];
  }

  #alarm(alarms) {
    const words = alarms.map(({ kind, detail }) => detail || ALARMS[kind] || kind);
    if (words.join("\n") === [...this.alarms.children].map((item) => item.textContent).join("\n")) return;
    this.alarms.replaceChildren(...words.map((each) => element("li", each)));
  }
}

/** Who presents, from what. */
function from({ user_agent, subject, address, connected_s }) {
  return [agent(user_agent), subject, address, `for ${duration(connected_s)}`].filter(Boolean).join(" · ");
}

function presenting({ video, audio, bitrate, loss, rtt_ms }, alarms) {
  const rows = [["Comes in", bits(bitrate)], ["Loss", percent(loss), loss > 0.02], ["Round trip", millis(rtt_ms)]];
  if (video) {
    const size = video.width ? ` ${video.width}\u00a0×\u00a0${video.height}` : "";
    const rate = Math.max(...video.layers.map(({ fps }) => fps), 0);
    rows.unshift(["Picture", `${codec(video.codec)}${size}${rate ? `, ${Math.round(rate)}/s` : ""}`]);
    // Whoever sends them when asked may be slow with them otherwise: the server knows who does.
    const rare = alarms.some(({ kind }) => kind === "key_frame_interval");
    rows.push(["Key frames", video.key_interval_ms === null ? "–" : `every ${(video.key_interval_ms / 1000).toFixed(1)} s`, rare]);
    if (video.has_b_frames) rows.push(["B-frames", "yes: turn them off", true]);
    if (video.is_frozen) rows.push(["Picture", "frozen", true]);
  }
  if (audio) {
    const silent = audio.silent_s >= 5;
    rows.push(["Sound", silent ? `silent for ${duration(audio.silent_s)}` : level(audio), silent]);
  }
  if (video?.layers.length > 1) rows.push(["Layers", video.layers.map(layer).join(", ")]);
  return rows;
}

const level = ({ codec: word, level_dbov: dbov }) => (dbov === null ? codec(word) : `${codec(word)}, ${String(dbov).replace("-", "−")}\u00a0dB`);
const layer = ({ rid, height, spatial, bitrate }) => [rid ?? (spatial === null ? null : `L${spatial}`), height && `${height}p`, bits(bitrate)].filter(Boolean).join(" ").replaceAll(" ", "\u00a0");
