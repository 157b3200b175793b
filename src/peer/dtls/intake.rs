//! What the library gets to see of the peer's datagrams: whole handshake messages, each once and in order.
//!
//! The library puts fragments together itself, but recurses per fragment, takes a fragment that is followed by another
//! one in its record for longer than it is, is lost after an empty fragment, and stops its timer for a message that it
//! has seen before. None of that can happen to messages that come whole.

use super::DtlsError;

/// Puts together what is under epoch 0; holds back what an honest peer does not send.
#[derive(Default)]
pub(super) struct Intake {
    /// The message that comes next.
    next: u16,
    /// Messages of which a part is here.
    parts: Vec<Part>,
    /// The number of the next record under epoch 0: one of the peer's may become several.
    sequence: u64,
    records: usize,
    fragments: usize,
    bytes: usize,
    /// Encrypted handshake records; the peer's Finished and its repetitions.
    finished: usize,
}

/// A handshake message that is not whole, or not due, yet.
struct Part {
    message: u16,
    kind: u8,
    length: usize,
    /// Pieces with their offsets, sorted by those.
    pieces: Vec<(usize, Vec<u8>)>,
}

/// What came of a datagram.
#[derive(Default)]
pub(super) struct Taken {
    /// For the library; may be empty.
    pub(super) datagram: Vec<u8>,
    /// The peer repeated a message: what we answered may be lost.
    pub(super) repeats: bool,
}

impl Intake {
    /// Takes in a datagram of an unfinished handshake.
    /// # Errors
    /// `Bounds` when the peer has sent more than a handshake needs.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Result<Taken, DtlsError> {
        let mut taken = Taken::default();
        self.bytes += datagram.len();
        for record in Records(datagram) {
            self.records += 1;
            if self.bytes > MAX_BYTES || self.records > MAX_RECORDS {
                return Err(DtlsError::Bounds);
            }
            match (record.epoch, record.content_type, record.content) {
                (0, HANDSHAKE, content) => self.handshake(&record, content, &mut taken)?,
                (0, CHANGE_CIPHER_SPEC, [1]) | (0, ALERT, [FATAL, _] | [_, CLOSE_NOTIFY]) => {
                    self.write(&record, &[record.content], &mut taken);
                }
                _ => self.encrypted(&record, &mut taken),
            }
        }
        Ok(taken)
    }

    /// Takes in a datagram after the handshake: nothing counts that is not encrypted.
    pub(super) fn take_encrypted(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut taken = Taken::default();
        for record in Records(datagram) {
            self.encrypted(&record, &mut taken);
        }
        taken.datagram
    }

    /// Those of an authentic goodbye.
    pub(super) fn alerts(datagram: &[u8]) -> Vec<u8> {
        let alerts = Records(datagram).filter(|r| r.epoch == 1 && r.content_type == ALERT);
        alerts.filter(|r| r.content.len() <= MAX_ENCRYPTED).flat_map(|r| r.whole.iter().copied()).collect()
    }

    /// The peer may hold the keys and still mean harm: the library puts these messages together in its own way.
    fn encrypted(&mut self, record: &Record<'_>, taken: &mut Taken) {
        if record.epoch != 1 || record.content.len() > MAX_ENCRYPTED {
            return;
        }
        match record.content_type {
            HANDSHAKE if self.finished < MAX_FINISHED => self.finished += 1,
            ALERT => {}
            _ => return,
        }
        taken.datagram.extend_from_slice(record.whole);
    }

    fn handshake(&mut self, record: &Record<'_>, mut content: &[u8], taken: &mut Taken) -> Result<(), DtlsError> {
        while let Some((header, rest)) = content.split_first_chunk::<MESSAGE_HEADER>() {
            let [kind, l0, l1, l2, m0, m1, o0, o1, o2, f0, f1, f2] = *header;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let message = u16::from_be_bytes([m0, m1]);
            let offset = u32::from_be_bytes([0, o0, o1, o2]) as usize;
            let Some((piece, rest)) = rest.split_at_checked(u32::from_be_bytes([0, f0, f1, f2]) as usize) else {
                break;
            };
            content = rest;
            self.fragments += 1;
            if length > MAX_MESSAGE || self.fragments > MAX_RECORDS {
                return Err(DtlsError::Bounds);
            }
            if message < self.next {
                taken.repeats = true;
            } else if message - self.next < MAX_AHEAD && offset + piece.len() <= length {
                self.keep(Part { message, kind, length, pieces: vec![(offset, piece.to_vec())] });
            }
        }
        while let Some((part, body)) = self.whole() {
            let length = (part.length as u32).to_be_bytes();
            let mut header = [0; MESSAGE_HEADER];
            header[0] = part.kind;
            header[1..4].copy_from_slice(&length[1..]);
            header[4..6].copy_from_slice(&part.message.to_be_bytes());
            header[9..12].copy_from_slice(&length[1..]);
            self.write(record, &[&header, &body], taken);
            self.next = self.next.saturating_add(1);
        }
        Ok(())
    }

    /// Adds a piece to its message.
    fn keep(&mut self, new: Part) {
        let Some(part) = self.parts.iter_mut().find(|p| p.message == new.message) else {
            self.parts.push(new);
            return;
        };
        if (part.kind, part.length) == (new.kind, new.length) {
            part.pieces.extend(new.pieces);
            part.pieces.sort_by_key(|(offset, _)| *offset);
        } else {
            // One of the two is forged. If it is the new one, the peer's repetition puts that right.
            *part = new;
        }
    }

    /// Takes out the message that is due, when all of it is here.
    fn whole(&mut self) -> Option<(Part, Vec<u8>)> {
        let due = self.parts.iter().position(|p| p.message == self.next)?;
        let mut body: Vec<u8> = Vec::new();
        for (offset, piece) in &self.parts[due].pieces {
            // Pieces may overlap: a repeated message may be cut elsewhere (RFC 6347 §4.2.3).
            let known = body.len().checked_sub(*offset)?;
            body.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
        (body.len() == self.parts[due].length).then(|| (self.parts.swap_remove(due), body))
    }

    /// Writes a record under epoch 0 for the library.
    fn write(&mut self, like: &Record<'_>, content: &[&[u8]], taken: &mut Taken) {
        let length: usize = content.iter().map(|c| c.len()).sum();
        let out = &mut taken.datagram;
        out.push(like.content_type);
        out.extend_from_slice(&like.version);
        // The epoch is the upper 16 bits: 0.
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&(length as u16).to_be_bytes());
        for part in content {
            out.extend_from_slice(part);
        }
        self.sequence += 1;
    }
}

/// One record of a datagram (RFC 6347 §4.1).
struct Record<'a> {
    content_type: u8,
    version: [u8; 2],
    epoch: u16,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The records of a datagram; ends where they make no sense.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let [content_type, v0, v1, e0, e1, .., l0, l1] = *self.0.first_chunk::<RECORD_HEADER>()?;
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([l0, l1]));
        let (whole, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        let epoch = u16::from_be_bytes([e0, e1]);
        Some(Record { content_type, version: [v0, v1], epoch, content: &whole[RECORD_HEADER..], whole })
    }
}

pub(super) const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const HANDSHAKE: u8 = 22;
/// Bytes of one handshake message.
const MAX_MESSAGE: usize = 8 * 1024;
/// Bytes of an unfinished handshake: a browser's flights are below 3 KB and are repeated a few times at most.
const MAX_BYTES: usize = 32 * 1024;
/// Records, and fragments in them.
const MAX_RECORDS: usize = 128;
/// A flight has six messages at most.
const MAX_AHEAD: u16 = 8;
/// A Finished or an alert with the largest padding of our cipher suites; room for eight fragments of a byte.
const MAX_ENCRYPTED: usize = 128;
/// Finished, and its repetitions until our own arrives.
const MAX_FINISHED: usize = 32;
