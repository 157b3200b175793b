// The list of reports of broadcasts, the newest first.

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
    const { reports, total } = await ask("GET", "reports");
    this.#body.replaceChildren(...reports.map(row));
    this.#body.parentElement.hidden = reports.length === 0;
    const more = total > reports.length ? `The latest ${number(reports.length)} of ${number(total)}; the others by /api/v1/reports.` : "";
    set(this.#note, reports.length ? more : "There is none yet: a report begins with a broadcast.");
  }
}

function row(report) {
  const made = element("tr");
  const link = element("a", report.stream);
  link.href = `/admin/reports/${encodeURIComponent(report.id)}`;
  link.setAttribute("aria-label", `Report of ${report.stream}, ${dateAndTime(report.started)}`);
  const head = element("th", "", "name");
  head.scope = "row";
  head.append(link);
  const lasted = report.ended ? `${duration(report.seconds)}${report.interrupted ? ", cut off" : ""}` : "still on";
  made.append(
    head,
    element("td", dateAndTime(report.started)),
    element("td", lasted),
    ...[report.peak, report.average, report.sessions, report.alarms].map((n) => element("td", number(n), "number")),
  );
  return made;
}
