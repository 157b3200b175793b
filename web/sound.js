// Measures the microphone, and mixes it with the sound of a shared screen when there is one.

/** What counts as silence, as a level between 0 and 1 (-54 dBFS). */
const SILENCE = 0.1;
/** The quietest level that the meter shows, in dBFS. */
const FLOOR_DB = -60;

/** Samples that the meter looks at, 0.2 s. */
const BLOCK = 8192;
/** Blocks that are looked through for sound: a page that nobody sees is woken only once a second. */
const BLOCKS = 4;

/** Stands between what is captured and what is sent. */
export class Mixer {
  #context = null;
  #analyser = null;
  #samples = new Float32Array(BLOCK * BLOCKS);
  #nodes = [];
  #quietSince = 0;
  /** The loudest since somebody set it to 0, as a level. */
  loudest = 0;

  /**
   * Takes the microphone and the sound of the screen, either may be null, and returns the track to send. One source
   * alone is sent as it is: the mix costs some delay.
   */
  use(microphone, screen) {
    for (const node of this.#nodes) node.disconnect();
    this.#nodes = [];
    this.#analyser = null;
    this.#quietSince = performance.now();
    if (!microphone) return screen;
    this.#context ??= new AudioContext();
    this.wake();
    const voice = this.#source(microphone);
    this.#analyser = new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    voice.connect(this.#analyser);
    if (!screen) return microphone;
    const mix = new MediaStreamAudioDestinationNode(this.#context);
    voice.connect(mix);
    this.#source(screen).connect(mix);
    this.#nodes.push(mix);
    return mix.stream.getAudioTracks()[0];
  }

  #source(track) {
    const node = new MediaStreamAudioSourceNode(this.#context, { mediaStream: new MediaStream([track]) });
    this.#nodes.push(node);
    return node;
  }

  /** Starts measuring, where the browser waits for a gesture first. */
  wake() {
    this.#context?.resume().catch(() => {});
  }

  /** Can the level be known? Not before the page was touched, nor, in Firefox, on a machine that cannot play sound. */
  get measures() {
    return this.#analyser !== null && this.#context.state === "running";
  }

  /** How loud the microphone is now, from 0 to 1, linear in decibels; null when it cannot be measured. */
  level() {
    if (!this.measures) return null;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    // The newest come last.
    const levels = Array.from({ length: BLOCKS }, (_, at) => loudness(this.#samples.subarray(at * BLOCK, (at + 1) * BLOCK)));
    if (Math.max(...levels) > SILENCE) this.#quietSince = performance.now();
    this.loudest = Math.max(this.loudest, ...levels);
    return levels[BLOCKS - 1];
  }

  /** For how long there has been nothing to hear, in ms. Only as good as how often `level` is asked. */
  get quiet() {
    return performance.now() - this.#quietSince;
  }
}

function loudness(samples) {
  const power = samples.reduce((total, sample) => total + sample * sample, 0) / samples.length;
  return Math.max(0, 1 - (10 * Math.log10(power + 1e-12)) / FLOOR_DB);
}

/** A level in words. */
export function decibels(level) {
  return level > 0 ? `${Math.round((1 - level) * FLOOR_DB)} dB`.replace("-", "−") : "quiet";
}

/** Is this level something to hear? */
export const audible = (level) => level > SILENCE;
