// The table of a stream's sessions: who is there, how it arrives there, kicking, what happened to each.

import { sure } from "./admin-links.js";
import { ask, download } from "./api.js";
import { agent, bytes, clock, codec, element, millis, number, percent, set } from "./words.js";

const COLUMNS = ["Who", "State", "Joined", "Codec", "Layer", "Loss", "Round trip", "Bytes", "Actions"];

export class Sessions {
  #stream;
  #changed;
  #say;
  #count = element("summary", "Sessions");
  #body;
  #more = element("p", "", "hint");
  /** Rows by the session's id; changed in place, so that the focus stays where it is. */
  #rows = new Map();

  constructor(stream, { changed, say }) {
    this.#stream = stream;
    this.#changed = changed;
    this.#say = say;
    this.root = element("details");
    const scroll = element("div", "", "scroll tall");
    Object.assign(scroll, { tabIndex: 0, role: "region", ariaLabel: `Sessions of ${stream}` });
    const table = element("table");
    const head = table.createTHead().insertRow();
    for (const words of COLUMNS) {
      const cell = element("th", words);
      cell.scope = "col";
      head.append(cell);
    }
    this.#body = table.createTBody();
    scroll.append(table);
    this.root.append(this.#count, scroll, this.#more);
    this.root.addEventListener("toggle", () => this.refresh());
  }

  close() {
    this.root.open = false;
  }

  /** Fills the table, if it is open. */
  async refresh() {
    if (!this.root.open) return;
    let answer;
    try {
      answer = await ask("GET", `sessions?stream=${encodeURIComponent(this.#stream)}`);
    } catch (problem) {
      this.#say(problem);
      return;
    }
    const ids = new Set(answer.sessions.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    for (const session of answer.sessions) this.#show(session);
    set(this.#count, `Sessions (${number(answer.total)})`);
    set(this.#more, answer.next ? `The first ${number(answer.sessions.length)}; the others by /api/v1/sessions.` : "");
  }

  #show(session) {
    const row = this.#rows.get(session.id) ?? this.#row(session);
    const { layer } = session;
    const parts = layer ? [layer.rid, layer.spatial !== null && `L${layer.spatial}`, layer.temporal !== null && `T${layer.temporal}`].filter(Boolean) : [];
    [
      session.state,
      clock(session.joined),
      [session.codec.video, session.codec.audio].filter(Boolean).map(codec).join(", ") || "–",
      parts.join(" ") || "–",
      percent(session.loss),
      millis(session.rtt_ms),
      bytes(session.bytes),
    ].forEach((words, i) => set(row.cells[i + 1], words));
    row.cells[5].classList.toggle("bad", session.loss > 0.02);
  }

  #row(session) {
    const row = this.#body.insertRow();
    row.dataset.session = session.id;
    const who = element("th", agent(session.user_agent), "who");
    who.scope = "row";
    who.title = session.user_agent ?? "";
    who.append(element("small", [`${session.role} ${session.id}`, session.address, session.subject].filter(Boolean).join(" · ")));
    row.append(who, ...COLUMNS.slice(2).map(() => element("td")), this.#buttons(session));
    this.#rows.set(session.id, row);
    return row;
  }

  #buttons({ id, role }) {
    const cell = element("td", "", "actions");
    const kick = element("button", "Kick", "small kick");
    kick.setAttribute("aria-label", `Kick ${role} ${id}`);
    sure(kick, async () => {
      await ask("DELETE", `sessions/${id}`).catch(this.#say);
      this.#changed();
    });
    const timeline = element("button", "Timeline", "small");
    timeline.setAttribute("aria-label", `Timeline of ${role} ${id}, as a file`);
    timeline.addEventListener("click", () => download(`sessions/${id}/timeline`, `tribune-${id}.json`).catch(this.#say));
    for (const button of [kick, timeline]) button.type = "button";
    cell.append(kick, " ", timeline);
    return cell;
  }
}
