use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::admission::SOON;
use super::auth::Right;
use super::seats::Stage;
use super::stream::{IdlePolicy, Slate, StreamPolicy};
use super::*;
use crate::media::Route;
use crate::peer::srtp::Profile;
use crate::wire::sdp::{Codec, DtlsRole, ExtensionIds, Feedback, Format, Hash, Local, Negotiated, Section, Shape};

mod awaited;
mod layers;
mod places;
mod returns;

/// A media plane that remembers what it was told.
#[derive(Clone, Debug)]
struct Media(Arc<Told>);

#[derive(Debug)]
struct Told {
    fingerprint: Fingerprint,
    places: Mutex<usize>,
    open: Mutex<HashMap<SessionId, Arc<Route>>>,
    chosen: Mutex<Vec<(SessionId, LayerChoice)>>,
    closed: Mutex<Vec<(SessionId, CloseReason)>>,
    restarts: Mutex<Vec<Restart>>,
}

impl Media {
    fn with_places(places: usize) -> Self {
        Self(Arc::new(Told {
            fingerprint: Fingerprint { hash: Hash::Sha256, value: vec![0; 32] },
            places: Mutex::new(places),
            open: Mutex::default(),
            chosen: Mutex::default(),
            closed: Mutex::default(),
            restarts: Mutex::default(),
        }))
    }

    fn closed(&self) -> Vec<(SessionId, CloseReason)> {
        self.0.closed.lock().expect("not poisoned").clone()
    }

    fn route(&self, id: SessionId) -> Arc<Route> {
        Arc::clone(&self.0.open.lock().expect("not poisoned")[&id])
    }
}

impl MediaPlane for Media {
    fn open(&self, spec: SessionSpec) -> Result<(), Full> {
        let mut places = self.0.places.lock().expect("not poisoned");
        *places = places.checked_sub(1).ok_or(Full)?;
        self.0.open.lock().expect("not poisoned").insert(spec.id, spec.route);
        Ok(())
    }

    fn restart(&self, restart: Restart) -> Result<(), Full> {
        let known = self.0.open.lock().expect("not poisoned").contains_key(&restart.session);
        self.0.restarts.lock().expect("not poisoned").push(restart);
        if known { Ok(()) } else { Err(Full) }
    }

    fn choose_layer(&self, session: SessionId, _kind: Kind, choice: LayerChoice) -> bool {
        self.0.chosen.lock().expect("not poisoned").push((session, choice));
        true
    }

    fn close(&self, session: SessionId, reason: CloseReason) {
        self.0.closed.lock().expect("not poisoned").push((session, reason));
    }

    fn close_all(&self, _reason: CloseReason) {}

    fn fingerprint(&self) -> &Fingerprint {
        &self.0.fingerprint
    }
}

/// A control plane over a media plane that remembers.
struct House {
    control: Arc<Control>,
    media: Media,
    metrics: Arc<Metrics>,
}

impl House {
    fn new() -> Self {
        Self::with(Policies::default(), 1_000, 1_000)
    }

    fn with(policies: Policies, max_sessions: usize, media_places: usize) -> Self {
        let (media, metrics) = (Media::with_places(media_places), Metrics::new());
        let settings = Settings {
            candidates: vec![([192, 0, 2, 1], 8080).into()],
            policies: Arc::new(policies),
            max_sessions,
            max_unconnected_per_address: 500,
        };
        let control = Control::new(media.clone(), settings, &metrics).expect("registered once");
        Self { control, media, metrics }
    }

    fn waiting() -> Self {
        let default = StreamPolicy { idle: IdlePolicy::Wait, ..StreamPolicy::default() };
        Self::with(Policies { default, ..Policies::default() }, 1_000, 1_000)
    }

    fn present(&self, stream: &str, who: &str) -> Result<SessionId, OpenError> {
        let opened = self.control.seat(&name(stream), &identity(who), |local| Ok(agreed(local)))?;
        Ok(deliver(opened))
    }

    fn watch(&self, stream: &str) -> Result<SessionId, OpenError> {
        Ok(deliver(self.control.admit(&name(stream), None, HERE, |local, _| Ok(agreed(local)))?))
    }

    /// A presenter that is connected.
    fn live(&self, stream: &str, who: &str) -> SessionId {
        let id = self.present(stream, who).expect("a free seat");
        self.connect(id);
        id
    }

    fn connect(&self, session: SessionId) {
        self.control.notice(Notice::Connected {
            session,
            remote: ([192, 0, 2, 9], 4).into(),
            profile: Profile::AesGcm,
        });
    }

    fn end(&self, session: SessionId, reason: CloseReason) {
        self.control.notice(Notice::Closed { session, reason, summary: Summary::default() });
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.render().expect("rendered").lines().any(|found| found == line)
    }
}

/// Where viewers come from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

fn deliver(opened: Opened) -> SessionId {
    let id = opened.session;
    opened.delivered();
    id
}

fn name(text: &str) -> StreamName {
    text.parse().expect("a name")
}

fn identity(subject: &str) -> Identity {
    Identity { subject: subject.to_owned(), stream: None, right: Right::Admin }
}

fn format(codec: Codec) -> Format {
    Format {
        payload_type: 96,
        codec,
        clock_rate: 90_000,
        channels: 0,
        fmtp: String::new(),
        rtx: None,
        feedback: Feedback::default(),
    }
}

fn agreed(local: &Local<'_>) -> Negotiated {
    let section = Section {
        index: 0,
        mid: "0".to_owned(),
        kind: Kind::Video,
        formats: vec![format(Codec::Vp8), format(Codec::H264)],
        extensions: ExtensionIds::default(),
        rids: Vec::new(),
        sources: Vec::new(),
        reduced_size_rtcp: true,
    };
    Negotiated {
        answer: format!("answer of {}", local.ice.ufrag),
        remote_ice: local.ice.clone(),
        fingerprints: vec![local.fingerprint.clone()],
        dtls: DtlsRole::Server,
        sections: vec![section],
    }
}

#[test]
fn a_presenter_takes_an_empty_seat() {
    let house = House::new();

    let id = house.present("live", "a").expect("a free seat");
    let view = house.control.session(id).expect("open");

    assert_eq!((view.role, view.stream.as_str(), view.subject.as_deref()), (Role::Presenter, "live", Some("a")));
    assert!(!view.connected && view.etag.starts_with("\"1-"));
    assert!(!house.control.stream(&name("live")).expect("there").live, "not before keys are agreed");
    house.connect(id);
    assert!(house.control.stream(&name("live")).expect("there").live);
}

#[test]
fn another_identity_finds_the_seat_taken() {
    let house = House::new();
    let first = house.present("live", "a").expect("a free seat");

    assert_eq!(house.present("live", "b"), Err(OpenError::Busy));
    assert!(house.present("other", "b").is_ok(), "streams have a seat each");

    assert!(house.control.close(first, CloseReason::Deleted));
    assert!(house.present("live", "b").is_ok(), "the seat is free at once");
}

#[test]
fn the_same_identity_takes_its_seat_over_and_viewers_stay() {
    let house = House::new();
    let old = house.live("live", "a");
    let viewer = house.watch("live").expect("live");

    let new = house.present("live", "a").expect("taken over");

    assert_eq!(house.media.closed(), [(old, CloseReason::TakenOver)]);
    assert!(house.control.session(old).is_none() && house.control.session(viewer).is_some());
    assert!(Arc::ptr_eq(&house.media.route(new), &house.media.route(viewer)), "one route for the stream's life");
    house.end(old, CloseReason::TakenOver);
    assert_eq!(house.present("live", "b"), Err(OpenError::Busy), "the old session's end leaves the seat alone");
    assert!(house.metric(r#"tribune_session_ends_total{reason="taken_over",role="presenter"} 1"#));
    assert!(house.metric(r#"tribune_sessions{role="presenter"} 1"#));
}

#[test]
fn a_takeover_that_finds_no_room_leaves_the_old_session_alone() {
    let house = House::with(Policies::default(), 1_000, 1);
    let old = house.live("live", "a");

    assert!(matches!(house.present("live", "a"), Err(OpenError::Full { .. })));

    assert!(house.control.session(old).is_some() && house.media.closed().is_empty());
    assert!(house.control.stream(&name("live")).expect("there").live);
}

#[test]
fn a_refused_offer_changes_nothing() {
    let house = House::new();
    let refusal = || Refusal::Unsupported("no".to_owned());

    let refused = house.control.seat(&name("live"), &identity("a"), |_| Err(refusal()));

    assert_eq!(refused.err(), Some(OpenError::Refused(refusal())));
    assert!(house.control.streams().is_empty() && house.control.sessions() == 0);
    assert!(house.present("live", "b").is_ok());
}

#[test]
fn of_many_identities_at_once_exactly_one_gets_the_seat() {
    for _ in 0..50 {
        let house = House::new();

        let won: usize = std::thread::scope(|scope| {
            let house = &house;
            let racers: Vec<_> =
                (0..8).map(|n| scope.spawn(move || house.present("live", &format!("racer-{n}")).is_ok())).collect();
            racers.into_iter().map(|racer| usize::from(racer.join().expect("no panic"))).sum()
        });

        assert_eq!((won, house.control.sessions()), (1, 1));
    }
}

#[test]
fn of_one_identity_many_times_at_once_one_session_stays() {
    let house = House::new();

    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| house.present("live", "a").expect("its own seat"));
        }
    });

    assert_eq!((house.control.sessions(), house.media.closed().len()), (1, 7));
    assert!(house.metric(r#"tribune_sessions{role="presenter"} 1"#));
}

#[test]
fn a_viewer_of_an_empty_stream_is_asked_to_come_back() {
    let house = House::new();

    let Err(OpenError::Idle { retry_after }) = house.watch("live") else { panic!("nobody presents") };
    assert!((2..=5).contains(&retry_after.as_secs()));

    let presenter = house.present("live", "a").expect("a free seat");
    assert_eq!(house.watch("live"), Err(OpenError::Idle { retry_after: Duration::from_secs(1) }));

    house.connect(presenter);
    assert!(house.watch("live").is_ok());

    house.control.close(presenter, CloseReason::Deleted);
    assert!(matches!(house.watch("live"), Err(OpenError::Idle { .. })));
}

#[test]
fn a_viewer_of_an_empty_stream_may_wait_by_policy() {
    let house = House::waiting();

    let viewer = house.watch("live").expect("waits");
    let presenter = house.present("live", "a").expect("a free seat");

    assert!(Arc::ptr_eq(&house.media.route(viewer), &house.media.route(presenter)));
}

#[test]
fn a_viewer_is_offered_what_the_presenter_agreed_on_until_it_is_heard() {
    let house = House::new();
    let presenter = house.live("live", "a");
    let stranger = house.live("other", "b");
    let seen = |house: &House| {
        let mut seen = None;
        let opened = house.control.admit(&name("live"), None, HERE, |local, shape| {
            seen = Some(shape.clone());
            Ok(agreed(local))
        });
        opened.expect("live").delivered();
        seen.expect("asked")
    };

    assert_eq!(seen(&house), Shape { audio: None, video: Some(format(Codec::Vp8)) });

    let started = |session, kind, codec| Notice::Started { session, kind, format: format(codec) };
    house.control.notice(started(presenter, Kind::Video, Codec::H264));
    house.control.notice(started(presenter, Kind::Audio, Codec::Opus));
    house.control.notice(started(stranger, Kind::Video, Codec::Av1));
    assert_eq!(seen(&house), Shape { audio: Some(format(Codec::Opus)), video: Some(format(Codec::H264)) });

    house.present("live", "a").expect("taken over");
    house.control.notice(started(presenter, Kind::Video, Codec::Av1));
    assert_eq!(house.directory_shape(), Shape { audio: None, video: Some(format(Codec::Vp8)) });
}

impl House {
    fn directory_shape(&self) -> Shape {
        match self.control.directory.stage(&name("live")).expect("not draining") {
            Stage::Soon(shape) | Stage::Live(shape) | Stage::Held(shape) => shape,
            Stage::Empty => Shape::default(),
        }
    }
}

#[test]
fn an_answer_that_is_not_delivered_ends_its_session() {
    let house = House::new();

    let opened = house.control.seat(&name("live"), &identity("a"), |local| Ok(agreed(local))).expect("a free seat");
    let id = opened.session;
    drop(opened);

    assert_eq!(house.media.closed(), [(id, CloseReason::Abandoned)]);
    assert!(house.present("live", "b").is_ok());
}

#[test]
fn a_repeated_delete_succeeds_for_a_minute() {
    let house = House::new();
    let id = house.present("live", "a").expect("a free seat");
    let start = Instant::now();

    assert!(house.control.close(id, CloseReason::Deleted) && house.control.close(id, CloseReason::Deleted));
    assert!(house.control.session(id).is_none());
    assert_eq!(house.media.closed().len(), 1, "the media plane hears of it once");
    assert!(!house.control.close(SessionId(1), CloseReason::Deleted));

    let directory = &house.control.directory;
    assert_eq!(directory.close(id, start + Duration::from_secs(59)), Closing::Before);
    assert_eq!(directory.close(id, start + Duration::from_secs(62)), Closing::Never);
}

#[test]
fn a_session_that_ended_by_itself_leaves_a_tombstone_too() {
    let house = House::new();
    let id = house.live("live", "a");

    house.end(id, CloseReason::PeerClosed);

    assert!(house.control.session(id).is_none() && house.control.stream(&name("live")).is_none());
    assert!(house.control.close(id, CloseReason::Deleted));
    assert!(house.media.closed().is_empty());
}

#[test]
fn every_end_is_counted_once_by_its_reason() {
    let house = House::new();
    let (a, b) = (house.live("a", "a"), house.live("b", "b"));

    house.control.close(a, CloseReason::Deleted);
    for _ in 0..2 {
        house.end(a, CloseReason::Deleted);
        house.end(b, CloseReason::Silent);
    }

    assert!(house.metric(r#"tribune_session_ends_total{reason="deleted",role="presenter"} 1"#));
    assert!(house.metric(r#"tribune_session_ends_total{reason="silent",role="presenter"} 1"#));
    assert!(house.metric(r#"tribune_joins_total{role="presenter"} 2"#));
    assert!(house.metric(r#"tribune_sessions{role="presenter"} 0"#));
    assert!(house.metric("tribune_streams 0"));
    assert!(house.metric(r#"tribune_session_connect_seconds_count{role="presenter"} 2"#));
}

#[test]
fn viewers_are_counted_when_they_are_connected() {
    let house = House::new();
    house.live("live", "a");
    let (one, two) = (house.watch("live").expect("live"), house.watch("live").expect("live"));
    let viewers = |house: &House| house.control.stream(&name("live")).expect("there").viewers;

    house.connect(one);
    house.connect(one);
    assert_eq!(viewers(&house), 1);

    house.end(two, CloseReason::NeverConnected);
    assert_eq!(viewers(&house), 1);
    house.end(one, CloseReason::PeerClosed);
    assert_eq!(viewers(&house), 0);
}

#[test]
fn streams_are_listed_by_name_and_vanish_with_the_last_session() {
    let house = House::new();
    let sessions: Vec<_> = ["b", "c", "a"].map(|stream| house.live(stream, "a")).into();

    let names: Vec<_> = house.control.streams().into_iter().map(|view| view.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);

    for id in sessions {
        house.control.close(id, CloseReason::Deleted);
    }
    assert!(house.control.streams().is_empty());
}

#[test]
fn a_draining_server_lets_nobody_in_and_sessions_still_end() {
    let house = House::new();
    let id = house.live("live", "a");

    house.control.drain();

    assert!(!house.control.is_ready());
    assert!(matches!(house.present("live", "a"), Err(OpenError::Draining { .. })));
    assert!(matches!(house.watch("live"), Err(OpenError::Draining { .. })));
    assert!(house.control.close(id, CloseReason::Deleted));
}

#[test]
fn garbage_is_refused_before_anything_else() {
    let house = House::new();

    for offer in ["", "v=0", "\0\0\0", "{}"] {
        assert!(matches!(house.control.present(&name("live"), &identity("a"), offer), Err(OpenError::Refused(_))));
        assert!(matches!(house.control.watch(&name("live"), None, HERE, offer), Err(OpenError::Refused(_))));
    }
    assert!(house.control.streams().is_empty());
}
