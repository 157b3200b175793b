// Put into every page before its own scripts: remembers the connections that the page makes and reads their statistics.
// That way our own pages, a library's and the tests' client are measured alike.

'use strict';

(() => {
  const peers = [];
  const Original = window.RTCPeerConnection;

  window.RTCPeerConnection = class RTCPeerConnection extends Original {
    constructor(...words) {
      super(...words);
      peers.push(this);
    }
  };

  window.probe = {
    /** How many connections the page has made. */
    made: () => peers.length,

    /** The senders of the newest connection. */
    senders: () => peers.at(-1)?.getSenders() ?? [],

    /** All of them. */
    peers: () => peers,

    /** Measures from now on how long the picture stands still, in ms; `stop` gives the longest time. */
    watchGaps() {
      const peer = peers.at(-1);
      let [longest, frames, since] = [0, -1, performance.now()];
      const look = async () => {
        const report = await peer.getStats();
        const now = performance.now();
        const video = [...report.values()].find((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video');
        longest = Math.max(longest, now - since);
        if (video && video.framesDecoded !== frames) [frames, since] = [video.framesDecoded, now];
      };
      const timer = setInterval(look, 20);
      window.probe.longestGap = () => { clearInterval(timer); return Math.round(longest); };
    },

    /** What the browser counts for the newest connection. What this browser does not count is absent. */
    async stats() {
      const peer = peers.at(-1);
      const found = { connection: peer?.connectionState ?? 'none' };
      const report = await peer?.getStats();
      for (const entry of report?.values() ?? []) {
        if (entry.type === 'transport') {
          found.srtpCipher = entry.srtpCipher;
          found.port = report.get(report.get(entry.selectedCandidatePairId)?.localCandidateId)?.port;
        }
        if (entry.type !== 'inbound-rtp' && entry.type !== 'outbound-rtp') continue;
        if (entry.rid) (found.layers ??= {})[entry.rid] = { bytes: entry.bytesSent, frames: entry.framesSent, height: entry.frameHeight };
        found[entry.kind] = { ...entry, codec: report.get(entry.codecId)?.mimeType };
      }
      const pair = report?.get([...report.values()].find((entry) => entry.type === 'transport')?.selectedCandidatePairId);
      found.from = report?.get(pair?.localCandidateId)?.address;
      const video = document.querySelector('video');
      return { ...found, picture: video ? [video.videoWidth, video.videoHeight] : null };
    },
  };
})();
