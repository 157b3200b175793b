//! `tribune load`: many viewers of one WHEP endpoint, real in everything that a server sees of them (HTTP, ICE, DTLS,
//! SRTP, RTCP), so cheap that thousands fit in one process. It knows of this server no more than of any other one: only
//! the lowest floors and the HTTP client are shared.
//!
//! | file | what it does |
//! |---|---|
//! | `options` | what the user wants |
//! | `plan` | who joins and leaves, and when |
//! | `offer` | offers and answers |
//! | `link` | ICE, DTLS and RTCP of whoever is a client here (sans-I/O) |
//! | `viewer`, `track`, `opening` | one viewer; which packets came; the first whole picture (sans-I/O) |
//! | `presenter`, `stamp` | a stream of an exact shape, with the time in its packets (sans-I/O) |
//! | `present` | the presenter's thread |
//! | `thread`, `sockets` | media threads: a socket for each viewer |
//! | `report`, `delay` | what came of it |

mod delay;
mod link;
mod offer;
mod opening;
mod options;
mod plan;
mod present;
mod presenter;
mod report;
mod sockets;
mod stamp;
mod thread;
mod track;
mod viewer;

use std::io::{self, Write};

pub use options::{EXAMPLES, Options};

use crate::client::{AskError, EndpointError};

/// Why a viewer was none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
enum Failure {
    /// The server refused.
    #[error("HTTP {0}")]
    Status(u16),
    /// The server did not take the goodbye.
    #[error("DELETE: HTTP {0}")]
    Goodbye(u16),
    /// No HTTP answer.
    #[error("no HTTP answer: {0}")]
    NoAnswer(String),
    /// The presenter is not there: without it there is nothing to watch.
    #[error("the presenter: {0}")]
    Presenter(Box<Failure>),
    /// The answer is of no use.
    #[error("{0}")]
    Answer(String),
    /// No socket for it.
    #[error("no socket: {0}")]
    Socket(String),
    /// No ICE check was answered.
    #[error("ICE: no check was answered")]
    NoCheck,
    /// No keys.
    #[error("DTLS: {0}")]
    Dtls(String),
    /// Connected, and then nothing came any more.
    #[error("the connection fell silent")]
    Silent,
    /// The server said goodbye.
    #[error("closed by the server")]
    Closed,
    /// Connected, but no packet came as long as it stayed.
    #[error("connected, but no packet came")]
    NoMedia,
}

/// Why there was no load at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not something that can be asked.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Every viewer has a socket.
    #[error("{viewers} viewers need {needed} open files, the system allows {allowed} (ulimit -n)")]
    Files {
        /// Viewers wanted.
        viewers: usize,
        /// Files needed.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// No threads, no epoll, no random numbers.
    #[error("the system refuses what is needed: {0}")]
    System(#[from] io::Error),
    /// No certificate of our own.
    #[error(transparent)]
    Identity(#[from] crate::peer::dtls::DtlsError),
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            // Explanations may differ from viewer to viewer; codes are counted.
            AskError::Status { status, .. } => Self::Status(status),
            AskError::NoAnswer(text) => Self::NoAnswer(text),
            AskError::Foreign(text) => Self::Answer(text),
        }
    }
}

/// Joins, watches, leaves; shows progress on standard error and the result on standard output. True when every viewer
/// joined and got media.
/// # Errors
/// When it could not even begin, or standard output is closed.
pub fn run(options: &Options) -> Result<bool, LoadError> {
    let report = plan::run(options)?;
    let text = if options.json { format!("{}\n", report.json()) } else { report.table() };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(report.is_good())
}
