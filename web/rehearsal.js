// A few seconds recorded and played back: what the viewers would see and hear, before there are any.

/** How long it records, in ms. */
const LENGTH_MS = 3000;

export const possible = () => typeof MediaRecorder === "function";

/** Records these tracks; calls `left` with the whole seconds that remain. Throws when the browser cannot. */
export async function record(tracks, left) {
  const recorder = new MediaRecorder(new MediaStream(tracks));
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const done = new Promise((resolve, reject) => {
    recorder.onstop = resolve;
    recorder.onerror = ({ error }) => reject(error ?? new Error("the recording failed"));
  });
  recorder.start();
  const end = performance.now() + LENGTH_MS;
  const tell = () => left(Math.max(1, Math.ceil((end - performance.now()) / 1000)));
  tell();
  const timer = setInterval(tell, 200);
  const stop = setTimeout(() => recorder.state === "recording" && recorder.stop(), LENGTH_MS);
  try {
    await done;
  } finally {
    clearInterval(timer);
    clearTimeout(stop);
  }
  return new Blob(parts, { type: recorder.mimeType });
}

/** Plays a recording with its sound; resolves at its end, or when `signal` says so. The element is empty then. */
export async function play(video, recording, signal) {
  const url = URL.createObjectURL(recording);
  Object.assign(video, { srcObject: null, muted: false, src: url });
  try {
    await new Promise((resolve, reject) => {
      signal.addEventListener("abort", resolve);
      video.onended = resolve;
      video.onerror = () => reject(new Error("the browser cannot play its own recording"));
      video.play().catch(reject);
    });
  } finally {
    video.onended = video.onerror = null;
    video.pause();
    video.removeAttribute("src");
    video.load();
    video.muted = true;
    URL.revokeObjectURL(url);
  }
}
