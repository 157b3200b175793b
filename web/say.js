// What the presenter's page tells people, always as text.

/** Shows a sentence in one of the page's places; an empty one hides it. What a screen reader has read stays as it is. */
export function notice(id, sentence) {
  const place = document.getElementById(id);
  const text = place.querySelector("p") ?? place;
  if (text.textContent !== sentence) text.textContent = sentence;
  place.hidden = !sentence;
}

/** What the presenter must know now. */
export const say = (sentence) => notice("message", sentence);

/** What a token of this server says of itself, unchecked: `stream`, `right`, `exp` in seconds; else an empty object. */
export function claims(token) {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
    return Object(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return {};
  }
}

/** Why somebody wanted this session to end, by the last word of the problem's type. */
const ENDED = {
  "session-taken-over":
    "You are presenting from somewhere else now, with the same token. “Go live” brings it back here.",
  "session-kicked": "Whoever runs this server has ended your presentation. Ask them before you go live again.",
};

/** Why a Problem keeps this presenter off the air, and what to do. */
export function explain({ status, type = "", title, detail }, stream, token) {
  const ended = ENDED[type.split(":").pop()];
  if (ended) return ended;
  switch (status) {
    case 401:
      return refused(token);
    case 403:
      return elsewhere(stream, token);
    case 404:
      return `There is no stream called “${stream}” on this server. Check the link, or ask whoever runs the server.`;
    case 406:
    case 422:
      return `The server cannot take what this browser offers: ${detail || title}. Another codec may help (see More).`;
    case 409:
      return "Somebody else is presenting on this stream right now. Try again when they have finished.";
    case 429:
    case 503:
      return "The server has all it can carry at the moment.";
    case 0:
      return "The server does not answer. Is it running, and are you online?";
    case -1:
      return "The server answered, but media does not reach it. A firewall may block the way: try another network.";
    default:
      return `The server refused with ${status}. ${detail || title}`;
  }
}

function refused(token) {
  if (!token) return "Presenting needs a token. Open the link that you were sent, or enter the token here.";
  const { exp } = claims(token);
  if (Number.isFinite(exp) && exp * 1000 < Date.now()) {
    return `Your token expired on ${new Date(exp * 1000).toLocaleString()}. Ask for a new link.`;
  }
  return "This token is not valid on this server. Was the link copied in full? If so, ask for a new one.";
}

function elsewhere(stream, token) {
  const given = claims(token);
  if (given.right === "watch") return "This token is for watching, not for presenting. Ask for the presenter’s link.";
  if (typeof given.stream === "string" && given.stream !== stream) {
    return `This token is for another stream, “${given.stream.slice(0, 64)}”. Open that stream’s link, or enter a token.`;
  }
  return "This token is good, but not for presenting on this stream. Enter another one.";
}
