//! Where datagrams go out, and how several of them become one send.

use crate::peer::ice::Path;

/// Takes datagrams to send. The socket implements it, and so do tests.
pub trait Outbox {
    /// Sends the datagrams that lie one after another in `datagrams`: each `segment` bytes, the last one maybe fewer.
    /// A full socket keeps a little for later and then drops; the caller does not wait.
    fn send(&mut self, path: Path, datagrams: &[u8], segment: usize);

    /// The socket takes no more for now: what can wait should.
    fn is_full(&self) -> bool;

    /// The most datagrams that one send may hold.
    fn max_segments(&self) -> usize;
}

/// Packets of one viewer that leave together (UDP generic segmentation offload): all of one length, the last one maybe
/// shorter.
#[derive(Debug, Default)]
pub struct Run {
    buf: Vec<u8>,
    segment: usize,
    count: usize,
    ended: bool,
}

impl Run {
    /// Adds a datagram of `len` bytes, which `write` appends to the buffer. Sends what was there before if the new one
    /// does not fit behind it.
    pub fn push(&mut self, out: &mut impl Outbox, path: Path, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let fits = self.count < out.max_segments() && self.buf.len() + len <= MAX_SEND && !self.ended;
        if self.count > 0 && (!fits || len > self.segment) {
            self.flush(out, path);
        }
        if self.count == 0 {
            self.segment = len;
        }
        let start = self.buf.len();
        write(&mut self.buf);
        debug_assert_eq!(self.buf.len() - start, len, "a run's lengths are said in advance");
        self.ended = len < self.segment;
        self.count += 1;
    }

    /// Sends what is there.
    pub fn flush(&mut self, out: &mut impl Outbox, path: Path) {
        if self.count > 0 {
            out.send(path, &self.buf, self.segment);
        }
        self.buf.clear();
        self.count = 0;
        self.ended = false;
    }
}

/// UDP payload that one send may carry at most: 65,535 less the IP and UDP headers.
const MAX_SEND: usize = 65_535 - 48;

/// An outbox that keeps everything, datagram by datagram.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Kept(pub Vec<(Path, Vec<u8>)>);

#[cfg(test)]
impl Outbox for Kept {
    fn send(&mut self, path: Path, datagrams: &[u8], segment: usize) {
        self.0.extend(datagrams.chunks(segment).map(|d| (path, d.to_vec())));
    }

    fn is_full(&self) -> bool {
        false
    }

    fn max_segments(&self) -> usize {
        64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    struct Sends(Vec<(usize, usize)>);

    impl Outbox for Sends {
        fn send(&mut self, _: Path, datagrams: &[u8], segment: usize) {
            self.0.push((datagrams.len(), segment));
        }

        fn is_full(&self) -> bool {
            false
        }

        fn max_segments(&self) -> usize {
            4
        }
    }

    #[test]
    fn only_the_last_datagram_of_a_send_is_shorter() {
        let path = Path { remote: SocketAddr::from(([127, 0, 0, 1], 1)), local: None };
        let mut sends = Sends(Vec::new());
        let mut run = Run::default();

        for len in [100, 100, 60, 60, 60, 100, 50, 50, 50, 50, 50] {
            run.push(&mut sends, path, len, |buf| buf.resize(buf.len() + len, 0));
        }
        run.flush(&mut sends, path);
        run.flush(&mut sends, path);

        assert_eq!(sends.0, [(260, 100), (120, 60), (150, 100), (200, 50)]);
    }
}
