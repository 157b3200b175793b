// The list of reports of past broadcasts.

import { ask } from "./api.js";
import { dateAndTime, duration, element, number, set } from "./words.js";

export class Reports {
  #body;
  #note;

  constructor(table, note) {
    this.#body = table.tBodies[0];
    this.#note = note;
  }

  async refresh() {
    const { reports } = await ask("GET", "reports");
    this.#body.replaceChildren(...reports.map(row));
    this.#note.hidden = reports.length > 0;
    set(this.#note, "There is none yet: a report is written when a broadcast ends.");
  }
}

function row(report) {
  const made = element("tr");
  const link = element("a", "Open");
  link.href = `/admin/reports/${encodeURIComponent(report.id)}`;
  link.setAttribute("aria-label", `Report of ${report.stream}, ${dateAndTime(report.started)}`);
  const open = element("td");
  open.append(link);
  made.append(
    element("th", report.stream),
    element("td", dateAndTime(report.started)),
    element("td", duration(report.seconds)),
    ...[report.peak, report.average, report.sessions].map((n) => element("td", number(n), "number")),
    open,
  );
  made.firstElementChild.scope = "row";
  return made;
}
