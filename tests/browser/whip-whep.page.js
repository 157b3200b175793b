// Runs in the page: the library used as its documentation says. Bundled by esbuild.

import { WHEPClient } from 'whip-whep/whep.js';
import { WHIPClient } from 'whip-whep/whip.js';

let peer = null;
let client = null;

window.library = {
  async publish({ url, token }) {
    peer = new RTCPeerConnection();
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
    for (const track of media.getTracks()) peer.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    client = new WHIPClient();
    await client.publish(peer, url, token);
  },

  async watch({ url, token }) {
    peer = new RTCPeerConnection();
    const media = new MediaStream();
    const video = document.getElementById('v');
    peer.ontrack = (event) => {
      media.addTrack(event.track);
      video.srcObject = media;
    };
    peer.addTransceiver('audio', { direction: 'recvonly' });
    peer.addTransceiver('video', { direction: 'recvonly' });
    client = new WHEPClient();
    await client.view(peer, url, token);
  },

  restart: () => client.restart(),

  stop: () => client.stop(),
};

window.ready = true;
