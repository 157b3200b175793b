// <tribune-player src="https://live.example.org/embed/talk"></tribune-player>: a stream in any page. This file is all
// that the page needs:  <script type="module" src="https://live.example.org/static/player.js"></script>
//
// `src` is the address of the stream's embed or watch page, a token after `#` if watching needs one. `label` is what a
// screen reader calls it. `state` is `connecting`, `live`, `waiting`, `lost` or `error`; when it changes there is an
// event `statechange`. It is 16:9 and as wide as its place; the page's own styles win.

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  :host { display: block; aspect-ratio: 16 / 9; background: #000; overflow: hidden; }
  :host([hidden]) { display: none; }
  iframe { display: block; width: 100%; height: 100%; border: 0; }
`);

class TribunePlayer extends HTMLElement {
  static observedAttributes = ["src", "label"];
  #frame = document.createElement("iframe");
  #origin = "";
  #state = "connecting";
  #hear = ({ data, source, origin }) => {
    if (source !== this.#frame.contentWindow || origin !== this.#origin) return;
    const state = data?.tribune?.state;
    if (typeof state !== "string" || state === this.#state) return;
    this.#state = state;
    this.dispatchEvent(new CustomEvent("statechange", { detail: { state } }));
  };

  constructor() {
    super();
    const root = this.attachShadow({ mode: "closed" });
    root.adoptedStyleSheets = [STYLE];
    this.#frame.allow = "autoplay; fullscreen; picture-in-picture";
    this.#frame.referrerPolicy = "no-referrer";
    root.append(this.#frame);
  }

  /** What the player says of itself. */
  get state() {
    return this.#state;
  }

  connectedCallback() {
    addEventListener("message", this.#hear);
    this.#load();
  }

  disconnectedCallback() {
    removeEventListener("message", this.#hear);
    this.#frame.removeAttribute("src");
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#load();
  }

  #load() {
    this.#frame.title = this.getAttribute("label") ?? "Live video";
    const url = address(this.getAttribute("src"));
    if (this.#frame.src === (url?.href ?? "")) return;
    this.#origin = url?.origin ?? "";
    if (url) this.#frame.src = url.href;
    else this.#frame.removeAttribute("src");
  }
}

/** The page to frame; null for what is no web address. */
function address(given) {
  if (!given || !URL.canParse(given, document.baseURI)) return null;
  const url = new URL(given, document.baseURI);
  if (!/^https?:$/.test(url.protocol)) return null;
  url.pathname = url.pathname.replace(/\/watch\/(?=[^/]+$)/, "/embed/");
  return url;
}

customElements.define("tribune-player", TribunePlayer);
