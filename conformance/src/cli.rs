//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Judges a WHIP/WHEP server from outside, clause by clause of RFC 9725 and the WHEP draft.
///
/// The report goes to standard output, progress to standard error. Exit status: 0 nothing failed, 1 a binding clause
/// failed, 2 the suite could not run (nothing reachable, bad options), 130 interrupted; its sessions are deleted in
/// every case. At most five POSTs a second go to each endpoint (twenty when the target is this machine). To judge
/// WHEP give also --whip (the suite then publishes a synthetic stream itself), or have a presenter live on the stream.
#[derive(Clone, Debug, Parser)]
#[command(name = "tribune-conformance", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub(crate) struct Cli {
    /// WHIP endpoint, e.g. http://127.0.0.1:8080/whip/room
    #[arg(long, value_name = "URL")]
    pub(crate) whip: Option<String>,
    /// WHEP endpoint of the same stream, e.g. http://127.0.0.1:8080/whep/room
    #[arg(long, value_name = "URL")]
    pub(crate) whep: Option<String>,
    /// WHIP endpoint of a second stream on the same server: then what needs the seat of a presenter runs there, beside
    /// the rest. Its tokens, when others: $CONFORMANCE_SECOND_TOKEN, …_SECOND_WATCH_TOKEN and …_SECOND_OTHER_TOKEN
    #[arg(long, value_name = "URL", requires = "second_whep")]
    pub(crate) second_whip: Option<String>,
    /// WHEP endpoint of the second stream
    #[arg(long, value_name = "URL", requires_all = ["second_whip", "whip", "whep"])]
    pub(crate) second_whep: Option<String>,
    /// Bearer token that may publish (and watch, unless --watch-token is given) [default: $CONFORMANCE_TOKEN]
    #[arg(long, value_name = "T")]
    pub(crate) token: Option<String>,
    /// Bearer token that may only watch [default: $CONFORMANCE_WATCH_TOKEN]
    #[arg(long, value_name = "T")]
    pub(crate) watch_token: Option<String>,
    /// Bearer token that may publish the stream as somebody else [default: $CONFORMANCE_OTHER_TOKEN]
    #[arg(long, value_name = "T")]
    pub(crate) other_token: Option<String>,
    /// Bearer token that must be refused, e.g. an expired one
    #[arg(long, value_name = "T", default_value = "not-the-token")]
    pub(crate) wrong_token: String,
    /// How much to judge
    #[arg(long, value_enum, default_value_t = Level::Full)]
    pub(crate) level: Level,
    /// Judge these clauses only, whatever their level
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Also do what a production server would rightly object to: floods of requests and of session names
    #[arg(long)]
    pub(crate) abuse: bool,
    /// Forgiveness fails: a server that takes PATCH without If-Match is noted otherwise
    #[arg(long)]
    pub(crate) strict: bool,
    /// POSTs per second and endpoint [default: 5, or 20 when the target is a loopback address]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) posts_per_second: Option<u32>,
    /// Seconds after which the run is ended, whatever is still to be judged
    #[arg(long, value_name = "S", default_value_t = 600)]
    pub(crate) deadline: u64,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Local address of the media socket [default: the one that routes to the target]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) local_ip: Option<IpAddr>,
    /// PEM file with the root certificate of an https target [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Do not check the certificate of an https target
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Say nothing on standard error
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// List the clauses that this version can judge, and exit
    #[arg(long)]
    pub(crate) list: bool,
    /// Prove that the checks can fail: judge wrong servers made from the healthy one that is named, and exit
    #[arg(long)]
    pub(crate) self_test: bool,
    /// Print one of the offers that the checks send (O-AV, O-BO, …), and exit
    #[arg(long, value_name = "NAME")]
    pub(crate) print_offer: Option<String>,
    /// With --print-offer: the offer of a viewer instead of a presenter's
    #[arg(long)]
    pub(crate) viewer: bool,
}

/// Which clauses are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// MUST and SHALL
    Core,
    /// All that the specifications ask for or advise
    Full,
    /// Also the quality bar beyond the specifications
    Quality,
    /// What real clients do, step by step, instead of clauses
    Interop,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a terminal
    Text,
    /// One object, stable field names
    Json,
    /// For continuous integration
    Junit,
    /// For a page
    Markdown,
}

/// Which endpoint a check talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// Ingest.
    Whip,
    /// Playback.
    Whep,
}

impl Side {
    /// `whip` or `whep`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whip => "whip",
            Self::Whep => "whep",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();

        let cli = Cli::parse_from(["x", "--whip", "http://h/w", "--only", "SDP-01,SDP-02", "--format", "junit"]);

        assert_eq!(cli.only, ["SDP-01", "SDP-02"]);
        assert_eq!((cli.format, cli.level), (Format::Junit, Level::Full));
    }
}
