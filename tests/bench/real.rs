//! The real server over loopback.

use std::time::Duration;

use crate::ground::REAL;
use crate::server::{Reading, Server};
use crate::{Row, floor, join};

/// CPU per packet, against the floor with the same mix.
pub(crate) fn cpu(is_quick: bool) {
    let floor = floor::floor(&REAL, 100);
    Row::cpu("floor, real, 100 viewers", "packet", floor).against(floor).show();
    for viewers in if is_quick { &[100][..] } else { &[100, 500] } {
        let server = Server::start();
        let _presenter = server.present();
        let load = server.watch(*viewers, 3600, &[]);
        let all = server.wait_for(viewers + 1, PATIENCE);
        let (before, after) = window(&server, is_quick);
        let nanos = after.cpu_since(&before).as_nanos() as f64 / after.grown(&before, OUT);
        let row = Row::cpu(format!("real server, {viewers} viewers"), "packet", nanos).against(floor);
        row.note(health(&before, &after, *viewers) + if all { "" } else { "; not all joined" }).show();
        drop(load);
    }
}

/// How long packets stay in the server.
pub(crate) fn delay(is_quick: bool) {
    let server = Server::start();
    let _presenter = server.present();
    let mut viewers = 100;
    for what in ["100 viewers", "four fifths of a core"] {
        let server_before = server.read().count(CONNECTED) as usize;
        let load = server.watch(viewers, 3600, &[]);
        server.wait_for(server_before + viewers, PATIENCE);
        let (before, after) = window(&server, is_quick);
        for (frame, percents) in [("delta", &[50.0, 99.0][..]), ("key", &[99.0])] {
            for percent in percents {
                let delay = after.delay(&before, frame, *percent);
                let row = Row::new(format!("delay, {what}, {frame} frames, p{percent}"), delay, "ms");
                row.note(health(&before, &after, viewers)).show();
            }
        }
        viewers = (viewers as f64 * 0.8 / share(&before, &after)) as usize;
        drop(load);
        // Those who have gone without a word are forgotten after half a minute.
        std::thread::sleep(Duration::from_secs(35));
    }
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
    let nanos = after.cpu_since(&before).as_nanos() as f64 / joined;
    let rate = joined / after.time_since(&before).as_secs_f64();
    let row = Row::cpu("join: HTTP, checks, handshake", "join", nanos).against(join::floor());
    row.note(format!("{joined} joins at {rate:.0}/s; the floor is a handshake's arithmetic")).show();
    drop(load);
    drop(server);

    let server = Server::start();
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
    Row::new("delay of others while they join, p99", p99, "ms").note(format!("{quiet:.2} ms before")).show();
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
        .note(format!("{:.0} MB in all", server.resident() / 1e6))
        .show();
}

/// As many as there should be on one core, or as many as there can be.
pub(crate) fn crowd(is_quick: bool) {
    let server = Server::start();
    let _presenter = server.present();
    let viewers = if is_quick { 500 } else { 3700 };
    let load = server.watch(viewers, 20, &["--joins-per-second", "100"]);
    let all = server.wait_for(viewers + 1, PATIENCE);
    let (before, after) = window(&server, is_quick);
    let rate = after.grown(&before, OUT) / after.time_since(&before).as_secs_f64();
    Row::new(format!("crowd of {viewers} on one core"), rate, "packets/s")
        .note(format!(
            "{}; {:.0} MB{}",
            health(&before, &after, viewers),
            server.resident() / 1e6,
            if all { "" } else { "; not all joined" }
        ))
        .show();
    Row::cpu("crowd, CPU", "packet", after.cpu_since(&before).as_nanos() as f64 / after.grown(&before, OUT)).show();
    let report = load.report();
    let (lost, got) = (report["packets_lost"].as_f64(), report["packets_received"].as_f64());
    if let (Some(lost), Some(got)) = (lost, got) {
        Row::new("crowd, packets lost, sampled", 100.0 * lost / (lost + got).max(1.0), "%").show();
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

const IN: &str = "tribune_rtp_packets_total{direction=\"in\"}";
const OUT: &str = "tribune_rtp_packets_total{direction=\"out\"}";
const SENT: &str = "tribune_media_datagrams_total{direction=\"out\"}";
const SENDS: &str = "tribune_media_sends_total";
const CUTS: &str = "tribune_viewer_cuts_total{reason=\"late\"}";
const CONNECTED: &str = "tribune_handshakes_total{result=\"connected\"}";
const SETTLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_mins(2);
