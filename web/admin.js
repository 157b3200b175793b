// The page to run the show by: what is live and from whom, who watches, links, alarms, reports.

import "./copy.js";
import { ask, keep, listen, token } from "./api.js";
import { Links } from "./admin-links.js";
import { Log } from "./admin-log.js";
import { Reports } from "./admin-reports.js";
import { Streams } from "./admin-streams.js";
import { duration, element, figures, number, set } from "./words.js";
import { delay } from "./wish.js";

const $ = (id) => document.getElementById(id);

/** How often to ask for everything when no event says that something changed, in ms. */
const REFRESH_MS = 4000;
/** How long a message stands at least, in ms. */
const SAID_MS = 8000;
/** So many streams need an overview. */
const MANY = 6;
/** However many events come, not more often than this, in ms. */
const AT_MOST_EVERY_MS = 1000;

let said = 0;
const say = (problem) => {
  said = performance.now();
  set($("message"), problem ? sentence(problem) : "");
  $("message").hidden = !problem;
};

/** What is wrong and what to do about it. */
function sentence({ status, message }) {
  if (status === 0) return "The server does not answer. Is it running, and is this network the right one? Trying again …";
  if (status === 401) return "This token has expired, was revoked, or is not one of this server’s. Make a new one: tribune token --admin";
  if (status === 403) return "This token is good, but not an admin’s. Make one with: tribune token --admin";
  if (status === 404) return `That is no longer there. ${message}`;
  return message;
}

const streams = new Streams($("shows"), { changed: soon, say });
const links = new Links({ say });
const log = new Log($("log"), $("log-note"));
const reports = new Reports($("reports"), $("reports-note"));

// ---- Asking ----

let [due, asked, asking] = [0, 0, false];

/** Asks for everything soon, once however often this is called. */
function soon() {
  if (due) return;
  due = setTimeout(refresh, Math.max(0, asked + AT_MOST_EVERY_MS - performance.now()));
}

async function refresh() {
  clearTimeout(due);
  due = 0;
  if (asking || document.visibilityState === "hidden" || !token()) return;
  asking = true;
  asked = performance.now();
  try {
    const [about, list] = await Promise.all([ask("GET", "server"), ask("GET", "streams")]);
    server(about);
    admitted();
    await streams.show(list.streams);
    overview(list.streams);
  } catch (problem) {
    refused(problem);
  } finally {
    asking = false;
  }
}

function server(about) {
  figures($("server"), [
    ["Version", about.version],
    ["Up for", duration(about.uptime_s)],
    ["Presenters", number(about.presenters)],
    ["Viewers", number(about.viewers)],
    ["Sessions", `${number(about.sessions)} of ${number(about.capacity.max_sessions)}`],
  ]);
}

/** What an eye that wanders over the page must not miss, however many streams there are. */
function overview(list) {
  set($("streams-title"), list.length > 1 ? `Streams (${number(list.length)})` : "Streams");
  set($("streams-note"), list.length ? "" : "Nobody is presenting. Make a presenter’s link below, open it, and go live.");
  $("find-row").hidden = list.length < MANY && !$("find").value;
  const troubled = list.filter(({ alarms }) => alarms.length).map(({ name }) => name);
  $("troubled").hidden = list.length < MANY || !troubled.length;
  if (troubled.join() === $("troubled").dataset.names) return;
  $("troubled").dataset.names = troubled.join();
  $("troubled").replaceChildren("Something is wrong in ", ...troubled.flatMap((name, i) => {
    const jump = element("button", name, "small");
    jump.type = "button";
    jump.addEventListener("click", () => streams.point(name));
    return i ? [" ", jump] : [jump];
  }));
}

$("find").addEventListener("input", () => streams.find($("find").value.trim()));

for (const jump of $("jumps").children) {
  jump.addEventListener("click", () => {
    const target = $(jump.dataset.to);
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  });
}

// ---- Being let in ----

let [following, isRefused] = [false, false];

function admitted() {
  $("show").hidden = $("jumps").hidden = false;
  $("token-form").hidden = true;
  // What the server refused somebody who pressed a button is read first.
  if (isRefused || performance.now() - said > SAID_MS) say(null);
  isRefused = false;
  if (following) return;
  following = true;
  links.refresh();
  reports.refresh().catch(say);
  follow().finally(() => (following = false));
}

function refused(problem) {
  say(problem);
  isRefused = true;
  if (problem.status === 401 || problem.status === 403) $("token-form").hidden = false;
  connection("lost", problem.status ? "Not connected" : "No answer");
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep($("token").value.trim());
  $("token").value = "";
  refresh();
});

function connection(state, words) {
  $("connection").dataset.state = state;
  set($("connection"), words);
}

// ---- Events ----

/** Listens for as long as the page is open; comes back by itself. */
async function follow() {
  for (let attempt = 0; ; attempt++) {
    try {
      await listen(() => {
        if (attempt) {
          links.refresh();
          reports.refresh().catch(say);
        }
        attempt = 0;
        connection("live", "Live");
        soon();
      }, heard);
    } catch (problem) {
      if (problem.status === 401 || problem.status === 403) return refused(problem);
    }
    connection("lost", "Connecting again");
    await new Promise((resolve) => setTimeout(resolve, delay(attempt)));
  }
}

function heard(topic, data) {
  log.add(topic, data);
  if (topic === "link") links.refresh();
  if (topic === "report") reports.refresh().catch(say);
  soon();
}

if (!token()) {
  $("token-form").hidden = false;
  connection("lost", "No token");
}
refresh();
setInterval(soon, REFRESH_MS);
document.addEventListener("visibilitychange", soon);
