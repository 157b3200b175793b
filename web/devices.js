// Cameras, microphones and screens: what there is, how to get them, and how to say why not.

/** What the picture may be: its height, frames and bits per second. */
export const QUALITIES = {
  "360p30": { height: 360, frames: 30, bitrate: 800_000 },
  "480p30": { height: 480, frames: 30, bitrate: 1_500_000 },
  "720p30": { height: 720, frames: 30, bitrate: 2_500_000 },
  "720p60": { height: 720, frames: 60, bitrate: 4_000_000 },
  "1080p30": { height: 1080, frames: 30, bitrate: 4_500_000 },
  "1080p60": { height: 1080, frames: 60, bitrate: 7_000_000 },
};

/** The sizes of layered pictures: a name, the fraction of width and height, the share of the full picture's bit rate. */
const SIZES = [
  ["q", 4, 0.12],
  ["h", 2, 0.38],
  ["f", 1, 1],
];

/** What the encoder is told (RTCRtpEncodingParameters): one picture, or three sizes of it. */
export function encodings({ quality: { frames, bitrate }, layers, codec }) {
  if (!layers) return [{ maxBitrate: bitrate, maxFramerate: frames }];
  // Of these codecs Chromium would otherwise put all sizes into one stream.
  const mode = /VP9|AV1/i.test(codec) ? { scalabilityMode: "L1T1" } : {};
  return SIZES.map(([rid, by, share]) => {
    return { rid, scaleResolutionDownBy: by, maxBitrate: Math.round(bitrate * share), maxFramerate: frames, ...mode };
  });
}

/** Can this page get at a camera at all? Browsers offer them to secure origins only. */
export const secure = () => window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);
export const canShareScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

const only = (id) => (id ? { deviceId: { exact: id } } : {});

function pictureOf(id, { height, frames }) {
  const width = Math.round((height * 16) / 9);
  return { ...only(id), width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frames } };
}

// Cleaning is for speech; it makes music sound as if under water.
function soundOf(id, music) {
  const cleaned = !music;
  const processing = { echoCancellation: cleaned, noiseSuppression: cleaned, autoGainControl: cleaned };
  return { ...only(id), ...processing, channelCount: { ideal: music ? 2 : 1 } };
}

/**
 * Gets a camera or a microphone, or both with one question to the user. `wish` holds `camera` and `microphone`,
 * which are ids or "" for any, `quality`, `hint` and `music`.
 */
export async function capture(wish, kinds) {
  const ask = (ids) => ({
    video: kinds.includes("camera") && pictureOf(ids && wish.camera, wish.quality),
    audio: kinds.includes("microphone") && soundOf(ids && wish.microphone, wish.music),
  });
  try {
    return await get(ask(true), wish);
  } catch (error) {
    // The device that was chosen last time is not here today.
    const chosen = wish.camera || wish.microphone;
    if (!chosen || !["OverconstrainedError", "NotFoundError"].includes(error.name)) throw error;
    return get(ask(false), wish);
  }
}

async function get(constraints, { music, hint }) {
  const stream = await navigator.mediaDevices.getUserMedia(constraints);
  const [camera = null] = stream.getVideoTracks();
  const [microphone = null] = stream.getAudioTracks();
  if (camera) camera.contentHint = hint || "motion";
  if (microphone) microphone.contentHint = music ? "music" : "speech";
  return { camera, microphone };
}

/** Asks for a screen, window or tab; its sound is null when there is none. */
export async function captureScreen({ quality, hint }) {
  const stream = await navigator.mediaDevices.getDisplayMedia({
    video: { frameRate: { ideal: quality.frames } },
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const [screen] = stream.getVideoTracks();
  const [sound = null] = stream.getAudioTracks();
  // Letters must stay sharp; smooth motion matters less.
  screen.contentHint = hint || "detail";
  return { screen, sound };
}

/** Changes what a camera delivers without letting go of it. */
export const retune = (track, quality) => track.applyConstraints(pictureOf("", quality)).catch(() => {});

/** Lists devices: `{ cameras, microphones }`, each `[{ id, label }]`. Without permission ids and labels are empty. */
export async function list() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const of = (kind, name) =>
    all
      .filter((device) => device.kind === kind && device.deviceId)
      .map(({ deviceId, label }, index) => ({ id: deviceId, label: label || `${name} ${index + 1}` }));
  return { cameras: of("videoinput", "Camera"), microphones: of("audioinput", "Microphone") };
}

/** Was permission given earlier, so that a preview can start without a question? */
export async function allowed(kinds) {
  const query = (name) => navigator.permissions.query({ name }).then(({ state }) => state === "granted");
  try {
    return (await Promise.all(kinds.map(query))).every(Boolean);
  } catch {
    return false;
  }
}

/** Says why a device could not be had. `what`: "camera", "microphone", "camera and microphone", "screen". */
export function reason(error, what) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      if (what === "screen") return "No screen was chosen, so none is shared.";
      if (/system/i.test(error.message)) {
        return `The system does not let the browser use the ${what}. Allow it in the system’s privacy settings.`;
      }
      return (
        `The browser does not let this page use the ${what}. ` +
        "Click the symbol at the left of the address bar, allow it, and try again."
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${what.replace(" and ", " or ")} was found. Plug one in, or choose something else to present.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${what} cannot be started. Perhaps another program is using it: close that one and try again.`;
    default:
      return `The ${what} cannot be used: ${error.message || error.name}.`;
  }
}
