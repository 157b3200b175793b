// Presents numbered pictures, and watches the same stream several times at once: which number is shown where and when
// tells how fast a viewer has its first picture, and how far it is behind the others. Runs in the page; the test calls
// `instant`.

'use strict';

window.instant = (() => {
  /** Viewers by name. */
  const viewers = new Map();
  let presenter = null;
  /** The numbers at which the presenter asked its encoder for a key frame. */
  const keys = [];

  /**
   * Presents numbered pictures. It takes no requests for key frames (its offer has none of the lines) and makes one
   * every `interval` seconds. Resolves when connected.
   */
  async function publish({ url, token, codec, interval, bitrate }) {
    const peer = presenter = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const encodings = [{ maxBitrate: bitrate, maxFramerate: RATE }];
    const [track] = numberedPictures().getVideoTracks();
    const { sender } = prefer(peer.addTransceiver(track, { direction: 'sendonly', sendEncodings: encodings }), codec);
    const [tone] = quietTone().getAudioTracks();
    peer.addTransceiver(tone, { direction: 'sendonly' });
    await peer.setLocalDescription();
    await gathered(peer);
    const deaf = peer.localDescription.sdp.split('\r\n').filter((line) => !/^a=rtcp-fb:\S+ (nack pli|ccm fir)/.test(line));
    const { answer } = await post(url, deaf.join('\r\n'), token);
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    await until(() => peer.connectionState === 'connected');
    const parameters = sender.getParameters();
    parameters.degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters);
    const key = () => {
      keys.push(number());
      sender.setParameters(sender.getParameters(), { encodingOptions: [{ keyFrame: true }] });
    };
    key();
    setInterval(key, interval * 1000);
  }

  /** Pictures with the number of their time in black and white blocks, over something that moves. */
  function numberedPictures() {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: WIDTH, height: HEIGHT });
    const pen = canvas.getContext('2d');
    let shown = -1;
    const draw = () => {
      const current = number();
      if (current === shown) return;
      shown = current;
      pen.fillStyle = `hsl(${current % 360} 40% 50%)`;
      pen.fillRect(0, 0, WIDTH, HEIGHT);
      for (let disc = 0; disc < 12; disc += 1) {
        pen.fillStyle = `hsl(${disc * 30} 90% 60%)`;
        pen.beginPath();
        pen.arc((current * (disc + 3) + disc * 71) % WIDTH, 80 + disc * 22, 18, 0, 7);
        pen.fill();
      }
      for (let bit = 0; bit < BITS; bit += 1) {
        pen.fillStyle = current >> bit & 1 ? '#fff' : '#000';
        pen.fillRect(bit * BLOCK, 0, BLOCK, BLOCK);
      }
    };
    draw();
    setInterval(draw, 8);
    return canvas.captureStream(RATE);
  }

  function quietTone() {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const sink = context.createMediaStreamDestination();
    tone.connect(sink);
    tone.start();
    return sink.stream;
  }

  /** The number of the picture of this moment. */
  const number = () => Math.floor(performance.now() * RATE / 1000) % (1 << BITS);

  /** What the presenter has done. */
  async function presented() {
    const video = [...(await presenter.getStats()).values()].find((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video');
    return { keys, encoded: video.keyFramesEncoded };
  }

  /** Watches as one more viewer, which goes on until `leave`. Resolves when the server has answered. */
  async function join({ name, url }) {
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const video = document.createElement('video');
    // Not muted: where nobody hears the sound, pictures need not wait for it.
    Object.assign(video, { autoplay: true, playsInline: true, srcObject: new MediaStream() });
    document.body.append(video);
    peer.addEventListener('track', ({ track }) => { video.srcObject.addTrack(track); });
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    await peer.setLocalDescription();
    const viewer = { peer, video, shown: [] };
    viewers.set(name, viewer);
    follow(viewer);
    viewer.asked = performance.now();
    const { answer, session } = await post(url, peer.localDescription.sdp);
    viewer.session = session;
    peer.addEventListener('connectionstatechange', () => {
      if (peer.connectionState === 'connected') viewer.connected ??= performance.now();
    });
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
  }

  /** Keeps the number and the moment of every picture that the browser shows. */
  function follow(viewer) {
    const pen = Object.assign(document.createElement('canvas'), { width: BITS, height: 1 }).getContext('2d', { willReadFrequently: true });
    const look = (now, { presentedFrames }) => {
      viewer.presented = presentedFrames;
      const scale = viewer.video.videoWidth / WIDTH;
      pen.drawImage(viewer.video, 0, 0, BITS * BLOCK * scale, BLOCK * scale, 0, 0, BITS, 1);
      const { data } = pen.getImageData(0, 0, BITS, 1);
      let [read, clear] = [0, true];
      for (let bit = 0; bit < BITS; bit += 1) {
        const light = data[4 * bit + 1];
        if (light > 128) read |= 1 << bit;
        clear &&= Math.abs(light - 128) > 48;
      }
      // Firefox calls for a black picture too, before there is any: that would be number 0.
      if (clear && read > 0) {
        viewer.first ??= performance.now();
        viewer.shown.push([performance.now(), read]);
      }
      if (!viewer.over) viewer.video.requestVideoFrameCallback(look);
    };
    viewer.video.requestVideoFrameCallback(look);
  }

  /** What viewers have seen: moments in ms of this page's clock, and what the browser counts. */
  async function seen(name) {
    const { peer, asked, connected, first, shown, presented: count } = viewers.get(name);
    const report = await peer.getStats();
    const video = [...report.values()].find((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video') ?? {};
    return { now: performance.now(), asked, connected, first, shown, presented: count, video: { ...video, codec: report.get(video.codecId)?.mimeType } };
  }

  /** A viewer goes; resolves to the status of its goodbye. */
  async function leave(name) {
    const viewer = viewers.get(name);
    viewers.delete(name);
    viewer.over = true;
    const { status } = await fetch(viewer.session, { method: 'DELETE' });
    viewer.peer.close();
    viewer.video.remove();
    return status;
  }

  async function post(url, body, token) {
    const headers = { 'Content-Type': 'application/sdp', ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const answer = await fetch(url, { method: 'POST', headers, body });
    if (answer.status !== 201) throw new Error(`POST ${url}: ${answer.status} ${await answer.text()}`);
    return { session: new URL(answer.headers.get('location'), url).href, answer: await answer.text() };
  }

  function prefer(transceiver, codec) {
    const { codecs } = RTCRtpReceiver.getCapabilities('video');
    transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType.toLowerCase() === codec.toLowerCase() || /\/rtx/i.test(mimeType)));
    return transceiver;
  }

  const gathered = (peer) => until(() => peer.iceGatheringState === 'complete', 3_000);

  async function until(condition, milliseconds = 15_000) {
    const end = performance.now() + milliseconds;
    while (!condition() && performance.now() < end) await new Promise((resolve) => { setTimeout(resolve, 5); });
  }

  const [WIDTH, HEIGHT, RATE, BITS, BLOCK] = [640, 360, 30, 16, 32];

  return { publish, presented, join, seen, leave };
})();
