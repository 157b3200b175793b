// A minimal WHIP presenter and WHEP viewer, written from the standards. Runs in the page; tests call `client`.

'use strict';

window.client = (() => {
  let peer = null;
  let session = null;

  /**
   * Presents the browser's (fake) camera and microphone. Resolves when connected. `encodings`: simulcast, as
   * RTCRtpEncodingParameters. `busy`: instead of the camera pictures that take all the bits that an encoder may spend.
   */
  async function publish({ url, token, codec, encodings, busy, width = 640, height = 360 }) {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width, height, frameRate: 30 } });
    peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const [audio] = media.getAudioTracks();
    const [video] = (busy ? busyPictures(width, height) : media).getVideoTracks();
    peer.addTransceiver(audio, { direction: 'sendonly', streams: [media] });
    const simulcast = encodings ? { sendEncodings: encodings } : {};
    prefer(peer.addTransceiver(video, { direction: 'sendonly', streams: [media], ...simulcast }), codec);
    await open(url, token);
  }

  /** Watches. Resolves when connected. `through`: the only address of the server's that is used. */
  async function play({ url, token, through }) {
    peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const media = new MediaStream();
    const video = document.getElementById('v');
    peer.addEventListener('track', (event) => {
      media.addTrack(event.track);
    });
    video.srcObject = media;
    peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    await open(url, token, through);
  }

  /** Offers what no stream of the tests has, answers what the server offers then, and resolves to both statuses. */
  async function playCountered(url) {
    peer = new RTCPeerConnection();
    prefer(peer.addTransceiver('video', { direction: 'recvonly' }), 'video/VP9');
    await peer.setLocalDescription();
    const headers = { 'Content-Type': 'application/sdp' };
    const refused = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp });
    peer.close();
    session = new URL(refused.headers.get('location'), url).href;

    peer = new RTCPeerConnection();
    const media = new MediaStream();
    document.getElementById('v').srcObject = media;
    peer.addEventListener('track', (event) => { media.addTrack(event.track); });
    await peer.setRemoteDescription({ type: 'offer', sdp: await refused.text() });
    await peer.setLocalDescription();
    const taken = await fetch(session, { method: 'PATCH', headers, body: peer.localDescription.sdp });
    await settled('connectionstatechange', 15000, () => peer.connectionState === 'connected');
    return [refused.status, taken.status];
  }

  /** Random blocks, 15 times a second. */
  function busyPictures(width, height) {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext('2d');
    setInterval(() => {
      for (let block = 0; block < 24; block += 1) {
        pen.fillStyle = `hsl(${360 * Math.random()} 80% ${100 * Math.random()}%)`;
        pen.fillRect(width * Math.random(), height * Math.random(), 24, 24);
      }
    }, 1000 / 15);
    return canvas.captureStream(15);
  }

  /** Ends the session by its URL and resolves to the status. */
  async function hangUp() {
    const answer = await fetch(session, { method: 'DELETE' });
    peer.close();
    return answer.status;
  }

  async function open(url, token, through) {
    await peer.setLocalDescription(await peer.createOffer());
    await settled('icegatheringstatechange', 3000, () => peer.iceGatheringState === 'complete');
    const answer = await post(url, token, peer.localDescription.sdp);
    session = new URL(answer.headers.get('location'), url).href;
    const lines = (await answer.text()).split('\r\n');
    const sdp = lines.filter((line) => !through || !line.startsWith('a=candidate:') || line.includes(` ${through} `)).join('\r\n');
    await peer.setRemoteDescription({ type: 'answer', sdp });
    await settled('connectionstatechange', 15000, () => peer.connectionState === 'connected');
    if (peer.connectionState !== 'connected') throw new Error(`connection: ${peer.connectionState}`);
  }

  /** POSTs the offer; a stream that is not live yet (409 with Retry-After) is asked again for up to 10 s. */
  async function post(url, token, sdp) {
    const headers = { 'Content-Type': 'application/sdp', ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    for (let attempt = 0; ; attempt += 1) {
      const answer = await fetch(url, { method: 'POST', headers, body: sdp });
      if (answer.status === 201) return answer;
      if (answer.status !== 409 || !answer.headers.get('retry-after') || attempt >= 20) {
        throw new Error(`POST ${url}: ${answer.status} ${await answer.text()}`);
      }
      await new Promise((resolve) => { setTimeout(resolve, 500); });
    }
  }

  /** Resolves when `condition` holds after an event of that type, or after `milliseconds`. */
  function settled(type, milliseconds, condition) {
    return new Promise((resolve) => {
      const look = () => { if (condition()) resolve(); };
      peer.addEventListener(type, look);
      setTimeout(resolve, milliseconds);
      look();
    });
  }

  /** Offers this codec alone, with the repair formats that go with it. */
  function prefer(transceiver, codec) {
    if (!codec) return;
    const { codecs } = RTCRtpReceiver.getCapabilities('video');
    const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === codec.toLowerCase());
    if (wanted.length === 0) throw new Error(`this browser has no ${codec}`);
    const repair = codecs.filter(({ mimeType }) => /\/(rtx|red|ulpfec|flexfec)/i.test(mimeType));
    transceiver.setCodecPreferences([...wanted, ...repair]);
  }

  /** Where this page's session is. */
  const where = () => session;

  return { publish, play, playCountered, hangUp, where };
})();
