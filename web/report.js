// The report of one broadcast, as a page that prints.

import { ALARMS } from "./admin-log.js";
import { ask, download, token } from "./api.js";
import { draw } from "./chart.js";
import { agent, bytes, clock, codec, dateAndTime, duration, element, figures, millis, number, percent, set } from "./words.js";

const $ = (id) => document.getElementById(id);
const id = decodeURIComponent(location.pathname.split("/").pop());

function show(report) {
  document.title = `${report.stream}, ${dateAndTime(report.started)} · tribune`;
  set($("title"), report.stream);
  const end = report.ended ? `to ${dateAndTime(report.ended)}` : "still going on";
  set($("when"), `${dateAndTime(report.started)}${report.ended ? " " : ", "}${end}${report.interrupted ? "; the server ended before the broadcast did" : ""}`);
  const { viewers, received, sent } = report;
  figures($("totals"), [
    ["Lasted", duration(report.seconds)],
    ["Most viewers at once", number(viewers.peak)],
    ["Viewers on average", number(viewers.average)],
    ["Viewings", number(viewers.sessions)],
    ["Different viewers, about", number(viewers.unique)],
    ["Joins", number(viewers.joins)],
    ["Presenter reconnected", number(report.reconnects)],
    ["Sent", bytes(sent.bytes)],
  ]);
  $("report").hidden = false;
  graph = () => chart(report);
  graph();
  fill("starts", [["first packet", report.first_packet_ms], ["first picture", report.first_picture_ms]].map(
    ([what, { p50, p95, max, count }]) => [what, ...(count ? [millis(p50), millis(p95), millis(max)] : ["–", "–", "–"]), number(count)]));
  fill("traffic", [["from the presenter", received], ["to viewers", sent]].map(([what, traffic]) => [
    what, number(traffic.packets), bytes(traffic.bytes), `${number(traffic.lost)} (${percent(traffic.lost / Math.max(traffic.packets + traffic.lost, 1))})`, number(traffic.resent)]));
  const presented = ({ video, width, height, audio }) =>
    [video && codec(video), width && `${width} × ${height}`, audio && codec(audio)].filter(Boolean).join(" ") || "–";
  fill("presenters", report.presenters.map(({ subject, user_agent, from, to, reason, ...what }) =>
    [subject ?? "–", agent(user_agent), presented(what), clock(from), to ? clock(to) : "still on", (reason ?? "–").replaceAll("_", " ")]), PEOPLE);
  fill("alarms", report.alarms.map(({ kind, from, to, detail }) => [ALARMS[kind] ?? kind, clock(from), to ? clock(to) : "still on", detail]), WORDS);
  $("no-alarms").hidden = report.alarms.length > 0;
  $("alarms-place").hidden = report.alarms.length === 0;
}

/** Draws the graph as wide as its place is now. */
let graph = () => {};

function chart({ started, ended, written, viewers, alarms }) {
  const [began, end] = [started, ended ?? written].map(Date.parse);
  const points = viewers.samples.map((count, i) => [Math.min(began + i * viewers.sample_seconds * 1000, end), count]);
  const spans = alarms.map(({ from, to }) => [Date.parse(from), to ? Date.parse(to) : end]);
  draw($("viewers"), points, "Viewers", { spans });
  $("legend").hidden = spans.length === 0;
}

/** How the cells of a row are set: its header, then the others. */
const NUMBERS = ["", "number", "number", "number", "number"];
const PEOPLE = ["wide", "wide", "", "", "", ""];
const WORDS = ["", "", "", "wide"];

/** Fills a table: the first cell of a row is its header. */
function fill(name, rows, classes = NUMBERS) {
  $(name).tBodies[0].replaceChildren(...rows.map((cells) => {
    const row = element("tr");
    row.append(...cells.map((words, i) => element(i ? "td" : "th", words, classes[i])));
    row.firstElementChild.scope = "row";
    return row;
  }));
}

function refuse({ status, message }) {
  const words = {
    0: "The server does not answer. Load the page again when it does.",
    401: "This page needs the admin’s token: open it from the page to run the show by.",
    403: "This page needs the admin’s token: open it from the page to run the show by.",
    404: "There is no such report. It may have been removed because it was old.",
  };
  set($("message"), words[status] ?? message);
  $("message").hidden = false;
}

addEventListener("resize", () => graph());
addEventListener("beforeprint", () => graph());
addEventListener("afterprint", () => graph());
$("print").addEventListener("click", () => print());
$("json").addEventListener("click", () => download(`reports/${encodeURIComponent(id)}`, `tribune-${id}.json`).catch(refuse));

if (token()) ask("GET", `reports/${encodeURIComponent(id)}`).then(show, refuse);
else refuse({ status: 401 });
