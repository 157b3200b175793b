// A player that knows of events and layers, with nothing but what browsers have. Runs in the page; tests call `player`.

'use strict';

window.player = (() => {
  const told = [];
  let session = null;
  let links = {};

  /** Watches, asks for these events, and listens. Resolves when they begin to come. */
  async function watch(url, kinds) {
    const peer = new RTCPeerConnection();
    const media = new MediaStream();
    document.getElementById('v').srcObject = media;
    peer.ontrack = ({ track }) => media.addTrack(track);
    peer.addTransceiver('audio', { direction: 'recvonly' });
    peer.addTransceiver('video', { direction: 'recvonly' });
    await peer.setLocalDescription();
    const answer = await offer(url, peer);
    session = new URL(answer.headers.get('location'), url).href;
    for (const [, address, rel] of answer.headers.get('link').matchAll(/<([^>]+)>;\s*rel="([^"]+)"/g)) {
      links[rel.split(':').at(-1)] = new URL(address, url).href;
    }
    await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    await listen(url, kinds);
  }

  /** POSTs the offer; a stream that is not live yet is asked again. */
  async function offer(url, peer) {
    for (;;) {
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/sdp' },
        body: peer.localDescription.sdp,
      });
      if (answer.status === 201) return answer;
      if (answer.status !== 409) throw new Error(`POST ${url}: ${answer.status}`);
      await new Promise((resolve) => { setTimeout(resolve, 500); });
    }
  }

  async function listen(url, kinds) {
    const made = await fetch(links['server-sent-events'], {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(kinds),
    });
    if (made.status !== 201) throw new Error(`events: ${made.status}`);
    const source = new EventSource(new URL(made.headers.get('location'), url));
    for (const kind of kinds) {
      source.addEventListener(kind, ({ data }) => told.push({ kind, data: JSON.parse(data), at: Date.now() }));
    }
    await new Promise((resolve, reject) => { [source.onopen, source.onerror] = [resolve, reject]; });
  }

  /** Says which layer is wanted; `{}`: whichever the server chooses. Resolves to the status. */
  async function choose(wish) {
    const answer = await fetch(links.layer, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(wish),
    });
    return answer.status;
  }

  /** What the server says is wanted and sent. */
  const layers = async () => (await fetch(links.layer)).json();

  /** Everything of a kind that was told, oldest first. */
  const heard = (kind) => told.filter((event) => event.kind === kind);

  const hangUp = async () => (await fetch(session, { method: 'DELETE' })).status;

  return { watch, choose, layers, heard, hangUp };
})();
