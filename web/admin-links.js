// Links: made with their QR code, listed, revoked.

import { ask } from "./api.js";
import { dateAndTime, element, set } from "./words.js";

const $ = (id) => document.getElementById(id);

export class Links {
  #say;

  constructor({ say }) {
    this.#say = say;
    $("make-link").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make(new FormData(event.target)).then(() => say(null), say);
    });
    $("made-done").addEventListener("click", () => {
      for (const id of ["made-url", "made-token", "qr"]) $(id).replaceChildren();
      $("made").hidden = true;
    });
  }

  async #make(form) {
    const wanted = { stream: form.get("stream"), right: form.get("right"), expires_in: Number(form.get("expires")) };
    if (form.get("subject").trim()) wanted.subject = form.get("subject").trim();
    const link = await ask("POST", "links", wanted);
    set($("made-url"), link.url);
    set($("made-token"), link.token);
    set($("made-warning"), warning(link));
    $("made-warning").hidden = !warning(link);
    // As an image an SVG can run nothing and load nothing.
    const image = new Image();
    image.alt = `QR code of the link to ${link.right} on ${link.stream}`;
    image.src = `data:image/svg+xml;base64,${btoa(link.qr_svg)}`;
    $("qr").replaceChildren(image);
    $("made").hidden = false;
    $("made").scrollIntoView({ block: "nearest" });
    await this.refresh();
  }

  /** Asks for the list. */
  async refresh() {
    try {
      const { links } = await ask("GET", "links");
      $("links").replaceChildren(...links.map((link) => this.#row(link)));
      set($("links-note"), links.length ? "" : "No links yet. Tokens made on the command line are not listed.");
    } catch (problem) {
      this.#say(problem);
    }
  }

  #row(link) {
    const row = element("li");
    const words = element("span", `${link.stream}, to ${link.right === "publish" ? "present" : "watch"}`);
    words.append(element("small", `${link.subject} · until ${dateAndTime(link.expires)}`));
    row.append(words);
    if (link.revoked) {
      row.className = "revoked";
      row.append(element("em", "revoked"));
      return row;
    }
    const revoke = element("button", "Revoke");
    revoke.type = "button";
    revoke.setAttribute("aria-label", `Revoke the link of ${link.subject} for ${link.stream}`);
    sure(revoke, async () => {
      await ask("DELETE", `links/${encodeURIComponent(link.id)}`).catch(this.#say);
      await this.refresh();
    });
    row.append(revoke);
    return row;
  }
}

/** Where the link leads nowhere, or to a page without a camera. */
function warning({ right, url }) {
  const { protocol, hostname } = new URL(url);
  const here = hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
  if (here) return "This link works on the server’s own machine only. Open this page by the server’s address, or set http.public_url, and make another one.";
  if (right === "publish" && protocol === "http:") return "Browsers give no camera to a page over plain HTTP: this link is for OBS and the like. With TLS it is for browsers, too.";
  return "";
}

/** A button that does it at the second press, within four seconds: no dialog, and no slip. */
export function sure(button, act) {
  const [label, name] = [button.textContent, button.getAttribute("aria-label") ?? button.textContent];
  let timer = 0;
  const say = (words) => {
    button.textContent = words;
    button.setAttribute("aria-label", words === label ? name : `${words} ${name}`);
  };
  button.addEventListener("click", () => {
    if (timer) {
      clearTimeout(timer);
      timer = 0;
      button.disabled = true;
      act().finally(() => {
        button.disabled = false;
        say(label);
      });
      return;
    }
    say("Really?");
    timer = setTimeout(() => {
      timer = 0;
      say(label);
    }, 4000);
  });
}
