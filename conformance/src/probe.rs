//! A raw UDP socket at a session's media address: for checks that a well-behaved client would never send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::case::Halt;
use crate::client::{Context, Session};
use crate::stun::{PRIORITY, Request, Response, USERNAME};

/// The socket, and what one needs to know about the session.
pub(crate) struct Probe {
    socket: UdpSocket,
    /// The session's address for media.
    server: SocketAddr,
    /// `server:client`, as checks carry it.
    pub(crate) username: String,
    /// The server's ICE password.
    pub(crate) password: String,
}

impl Probe {
    /// A socket that the session has never heard from.
    ///
    /// # Errors
    /// [`Halt::Skip`] when the answer names no address that can be reached from here.
    pub(crate) async fn new(cx: &Context, session: &Session) -> Result<Self, Halt> {
        let ip = cx.local_ip(session.side).await?;
        let (offer, answer) = (session.offer()?, &session.sdp);
        let read = |name: &str| answer.tagged().and_then(|m| answer.effective(m, name)).map(str::to_owned);
        let missing = || Halt::Skip("the answer has no ICE credentials".into());
        let (ufrag, password) = read("ice-ufrag").zip(read("ice-pwd")).ok_or_else(missing)?;
        let theirs = offer.media.iter().find_map(|m| offer.effective(m, "ice-ufrag")).unwrap_or_default();
        let lines = answer.tagged().into_iter().flat_map(|m| m.attrs("candidate"));
        let server = lines
            .filter_map(address)
            .find(|a| a.is_ipv4() == ip.is_ipv4())
            .ok_or_else(|| Halt::Skip("no candidate of the address family that is used here".into()))?;
        let socket = UdpSocket::bind((ip, 0)).await.map_err(|e| Halt::Skip(format!("UDP on {ip}: {e}")))?;
        Ok(Self { socket, server, username: format!("{ufrag}:{theirs}"), password })
    }

    /// The address that it sends from.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// A check with USERNAME and PRIORITY, to be completed and signed.
    pub(crate) fn check(&self) -> Request {
        Request::new().with(USERNAME, self.username.as_bytes()).with(PRIORITY, &HOST_PRIORITY.to_be_bytes())
    }

    /// Sends a request up to three times; gives the response to it.
    pub(crate) async fn ask(&self, request: &[u8]) -> Option<Response> {
        for _ in 0..3 {
            let heard = self.exchange(request, RESPONSE_WAIT, |d| Response::to(request, d).is_some()).await;
            if let Some(response) = heard.last().and_then(|datagram| Response::to(request, datagram)) {
                return Some(response);
            }
        }
        None
    }

    /// Sends a datagram and collects what comes in, until `enough` holds for one or `patience` is over.
    pub(crate) async fn exchange(
        &self,
        datagram: &[u8],
        patience: Duration,
        enough: impl Fn(&[u8]) -> bool,
    ) -> Vec<Vec<u8>> {
        // A refused datagram looks like a lost one.
        let _lost = self.socket.send_to(datagram, self.server).await;
        let deadline = Instant::now() + patience;
        let mut buffer = vec![0; 2048];
        let mut heard = Vec::new();
        // An ICMP error from an earlier datagram ends nothing; only the deadline does.
        while let Ok(received) = timeout_at(deadline, self.socket.recv_from(&mut buffer)).await {
            let Ok((length, source)) = received else {
                // There may be many of them at once.
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            if source != self.server {
                continue;
            }
            let datagram = buffer.get(..length).unwrap_or_default().to_vec();
            let last = enough(&datagram);
            heard.push(datagram);
            if last {
                break;
            }
        }
        heard
    }
}

/// The address of a UDP candidate line, unless it is a name.
fn address(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, "1", transport, _, ip, port, ..] = words.as_slice() else {
        return None;
    };
    let is_udp = transport.eq_ignore_ascii_case("udp");
    is_udp.then(|| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))).flatten()
}

/// What a host candidate has (RFC 8445 §5.1.2.1), as peer-reflexive.
const HOST_PRIORITY: u32 = 1_862_270_975;
/// For one try; far more than a server on any continent needs.
const RESPONSE_WAIT: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_udp_candidates_with_an_address_are_used() {
        let host = |line| address(line).map(|a| a.to_string());

        assert_eq!(host("1 1 UDP 2130706431 192.0.2.1 8080 typ host"), Some("192.0.2.1:8080".into()));
        assert_eq!(host("1 1 udp 2130706431 2001:db8::1 8080 typ host"), Some("[2001:db8::1]:8080".into()));
        assert_eq!(host("1 1 tcp 2130706431 192.0.2.1 9 typ host tcptype active"), None);
        assert_eq!(host("1 1 udp 2130706431 abc.local 8080 typ host"), None);
        assert_eq!(host("1 2 udp 2130706431 192.0.2.1 8080 typ host"), None);
        assert_eq!(host("garbage"), None);
    }
}
