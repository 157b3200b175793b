// Where viewers find the stream, as the server knows it: `localhost` leads nowhere from a telephone.

import { bearer } from "./wish.js";

const $ = (id) => document.getElementById(id);

/** Shows the viewers' link and what else is made of it, for a server that is found at `base`. */
function show(base, stream) {
  $("watch-link").replaceChildren(base, document.createElement("wbr"), `/watch/${stream}`);
  $("embed-link").textContent = `${base}/embed/${stream}`;
  $("embed-code").textContent =
    `<script type="module" src="${base}/static/player.js"></script>\n<tribune-player src="${base}/embed/${stream}"></tribune-player>`;
}

/** Shows the links, as they are seen from here until the server has told whoever may present. */
export async function share(stream, token) {
  if (!$("watch-link").textContent) show(location.origin, stream);
  if (!token) return;
  const path = `/api/v1/streams/${encodeURIComponent(stream)}/share`;
  const response = await fetch(path, { headers: bearer(token) }).catch(() => null);
  const known = Object(response?.ok ? await response.json().catch(() => null) : null);
  // The link has no token in it: for viewers who need one it opens nothing.
  $("closed").hidden = known.open !== false;
  if (!URL.canParse(known.watch_url)) return;
  const { origin } = new URL(known.watch_url);
  show(origin, stream);
  for (const word of document.querySelectorAll(".share [data-local]")) word.hidden ||= origin !== location.origin;
  $("code").hidden = !known.qr_svg || known.open === false;
  // As an image an SVG can run nothing and load nothing.
  if (known.qr_svg) $("qr").src = `data:image/svg+xml;base64,${btoa(known.qr_svg)}`;
}
