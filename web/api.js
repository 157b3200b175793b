// What the admin pages ask the server: `/api/v1`, with the admin's token, and its events as they happen.

import { Problem } from "./wish.js";

const KEY = "tribune.token.admin";

/** The token from the `#fragment` (which goes from the address bar), or the one this tab was given before, or "". */
export function token() {
  const given = location.hash.slice(1).replace(/^token=/, "");
  if (given) {
    keep(given);
    history.replaceState(null, "", location.pathname);
  }
  try {
    return held || (sessionStorage.getItem(KEY) ?? "");
  } catch {
    return held;
  }
}

let held = "";

/** Remembers a token until the tab is closed. */
export function keep(value) {
  held = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // Storage may be forbidden; then a reload asks again.
  }
}

const authority = () => ({ authorization: `Bearer ${token()}` });

/** Asks for something below `/api/v1`; the body as JSON, or null without one. Throws a Problem. */
export async function ask(method, path, body) {
  const headers = authority();
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Problem({ title: "The server does not answer." });
  }
  if (!response.ok) throw await Problem.from(response);
  return response.status === 204 ? null : response.json();
}

/** Gives a document below `/api/v1` to the person as a file. */
export async function download(path, name) {
  const content = JSON.stringify(await ask("GET", path), null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Listens to `/api/v1/events` until it ends; `heard(name, data)` for each. `EventSource` cannot send a token, so the
 * stream is read here (WHATWG HTML §9.2.6). Throws a Problem.
 */
export async function listen(opened, heard, signal) {
  const response = await fetch("/api/v1/events", { headers: authority(), signal, cache: "no-store" });
  if (!response.ok) throw await Problem.from(response);
  opened();
  let rest = "";
  let [name, data] = ["message", ""];
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data += `${line.slice(5).trimStart()}\n`;
      else if (line === "") {
        if (data) heard(name, JSON.parse(data));
        [name, data] = ["message", ""];
      }
    }
  }
}
