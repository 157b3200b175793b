//! The `tribune` command.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tribune::app::webhooks::Tried;
use tribune::app::{self, AppError, Ended};
use tribune::config::duration::Span;
use tribune::config::{self, Config, ConfigError};
use tribune::control::auth::{Identity, Right};
use tribune::control::stream::StreamName;
use tribune::load::{self, LoadError};
use tribune::publish::{self, PublishError};
use tribune::watch::{self, WatchError};

/// Sessions are made on the threads of HTTP and end on those of media, which glibc's allocator answers with fragments:
/// with this one a join costs about a fifth less.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One presenter, thousands of viewers, one port: a WHIP/WHEP server.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (also without this word)
    Serve,
    /// Make a token, print it and the link to its page
    Token(TokenArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Try the webhooks
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Watch a stream as many viewers at once, and measure what they get; any WHEP server will do
    #[command(after_help = load::EXAMPLES)]
    Load(load::Options),
    /// Present files or a test pattern; any WHIP server will do
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::Options),
    /// Watch a stream without a screen, and say what comes; any WHEP server will do
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Options),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is good, with line and key of what is not
    Check {
        /// The file; by default that of --config
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// Send each webhook of the configuration a test event, and say how it is answered
    Test,
}

/// Settings that are wanted often; all others are in the configuration file.
#[derive(Debug, Args)]
struct Settings {
    /// Read this configuration file; config.toml shows every key [default: that of TRIBUNE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and TCP port of pages and signalling [default: [::]:8080]
    #[arg(long, global = true, value_name = "ADDR")]
    http: Option<String>,
    /// Address and UDP port of media [default: [::]:8080]
    #[arg(long, global = true, value_name = "ADDR")]
    media: Option<String>,
    /// off, self-signed (for a LAN) or files (named in the configuration) [default: off]
    #[arg(long, global = true, value_name = "KIND")]
    tls: Option<String>,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// The stream that it is for
    #[arg(long, value_name = "NAME", required_unless_present = "admin")]
    stream: Option<StreamName>,
    #[command(flatten)]
    right: RightArgs,
    /// How long it is good: 30m, 2h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = "12h", value_parser = lifetime)]
    lifetime: Span,
    /// Whose it is; a presenter that comes back under the same name takes its own place over [default: publisher:STREAM]
    #[arg(long = "as", value_name = "NAME", value_parser = subject)]
    subject: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RightArgs {
    /// It allows to present on the stream, and to watch it
    #[arg(long)]
    publish: bool,
    /// It allows to watch the stream
    #[arg(long)]
    watch: bool,
    /// It allows everything, on the stream or without --stream on all
    #[arg(long)]
    admin: bool,
}

impl RightArgs {
    fn right(&self) -> Right {
        match (self.publish, self.watch) {
            (true, _) => Right::Publish,
            (_, true) => Right::Watch,
            _ => Right::Admin,
        }
    }
}

impl Settings {
    fn load(&self) -> Result<Config, ConfigError> {
        let flags = [("http.listen", &self.http), ("media.listen", &self.media), ("http.tls", &self.tls)];
        let flags: Vec<_> = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
        let of_environment = || std::env::var_os(config::CONFIG_VARIABLE).map(PathBuf::from);
        let file = self.config.clone().or_else(of_environment);
        Config::load(file.as_deref(), environment(), &flags)
    }
}

/// What went wrong, and with it the exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::Load(LoadError::Endpoint(_))
            | Self::Publish(PublishError::Endpoint(_) | PublishError::Nothing | PublishError::Layers(_))
            | Self::Watch(WatchError::Endpoint(_)) => ExitCode::from(USAGE),
            Self::Publish(PublishError::Call(_)) => ExitCode::FAILURE,
            Self::App(_) | Self::Load(_) | Self::Publish(_) | Self::Watch(_) | Self::Output(_) => ExitCode::from(IO),
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed output is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(code) => code,
        // Whoever reads the first line only (`| head -1`) has what it wants.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "tribune: {failure}");
            failure.code()
        }
    }
}

fn run(mut cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command.take().unwrap_or(Command::Serve) {
        Command::Serve => serve(&cli.settings),
        Command::Token(args) => token(&cli.settings, args),
        Command::Config(ConfigCommand::Check { file }) => {
            cli.settings.config = file.or(cli.settings.config);
            cli.settings.load()?;
            writeln!(io::stdout(), "the configuration is good")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Webhook(WebhookCommand::Test) => test_webhooks(&cli.settings),
        // Not every viewer got what it came for: that is an answer, not a failure of ours.
        Command::Load(options) => Ok(if load::run(&options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Publish(options) => {
            publish::run(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Watch(options) => Ok(if watch::run(&options)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    }
}

fn serve(settings: &Settings) -> Result<ExitCode, Failure> {
    let config = settings.load()?;
    app::log(&config);
    for name in config::unknown_variables(environment().map(|(name, _)| name)) {
        tracing::warn!(name, "this variable is not a setting and is ignored");
    }
    Ok(match app::serve(&config)? {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::Forced => ExitCode::from(INTERRUPTED),
    })
}

fn token(settings: &Settings, args: TokenArgs) -> Result<ExitCode, Failure> {
    let (config, right) = (settings.load()?, args.right.right());
    let subject = args.subject.unwrap_or_else(|| config::subject(right, args.stream.as_ref()));
    let identity = Identity { subject, stream: args.stream, right };
    let (token, link) = app::token(&config, &identity, args.lifetime.0)?;
    writeln!(io::stdout(), "{}\n{link}", token.reveal())?;
    Ok(ExitCode::SUCCESS)
}

/// Good when there are webhooks and each of them takes the event.
fn test_webhooks(settings: &Settings) -> Result<ExitCode, Failure> {
    let tried = app::try_webhooks(&settings.load()?)?;
    let mut output = io::stdout();
    for one in &tried {
        let answer = match &one.result {
            Ok(receipt) => format!("HTTP {}", receipt.status),
            Err(error) => error.to_string(),
        };
        let word = if one.is_good() { "good" } else { "not good" };
        writeln!(
            output,
            "webhook {} ({}): {word}, {answer} after {} ms",
            one.number,
            one.origin,
            one.took.as_millis()
        )?;
    }
    if tried.is_empty() {
        writeln!(output, "the configuration has no [[webhooks]]")?;
    }
    let good = !tried.is_empty() && tried.iter().all(Tried::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Variables that are text; others cannot be meant for us.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn lifetime(text: &str) -> Result<Span, String> {
    match text.parse::<Span>() {
        Ok(Span(time)) if time.as_secs() == 0 => Err("a token of no time is good for nothing".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(error.to_string()),
    }
}

fn subject(text: &str) -> Result<String, String> {
    let good = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
    if good { Ok(text.to_owned()) } else { Err("a name has 1–128 bytes and no control characters".to_owned()) }
}

const EXAMPLES: &str = "\
Examples:
  tribune                                          run, and print how to present and watch
  tribune --tls self-signed                        the same for a LAN: browsers warn once, then give the camera
  tribune --http 127.0.0.1:9000 --media 0.0.0.0:9000
  tribune token --stream talk --publish --for 2h   a token and a link for somebody who presents
  tribune token --stream talk --watch --as alice   a token for one viewer
  tribune config check my.toml

Every key of the configuration is also a variable: http.listen is TRIBUNE_HTTP_LISTEN.
Tokens are signed with the secret in the state directory (state.dir): make them as the user that runs the server.
Exit codes: 0 ended well, 1 something tried did not go well, 64 wrong usage or configuration, 74 a port, file or certificate cannot be used, 130 forced.";

/// `EX_USAGE` of sysexits.
const USAGE: u8 = 64;
/// `EX_IOERR` of sysexits.
const IO: u8 = 74;
/// What shells say of a program that ended by SIGINT.
const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_has_exactly_one_right_and_a_stream_unless_it_is_an_admins() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();

        assert!(parse("tribune token --stream talk --publish --for 2h"));
        assert!(parse("tribune token --stream talk --watch --as alice"));
        assert!(parse("tribune token --admin") && parse("tribune token --admin --stream talk"));
        assert!(!parse("tribune token --stream talk"));
        assert!(!parse("tribune token --publish"));
        assert!(!parse("tribune token --stream talk --publish --watch"));
        assert!(!parse("tribune token --stream a/b --publish"));
        assert!(!parse("tribune token --stream talk --publish --for 0s"));
        assert!(!parse("tribune token --stream talk --publish --for soon"));
    }

    #[test]
    fn settings_come_before_or_after_the_command() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).expect("good").settings.http;

        assert_eq!(parse("tribune --http 127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(parse("tribune serve --http 127.0.0.1:1").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(parse("tribune --http 127.0.0.1:1 serve").as_deref(), Some("127.0.0.1:1"));
    }
}
