//! What workers and control send to a worker. Queues of it are bounded; when one is full the letter is lost and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::clock::Sync;
use super::layer::LayerChoice;
use super::packet::Packet;
use super::{CloseReason, Restart, SessionId, StreamId, WorkerId};
use crate::wire::sdp::Kind;

/// A letter to a worker.
#[derive(Debug)]
pub enum Mail {
    /// From control: end a session, if it is here.
    Close {
        /// Which one.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// From control: end all sessions.
    CloseAll {
        /// Why.
        reason: CloseReason,
    },
    /// From control: a viewer wishes other layers, if it is here.
    ChooseLayer {
        /// Which viewer.
        session: SessionId,
        /// Which track.
        kind: Kind,
        /// What it wishes.
        choice: LayerChoice,
    },
    /// From control: checks of a session of yours may carry these credentials as well. The lobby knows of it.
    Restart(Restart),
    /// A datagram of a session of yours that came to another worker's socket.
    Stray(Datagram),
    /// From the stream's home: packets for your viewers.
    Packets {
        /// Which stream.
        stream: StreamId,
        /// In the order of arrival.
        packets: Vec<Arc<Packet>>,
    },
    /// From the stream's home: how a source's clock reads.
    Clock {
        /// Which stream.
        stream: StreamId,
        /// Which track.
        kind: Kind,
        /// Which layer.
        layer: u8,
        /// Which source.
        source: u64,
        /// The reading.
        sync: Sync,
    },
    /// From an outpost: its first viewer has come. What is kept for such viewers?
    CacheWanted {
        /// Which stream.
        stream: StreamId,
        /// The outpost.
        worker: WorkerId,
    },
    /// From the stream's home: what it keeps of a layer, the key frame first.
    Cached {
        /// Which stream.
        stream: StreamId,
        /// In the order of their numbers.
        packets: Vec<Arc<Packet>>,
    },
    /// From the stream's home: nothing is kept any more, until the next key frame.
    CacheGone {
        /// Which stream.
        stream: StreamId,
    },
    /// From an outpost: a viewer needs a key frame.
    KeyframeWanted {
        /// Which stream.
        stream: StreamId,
        /// Which layer.
        layer: u8,
    },
}

/// A datagram with its envelope.
#[derive(Debug)]
pub struct Datagram {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it came to.
    pub to: Option<IpAddr>,
    /// When the kernel got it.
    pub arrived: Instant,
}
