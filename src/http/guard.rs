//! What stands between a socket and the HTTP parser: deadlines that the parser does not know, and the watch over
//! framing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::framing::Framing;
use super::service::Connection;

/// A socket with its guard.
#[derive(Debug)]
pub(super) struct Guard<S> {
    socket: S,
    /// Bytes that were read to tell the protocol; they come first.
    begin: Bytes,
    framing: Framing,
    watch: Watch,
    connection: Arc<Connection>,
    /// How long a head may take from its first byte.
    head_deadline: Duration,
    head: Option<Pin<Box<Sleep>>>,
    /// How long the client may take nothing while there is something to send.
    write_deadline: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// HTTP/1.1, framing is watched.
    Http1,
    /// HTTP/2, which frames without ambiguity.
    Http2,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Reads until the first bytes tell the protocol, at most for `head_deadline`.
    /// # Errors
    /// When nothing comes in time, or the client is gone.
    pub(super) async fn new(
        mut socket: S,
        connection: Arc<Connection>,
        head_deadline: Duration,
        write_deadline: Duration,
    ) -> io::Result<Self> {
        let mut begin = BytesMut::with_capacity(1024);
        let detect = async {
            while begin.len() < PREFACE.len() && PREFACE.starts_with(&begin) {
                if socket.read_buf(&mut begin).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(if begin.starts_with(PREFACE) { Watch::Http2 } else { Watch::Http1 })
        };
        let watch = timeout(head_deadline, detect).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Self {
            socket,
            begin: begin.freeze(),
            framing: Framing::default(),
            watch,
            connection,
            head_deadline,
            head: None,
            write_deadline,
            stalled: None,
            lingering: None,
        })
    }

    /// What is spoken here.
    pub(super) fn watch(&self) -> Watch {
        self.watch
    }

    /// Looks at fresh bytes before the parser sees them.
    fn inspect(&mut self, from: usize, buf: &ReadBuf<'_>) {
        if self.watch == Watch::Http1
            && let Err(flaw) = self.framing.take(buf.filled().get(from..).unwrap_or_default())
        {
            self.connection.found(flaw);
        }
    }

    /// Fails once a head has been on its way for too long.
    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.framing.in_head() {
            self.head = None;
            return Poll::Pending;
        }
        let deadline = self.head_deadline;
        poll_timer(&mut self.head, deadline, cx)
    }

    /// Turns a write that does not move into an error after a while.
    fn unless_stalled<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.write_deadline;
        poll_timer(&mut self.stalled, deadline, cx).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let from = buf.filled().len();
        if this.begin.has_remaining() {
            let piece = this.begin.split_to(this.begin.len().min(buf.remaining()));
            buf.put_slice(&piece);
            this.inspect(from, buf);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            this.inspect(from, buf);
        }
        match this.poll_head_deadline(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.unless_stalled(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.unless_stalled(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.unless_stalled(flushed, cx)
    }

    /// After a request that was not read to its end, what still comes is thrown away for a moment: closing with unread
    /// bytes resets the connection, and the client would lose the response that says why.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            let closed = Pin::new(&mut this.socket).poll_shutdown(cx);
            ready!(this.unless_stalled(closed, cx))?;
            if this.watch == Watch::Http2 || !this.framing.in_body() {
                return Poll::Ready(Ok(()));
            }
        }
        let mut scratch = [0; 4096];
        while poll_timer(&mut this.lingering, LINGER, cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Starts a timer if it does not run, and says when it has run out.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, after: Duration, cx: &mut Context<'_>) -> Poll<io::Error> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + after)));
    timer.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
}

/// What a client that speaks HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long we listen to a client whose request was refused unread.
const LINGER: Duration = Duration::from_secs(1);
