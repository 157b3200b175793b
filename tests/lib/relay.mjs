// A UDP relay between clients and the server's media port that loses a chosen DTLS datagram.

import dgram from 'node:dgram';

/** The first byte tells DTLS apart (RFC 7983). */
const isDtls = (datagram) => datagram[0] >= 20 && datagram[0] <= 63;

export class Relay {
  #clients = new Map();
  #plan = { lose: null, sent: { client: [], server: [] }, lost: null };

  /**
   * Listens on `address`, on the port of the server at `server` (`address:port`): the port that it advertises.
   * @param {import('./case.mjs').Case} test who ends it
   */
  static async start(test, { address, server }) {
    const relay = new Relay();
    const [host, port] = server.split(':');
    relay.server = { host, port: Number(port) };
    relay.socket = await bound(address, relay.server.port);
    relay.socket.on('message', (datagram, from) => relay.#fromClient(datagram, from));
    relay.address = address;
    test.atEnd(() => {
      relay.socket.close();
      for (const client of relay.#clients.values()) client.then(({ socket }) => socket.close());
    });
    return relay;
  }

  /**
   * From now on, of the DTLS datagrams that a client not seen before and the server send to each other, loses the
   * `nth` (from 1) that `sender` (`client` or `server`) sends.
   */
  lose(sender, nth) {
    this.#plan = { lose: { sender, nth }, sent: { client: [], server: [] }, lost: null };
  }

  /** The datagram that was lost; `null` as long as none was. */
  get lost() { return this.#plan.lost; }

  /** The DTLS datagrams sent since, by `client` and by `server`; the lost one too. */
  get sent() { return this.#plan.sent; }

  async #fromClient(datagram, from) {
    const key = `${from.address}:${from.port}`;
    if (!this.#clients.has(key)) this.#clients.set(key, this.#admit(from));
    const { socket, plan } = await this.#clients.get(key);
    if (!this.#loses(plan, 'client', datagram)) socket.send(datagram, this.server.port, this.server.host);
  }

  /** A socket of its own per client: the server must be able to tell them apart. */
  async #admit({ address, port }) {
    const plan = this.#plan;
    const socket = await bound(this.server.host, 0);
    socket.on('message', (datagram) => {
      if (!this.#loses(plan, 'server', datagram)) this.socket.send(datagram, port, address);
    });
    return { socket, plan };
  }

  #loses(plan, sender, datagram) {
    if (!isDtls(datagram)) return false;
    plan.sent[sender].push(datagram);
    if (plan.lose?.sender !== sender || plan.sent[sender].length !== plan.lose.nth) return false;
    plan.lost = datagram;
    return true;
  }
}

/** A UDP socket bound to that address; 0 is any port. */
function bound(address, port) {
  const socket = dgram.createSocket('udp4');
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => resolve(socket));
  });
}
