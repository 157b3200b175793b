//! Two ends and the net between them, in virtual time.

use super::*;

/// One end of a handshake.
pub(super) trait End {
    fn read(&mut self, datagram: &[u8], now: Instant, out: &mut Vec<BytesMut>);
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>);
    fn next_timeout(&self) -> Option<Instant>;
    /// What was agreed on, once it was.
    fn agreed(&self) -> Option<&Agreed>;
    fn error(&self) -> Option<&DtlsError>;
    fn is_closed(&self) -> bool;
    fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>);
    /// Forgets all but what a goodbye needs, where that is possible; how many bytes that is.
    fn rest(&mut self) -> usize;
}

/// The implementation under test.
pub(super) struct Ours {
    identity: Arc<Identity>,
    association: Association,
    agreed: Option<Agreed>,
    error: Option<DtlsError>,
    closed: bool,
}

enum Association {
    Fresh(Box<Handshake>),
    Resting(Resting),
}

impl Ours {
    pub(super) fn new(
        identity: &Arc<Identity>,
        role: DtlsRole,
        peer: &Fingerprint,
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Self {
        Self::with(identity, role, vec![peer.clone()], now, out)
    }

    pub(super) fn with(
        identity: &Arc<Identity>,
        role: DtlsRole,
        fingerprints: Vec<Fingerprint>,
        now: Instant,
        out: &mut Vec<BytesMut>,
    ) -> Self {
        let handshake = Handshake::new(identity, role, fingerprints, now, out).expect("it begins");
        let association = Association::Fresh(Box::new(handshake));
        Self { identity: identity.clone(), association, agreed: None, error: None, closed: false }
    }
}

impl End for Ours {
    fn read(&mut self, datagram: &[u8], now: Instant, out: &mut Vec<BytesMut>) {
        let handshake = match &mut self.association {
            Association::Fresh(handshake) => handshake,
            Association::Resting(resting) => {
                self.closed |= resting.is_closed_by(&self.identity, datagram, now);
                return;
            }
        };
        match handshake.read(&self.identity, datagram, now, out) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Complete(agreed)) => {
                assert!(self.agreed.is_none() && self.error.is_none(), "told once");
                self.agreed = Some(agreed);
            }
            Ok(Progress::Closed) => self.closed = true,
            Err(error) => self.error = Some(error),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if let Association::Fresh(handshake) = &mut self.association {
            handshake.handle_timeout(now, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match &self.association {
            Association::Fresh(handshake) => handshake.next_timeout(),
            Association::Resting(_) => None,
        }
    }

    fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    fn error(&self) -> Option<&DtlsError> {
        self.error.as_ref()
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        match &mut self.association {
            Association::Fresh(handshake) => handshake.close(now, out),
            Association::Resting(resting) => resting.close(&self.identity, now, out),
        }
    }

    fn rest(&mut self) -> usize {
        let Association::Fresh(handshake) = &self.association else { panic!("it rests") };
        let resting = handshake.rest(&self.identity).expect("it is complete");
        let bytes = size_of::<Resting>() + resting.state.len();
        self.association = Association::Resting(resting);
        bytes
    }
}

/// The library as it comes: its own timers and its own choice of profile.
pub(super) struct Plain {
    endpoint: Endpoint,
    is_client: bool,
    agreed: Option<Agreed>,
    error: Option<DtlsError>,
    closed: bool,
}

impl Plain {
    pub(super) fn new(config: HandshakeConfig, is_client: bool, now: Instant, out: &mut Vec<BytesMut>) -> Self {
        let config = Arc::new(config);
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, (!is_client).then(|| config.clone()));
        if is_client {
            endpoint.connect(now, PEER, config, None).expect("it begins");
        }
        let mut plain = Self { endpoint, is_client, agreed: None, error: None, closed: false };
        plain.send(out);
        plain
    }

    fn send(&mut self, out: &mut Vec<BytesMut>) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            out.push(transmit.message);
        }
    }

    fn keys(&self) -> Agreed {
        let state = self.endpoint.get_connection_state(PEER).expect("a connection");
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AesGcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::AesCm,
            other => panic!("profile {other:?}"),
        };
        let length = profile.keying_material_len();
        let material = state.export_keying_material(EXPORTER_LABEL, &[], length).expect("keys");
        let (ours, theirs) = srtp::masters(profile, material.as_ref(), self.is_client).expect("right length");
        Agreed { profile, ours, theirs }
    }
}

impl End for Plain {
    fn read(&mut self, datagram: &[u8], now: Instant, out: &mut Vec<BytesMut>) {
        match self.endpoint.read(now, PEER, None, BytesMut::from(datagram)) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.agreed = Some(self.keys()),
                        EndpointEvent::PeerClosed => self.closed = true,
                        _ => {}
                    }
                }
            }
            Err(error) => self.error = Some(DtlsError::library(error)),
        }
        self.send(out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        if let Err(error) = self.endpoint.handle_timeout(PEER, now) {
            self.error = Some(DtlsError::library(error));
        }
        self.send(out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER).filter(|_| self.agreed.is_none())
    }

    fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    fn error(&self) -> Option<&DtlsError> {
        self.error.as_ref()
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn close(&mut self, now: Instant, out: &mut Vec<BytesMut>) {
        self.endpoint.stop(now, PEER);
        self.send(out);
    }

    fn rest(&mut self) -> usize {
        0
    }
}

/// What the net does to a datagram: after which delays copies of it arrive. None: it is lost.
pub(super) type Fate<'a> = Box<dyn FnMut(usize) -> Vec<Duration> + 'a>;

/// How long a datagram is under way when nothing happens to it.
pub(super) const DELAY: Duration = Duration::from_millis(10);

/// A net that treats everything alike.
pub(super) fn fair<'a>() -> Fate<'a> {
    Box::new(|_| vec![DELAY])
}

/// A client, a server and the net between them.
pub(super) struct Link<'a> {
    pub(super) client: Box<dyn End>,
    pub(super) server: Box<dyn End>,
    pub(super) now: Instant,
    pub(super) fate: Fate<'a>,
    /// Datagrams sent so far, by both.
    pub(super) sent: usize,
    /// When each arrives, whether it goes to the server, and what it is; in the order of sending.
    under_way: Vec<(Instant, bool, BytesMut)>,
}

impl<'a> Link<'a> {
    /// `begun`: what the client sent when it was made.
    pub(super) fn new(
        client: Box<dyn End>,
        server: Box<dyn End>,
        begun: Vec<BytesMut>,
        now: Instant,
        fate: Fate<'a>,
    ) -> Self {
        let mut link = Self { client, server, now, fate, sent: 0, under_way: Vec::new() };
        link.post(true, begun);
        link
    }

    pub(super) fn post(&mut self, to_server: bool, datagrams: Vec<BytesMut>) {
        for datagram in datagrams {
            for delay in (self.fate)(self.sent) {
                self.under_way.push((self.now + delay, to_server, datagram.clone()));
            }
            self.sent += 1;
        }
    }

    /// Runs until both ends are complete, or one has failed, or `limit` has passed.
    /// Returns how long it took, if they are complete.
    pub(super) fn run(&mut self, limit: Duration) -> Option<Duration> {
        let begun = self.now;
        while !self.is_complete() && self.client.error().is_none() && self.server.error().is_none() {
            if !self.step(begun + limit) {
                return None;
            }
        }
        self.is_complete().then(|| self.now - begun)
    }

    /// Lets everything arrive that happens within `span`.
    pub(super) fn settle(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    fn is_complete(&self) -> bool {
        self.client.agreed().is_some() && self.server.agreed().is_some()
    }

    /// Does what is next; `false` when that is later than `end` or nothing is.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.under_way.iter().map(|(at, ..)| *at).min();
        let timeouts = [self.client.next_timeout(), self.server.next_timeout()];
        let Some(next) = timeouts.into_iter().flatten().chain(arrival).min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        let mut out = Vec::new();
        if arrival.is_some_and(|at| at <= self.now) {
            let (first, _) = (self.under_way.iter().enumerate()).min_by_key(|(_, (at, ..))| *at).expect("it arrives");
            let (_, to_server, datagram) = self.under_way.remove(first);
            let end = if to_server { &mut self.server } else { &mut self.client };
            end.read(&datagram, self.now, &mut out);
            self.post(!to_server, out);
            return true;
        }
        for from_client in [true, false] {
            let end = if from_client { &mut self.client } else { &mut self.server };
            if end.next_timeout().is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now, &mut out);
                self.post(from_client, std::mem::take(&mut out));
            }
        }
        true
    }
}
