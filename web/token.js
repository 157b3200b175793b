// Where a page has its stream's name and its token from.

/** The stream that this page is about: the last segment of its path. */
export const stream = decodeURIComponent(location.pathname.replace(/\/+$/, "").split("/").pop());

const memory = new Map();

/**
 * The token from the `#fragment`, or the one that this tab was given before, or "". The fragment, never part of a
 * request, is removed from the address bar, so that a picture of it gives nothing away.
 */
export function token(right) {
  const given = location.hash.slice(1).replace(/^token=/, "");
  if (given) {
    keep(right, given);
    history.replaceState(null, "", location.pathname);
  }
  return memory.get(right) ?? stored(right) ?? "";
}

/** Remembers a token until the tab is closed. */
export function keep(right, value) {
  memory.set(right, value);
  try {
    sessionStorage.setItem(key(right), value);
  } catch {
    // Storage may be forbidden; then a reload asks again.
  }
}

function stored(right) {
  try {
    return sessionStorage.getItem(key(right));
  } catch {
    return null;
  }
}

const key = (right) => `tribune.token.${right}.${stream}`;
