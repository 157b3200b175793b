//! The real server over loopback.

use std::net::IpAddr;
use std::time::Duration;

use crate::ground::REAL;
use crate::network::{self, Discard};
use crate::server::{CONNECTED, PATIENCE, Reading, SETTLE, Server};
use crate::{Row, floor, join};

/// CPU per packet, against the floor with the same mix and as many viewers: over loopback, and without its receivers.
pub(crate) fn cpu(is_quick: bool) {
    for viewers in if is_quick { &[100][..] } else { &[100, 500] } {
        for (how, address, discards) in WAYS {
            if *discards && !network::is_own() {
                continue;
            }
            let discard = if *discards { Discard::begin() } else { None };
            let (before, paced) = (floor::floor(&REAL, *viewers, *address), floor::paced(&REAL, *viewers, *address));
            drop(discard);
            let server = Server::start_ahead();
            let presenter = server.present();
            let (crowd, all) = server.gather(*viewers, 3600, *discards);
            let (from, to) = window(&server, is_quick);
            let note = health(&from, &to, *viewers) + if all { "" } else { "; not all joined" };
            let nanos = to.cpu_since(&from).as_nanos() as f64 / to.grown(&from, OUT);
            drop((crowd, presenter, server));
            // A machine shared with others is not always as fast.
            let discard = if *discards { Discard::begin() } else { None };
            let floor = f64::midpoint(before, floor::floor(&REAL, *viewers, *address));
            drop(discard);
            Row::cpu(format!("floor, {viewers} viewers, {how}"), "packet", floor).against(floor).show();
            let row = Row::cpu(format!("floor, {viewers} viewers, {how}, paced"), "packet", paced);
            row.against(floor).note("sends when a stream would").show();
            let row = Row::cpu(format!("real server, {viewers} viewers, {how}"), "packet", nanos);
            let row = row.against(floor).note(note);
            // What the bar was set for.
            if *discards || *viewers < 500 { row } else { row.ratio_at_most(1.25).at_most(700.0) }.show();
        }
    }
}

/// How long packets stay in the server.
pub(crate) fn delay(is_quick: bool) {
    let (from, to) = delay_of("100 viewers", 100, [2.0, 5.0], is_quick);
    // With more viewers a packet costs less: so many are a guess, and the next guess is a better one.
    let mut viewers = (100.0 * LOAD / share(&from, &to)) as usize;
    for _ in 0..if is_quick { 0 } else { GUESSES } {
        let server = Server::start_ahead();
        let _presenter = server.present();
        let _crowd = server.gather(viewers, 3600, true);
        let (from, to) = window(&server, true);
        let found = share(&from, &to);
        viewers = (viewers as f64 * LOAD / found) as usize;
        if (found / LOAD - 1.0).abs() < 0.05 {
            break;
        }
    }
    delay_of("four fifths of a core", viewers, [15.0, 33.0], is_quick);
}

/// The delay of so many, in rows, with bars for the median and the 99th percentile of other pictures than key frames.
fn delay_of(what: &str, viewers: usize, bars: [f64; 2], is_quick: bool) -> (Reading, Reading) {
    let server = Server::start_ahead();
    let _presenter = server.present();
    let _crowd = server.gather(viewers, 3600, true);
    let (from, to) = window(&server, is_quick);
    for (percent, bar) in [50.0, 99.0].into_iter().zip(bars) {
        let delay = to.delay(&from, "delta", percent);
        let row = Row::new(format!("delay, {what}, delta frames, p{percent}"), delay, "ms").at_most(bar);
        row.note(health(&from, &to, viewers)).show();
    }
    Row::new(format!("delay, {what}, key frames, p99"), to.delay(&from, "key", 99.0), "ms").show();
    (from, to)
}

/// What joins cost, and what they do to the others.
pub(crate) fn joins(is_quick: bool) {
    let pace = ["--joins-per-second", "300", "--parallel", "64"];
    let joining = if is_quick { 500 } else { 1500 };
    let long = Duration::from_mins(1);

    // Nobody presents, so joining is all that there is to do.
    let server = Server::start();
    let before = server.read();
    let load = server.watch(joining, 1, &pace);
    server.wait_for(joining, long);
    let after = server.read();
    let joined = after.grown(&before, CONNECTED);
    let micros = after.cpu_since(&before).as_nanos() as f64 / joined / 1e3;
    let rate = joined / after.time_since(&before).as_secs_f64();
    let row = Row::new("join: HTTP, checks, handshake", micros, "µs/join").against(join::floor() / 1e3);
    row.at_most(400.0).note(format!("{joined} joins at {rate:.0}/s; the floor is a handshake's arithmetic")).show();
    drop(load);
    drop(server);

    let server = Server::start_ahead();
    let _presenter = server.present();
    let _watching = server.watch(100, 3600, &[]);
    server.wait_for(101, PATIENCE);
    let (before, after) = window(&server, is_quick);
    let quiet = after.delay(&before, "delta", 99.0);
    let before = server.read();
    // Who joins watches another stream: what it costs to send to more viewers is not asked here.
    let load = server.wait_in_vain(joining, 1, &pace);
    server.wait_for(101 + joining, long);
    let p99 = server.read().delay(&before, "delta", 99.0);
    let row = Row::new("delay of others while they join, p99 − before", p99 - quiet, "ms").at_most(5.0);
    row.note(format!("{quiet:.2} ms before, {p99:.2} ms while they join")).show();
    drop(load);
}

/// What a viewer takes of memory.
pub(crate) fn memory(is_quick: bool) {
    let server = Server::start();
    let _presenter = server.present();
    let (few, many) = if is_quick { (200, 1000) } else { (1000, 5000) };
    let pace = ["--joins-per-second", "150"];
    let _first = server.watch(few, 3600, &pace);
    server.wait_for(few + 1, PATIENCE);
    std::thread::sleep(SETTLE);
    let before = server.resident();
    let _second = server.watch(many - few, 3600, &pace);
    server.wait_for(many + 1, PATIENCE);
    std::thread::sleep(SETTLE);
    let sessions = server.read().count(CONNECTED) - 1.0;
    let slope = (server.resident() - before) / (sessions - few as f64);
    Row::new(format!("memory, {few} to {sessions} viewers"), slope, "B/viewer")
        .at_most(8192.0)
        .note(format!("{:.0} MB in all", server.resident() / 1e6))
        .show();
}

/// As many as there should be on one core, or as many as there can be.
pub(crate) fn crowd(is_quick: bool) {
    let server = Server::start();
    let _presenter = server.present();
    let viewers = if is_quick { 500 } else { 3700 };
    let (crowd, all) = server.gather(viewers, 20, true);
    let (before, after) = window(&server, is_quick);
    let rate = after.grown(&before, OUT) / after.time_since(&before).as_secs_f64();
    Row::new(format!("crowd of {viewers} on one core"), rate, "packets/s")
        .note(health(&before, &after, viewers) + if all { "" } else { "; not all joined" })
        .show();
    Row::new("crowd, memory of the server", server.resident() / 1e6, "MB").at_most(1000.0).show();
    Row::cpu("crowd, CPU", "packet", after.cpu_since(&before).as_nanos() as f64 / after.grown(&before, OUT)).show();
    let report = crowd.heard.report();
    let (lost, got) = (report["packets_lost"].as_f64(), report["packets_received"].as_f64());
    if let (Some(lost), Some(got)) = (lost, got) {
        Row::new("crowd, packets lost, sampled", 100.0 * lost / (lost + got).max(1.0), "%").at_most(0.1).show();
    }
}

/// Two readings around a stretch of steady work.
fn window(server: &Server, is_quick: bool) -> (Reading, Reading) {
    std::thread::sleep(SETTLE);
    let before = server.read();
    std::thread::sleep(Duration::from_secs(if is_quick { 5 } else { 15 }));
    (before, server.read())
}

/// The share of a core that the server took.
fn share(before: &Reading, after: &Reading) -> f64 {
    after.cpu_since(before).as_secs_f64() / after.time_since(before).as_secs_f64()
}

/// How much of what the presenter sent came, and how much of that went to all; how full sends were.
fn health(before: &Reading, after: &Reading, viewers: usize) -> String {
    let (came, went) = (after.grown(before, IN), after.grown(before, OUT));
    format!(
        "{:.0} % of a core, {:.0} packets/s came, {:.1} % went to all, {:.1} datagrams a send, {} cut",
        share(before, after) * 100.0,
        came / after.time_since(before).as_secs_f64(),
        100.0 * went / (came * viewers as f64),
        after.grown(before, SENT) / after.grown(before, SENDS),
        after.grown(before, CUTS),
    )
}

/// Of a core, the share that delays are measured at.
const LOAD: f64 = 0.8;
/// How many viewers that takes is guessed so often at most.
const GUESSES: usize = 3;
const IN: &str = "tribune_rtp_packets_total{direction=\"in\"}";
const OUT: &str = "tribune_rtp_packets_total{direction=\"out\"}";
const SENT: &str = "tribune_media_datagrams_total{direction=\"out\"}";
const SENDS: &str = "tribune_media_sends_total";
const CUTS: &str = "tribune_viewer_cuts_total{reason=\"late\"}";
/// How it is sent, where to, and whether that is discarded on its way.
const WAYS: &[(&str, IpAddr, bool)] =
    &[("loopback", network::HERE, false), ("no receivers", IpAddr::V4(network::NOWHERE), true)];
