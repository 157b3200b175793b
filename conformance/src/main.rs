//! `tribune-conformance`: judges any WHIP/WHEP server against RFC 9725 and the WHEP draft, through the network only.
//!
//! `main` reads the command line; `run` orders the checks; `cases` hold one function per clause; `client` is what they
//! talk through (`http` for resources, `rtc` for media, `probe` and `stun` for raw datagrams, `offer` and `answer` for
//! SDP); `report` prints what came out.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod answer;
mod case;
mod cases;
mod clauses;
mod cli;
mod client;
mod date;
mod http;
mod interop;
mod link;
mod mutants;
mod offer;
mod probe;
mod report;
mod rtc;
mod run;
#[cfg(test)]
mod stub;
mod stun;
mod tls;
mod url;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::cases::all;
use crate::clauses::Table;
use crate::cli::{Cli, Level, Side};
use crate::client::{BRISK, Context, POLITE, Target};
use crate::http::Http;
use crate::offer::Fixture;
use crate::report::Report;
use crate::run::{Progress, run, selected};
use crate::url::Url;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tribune-conformance: {error}");
            ExitCode::from(2)
        }
    }
}

/// Does what the command line asks.
fn start(cli: &Cli) -> Result<ExitCode, String> {
    let table = Table::built_in()?;
    if let Some(name) = &cli.print_offer {
        let fixture = Fixture::named(name).ok_or_else(|| {
            let names: Vec<&str> = Fixture::ALL.iter().map(|(_, name)| *name).collect();
            format!("--print-offer {name}: not one of {}", names.join(", "))
        })?;
        print(&fixture.body(if cli.viewer { Side::Whep } else { Side::Whip }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.list {
        let cases = all();
        let lines = cases.iter().filter_map(|case| {
            let clause = table.find(case.id)?;
            Some(format!("{:14} {:2} {:8} {}\n", clause.id, clause.severity, clause.keyword, clause.requirement))
        });
        print(&lines.collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if cli.self_test {
        let aim = aim(cli)?;
        let second = aim.second.as_ref();
        let work = Box::pin(mutants::self_test(&aim.target, second, &aim.http, &cli.only, cli.quiet));
        let result = runtime()?.block_on(work)?;
        print(&result.markdown())?;
        return Ok(if result.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let Some(report) = judge(cli, &table)? else {
        eprintln!("tribune-conformance: interrupted; all sessions that were made are deleted");
        return Ok(ExitCode::from(130));
    };
    print(&report.render(cli.format)?)?;
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the command line aims at.
struct Aim {
    /// The server under test.
    target: Target,
    /// A second stream there.
    second: Option<Target>,
    /// A client for both.
    http: Http,
}

/// Reads the targets from the command line and the environment.
fn aim(cli: &Cli) -> Result<Aim, String> {
    let parse = |flag: &str, url: &Option<String>| {
        url.as_deref().map(|u| Url::parse(u).map_err(|e| format!("--{flag} {e}"))).transpose()
    };
    let (whip, whep) = (parse("whip", &cli.whip)?, parse("whep", &cli.whep)?);
    let (second_whip, second_whep) = (parse("second-whip", &cli.second_whip)?, parse("second-whep", &cli.second_whep)?);
    if whip.is_none() && whep.is_none() {
        return Err("give --whip URL, --whep URL or both (see --help)".into());
    }
    let environment = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let here = [&whip, &whep].into_iter().flatten().all(Url::is_loopback);
    let usual = if here { BRISK } else { POLITE };
    let target = Target {
        whip,
        whep,
        token: cli.token.clone().or_else(|| environment("CONFORMANCE_TOKEN")),
        watch_token: cli.watch_token.clone().or_else(|| environment("CONFORMANCE_WATCH_TOKEN")),
        other_token: cli.other_token.clone().or_else(|| environment("CONFORMANCE_OTHER_TOKEN")),
        wrong_token: cli.wrong_token.clone(),
        local_ip: cli.local_ip,
        post_interval: cli.posts_per_second.map_or(usual, |n| Duration::from_secs(1) / n),
        abuse: cli.abuse,
        strict: cli.strict,
    };
    let second = second_whip.map(|whip| Target {
        whip: Some(whip),
        whep: second_whep,
        token: environment("CONFORMANCE_SECOND_TOKEN").or_else(|| target.token.clone()),
        watch_token: environment("CONFORMANCE_SECOND_WATCH_TOKEN").or_else(|| target.watch_token.clone()),
        other_token: environment("CONFORMANCE_SECOND_OTHER_TOKEN").or_else(|| target.other_token.clone()),
        ..target.clone()
    });
    Ok(Aim { target, second, http: Http::new(tls::config(cli.ca.as_deref(), cli.insecure)?) })
}

/// Two threads: one for the checks, one for their peers.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(|e| format!("cannot start: {e}"))
}

/// Runs the checks. Whatever ends the run, no session is left behind.
fn judge(cli: &Cli, table: &Table) -> Result<Option<Report>, String> {
    let aim = aim(cli)?;
    let cases = selected(all(), table, cli.level, &cli.only)?;
    let context = Context::new(aim.target, aim.http);
    let second = aim.second.map(|target| context.second(target));
    let progress = if cli.quiet { Progress::Silent } else { Progress::Stderr };
    let deadline = Instant::now() + Duration::from_secs(cli.deadline);
    runtime()?.block_on(async {
        let work = async {
            match cli.level {
                Level::Interop if cli.only.is_empty() => Box::pin(interop::run(&context, progress, deadline)).await,
                _ => Box::pin(run(&context, second.as_ref(), table, &cases, progress, deadline)).await,
            }
        };
        tokio::select! {
            report = work => report.map(Some),
            () = interrupted() => {
                let clean_up = async {
                    for context in [Some(&context), second.as_ref()].into_iter().flatten() {
                        context.clean_up().await;
                    }
                };
                // A target that hangs must not keep the terminal.
                let _whatever_is_left = tokio::time::timeout(Duration::from_secs(10), clean_up).await;
                Ok(None)
            }
        }
    })
}

/// Waits for Ctrl-C, or for being asked to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _pressed = tokio::signal::ctrl_c().await;
        }
    }
}

/// Writes to standard output. A closed pipe is an error like any other.
fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| format!("standard output: {e}"))
}
