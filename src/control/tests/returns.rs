//! Presenters who go and come back, and what becomes of their viewers meanwhile.

use super::super::stream::Presenters;
use super::*;
use crate::media::layer::LayerInfo;

fn house(policy: StreamPolicy) -> House {
    House::with(Policies { default: policy, ..Policies::default() }, 1_000, 1_000)
}

fn backup() -> House {
    let presenters = Presenters::Backup(["main".to_owned(), "spare".to_owned()].into());
    house(StreamPolicy { presenters, ..StreamPolicy::default() })
}

impl House {
    fn flow(&self, session: SessionId, flows: bool) {
        self.control.notice(Notice::Flow { session, flows });
    }

    fn is_live(&self) -> bool {
        self.control.stream(&name("live")).is_some_and(|stream| stream.live)
    }

    /// Looks at the clock as often as it is looked at.
    fn pass(&self, from: Instant, span: Duration) -> Instant {
        let end = from + span;
        let mut now = from;
        while now <= end {
            self.control.tick(now);
            now += Duration::from_millis(250);
        }
        end
    }
}

#[test]
fn viewers_are_kept_for_the_grace_time_and_not_longer() {
    let house = House::new();
    let presenter = house.live("live", "a");
    let viewer = house.watch("live").expect("live");
    house.connect(viewer);
    let start = Instant::now();
    house.pass(start, Duration::from_mins(10));
    assert!(house.media.closed().is_empty(), "as long as somebody presents");

    house.end(presenter, CloseReason::Silent);
    let later = house.pass(start, Duration::from_secs(59));
    assert!(house.control.session(viewer).is_some());
    house.pass(later, Duration::from_secs(4));

    assert_eq!(house.media.closed(), [(viewer, CloseReason::NoPresenter)]);
    assert!(house.control.session(viewer).is_none());
}

#[test]
fn a_presenter_that_comes_back_in_time_finds_its_viewers() {
    let house = House::new();
    let viewer = {
        house.live("live", "a");
        house.watch("live").expect("live")
    };
    let mut now = Instant::now();

    for _ in 0..3 {
        let presenter = house.live("live", "a");
        house.end(presenter, CloseReason::PeerClosed);
        now = house.pass(now, Duration::from_secs(50));
    }

    assert!(house.control.session(viewer).is_some());
}

#[test]
fn viewers_who_may_wait_are_never_sent_away() {
    let house = House::waiting();
    let presenter = house.live("live", "a");
    let viewer = house.watch("live").expect("live");

    house.end(presenter, CloseReason::Silent);
    house.pass(Instant::now(), Duration::from_hours(5));

    assert!(house.control.session(viewer).is_some());
}

#[test]
fn without_a_grace_time_viewers_go_with_their_presenter() {
    let house = house(StreamPolicy { grace: Duration::ZERO, ..StreamPolicy::default() });
    let presenter = house.live("live", "a");
    let viewer = house.watch("live").expect("live");

    house.end(presenter, CloseReason::Deleted);
    house.pass(Instant::now(), Duration::from_millis(1_500));

    assert_eq!(house.media.closed(), [(viewer, CloseReason::NoPresenter)]);
}

#[test]
fn a_viewer_who_comes_meanwhile_is_asked_to_come_back_at_once_or_let_in_where_there_is_a_slate() {
    for (slate, is_let_in) in [(Slate::Off, false), (Slate::Hold, true)] {
        let house = house(StreamPolicy { slate, ..StreamPolicy::default() });
        let presenter = house.live("live", "a");
        house.watch("live").expect("live");

        house.end(presenter, CloseReason::Deleted);
        let late = house.watch("live");

        assert_eq!(late.is_ok(), is_let_in);
        assert!(is_let_in || late == Err(OpenError::Idle { retry_after: SOON }));
    }
}

#[test]
fn a_viewer_who_cannot_show_the_new_codec_leaves_and_the_others_stay() {
    let house = House::new();
    house.live("live", "a");
    let [viewer, other] = [(); 2].map(|()| house.watch("live").expect("live"));
    let start = Instant::now();

    house.control.notice(Notice::Unplayable { session: viewer });
    house.control.notice(Notice::Unplayable { session: viewer });
    house.control.tick(start);
    assert!(house.media.closed().is_empty(), "it is told first");
    house.pass(start, Duration::from_secs(3));

    assert_eq!(house.media.closed(), [(viewer, CloseReason::Unplayable)]);
    assert!(house.control.session(other).is_some());
}

#[test]
fn a_presenter_whose_media_stops_is_not_live_until_it_goes_on() {
    let house = House::new();
    let presenter = house.live("live", "a");
    assert!(house.is_live());

    house.flow(presenter, false);
    assert!(!house.is_live());
    assert!(house.watch("live").is_ok(), "it may go on at any time");
    house.flow(presenter, true);

    assert!(house.is_live());
}

#[test]
fn of_those_who_reject_the_first_stays_as_long_as_it_sends() {
    let house = house(StreamPolicy { presenters: Presenters::Reject, ..StreamPolicy::default() });
    let first = house.live("live", "a");
    assert_eq!(house.present("live", "a"), Err(OpenError::Busy));
    assert_eq!(house.present("live", "b"), Err(OpenError::Busy));

    house.flow(first, false);
    let second = house.present("live", "b").expect("the first is gone");

    assert_eq!(house.media.closed(), [(first, CloseReason::TakenOver)]);
    assert_eq!(house.present("live", "a"), Err(OpenError::Busy), "on its way in");
    assert!(house.control.session(second).is_some());
}

#[test]
fn backups_sit_beside_each_other_and_each_takes_only_its_own_seat_over() {
    let house = backup();
    let main = house.live("live", "main");
    let spare = house.live("live", "spare");
    let guest = house.live("live", "guest");

    assert_eq!(house.present("live", "another"), Err(OpenError::Busy), "behind the backups there is one seat");
    let again = house.present("live", "spare").expect("its own seat");

    assert_eq!(house.media.closed(), [(spare, CloseReason::TakenOver)]);
    assert!([main, guest, again].iter().all(|id| house.control.session(*id).is_some()));
}

#[test]
fn a_backup_has_no_layers_of_the_presenter_before_it() {
    let house = backup();
    let main = house.live("live", "main");
    let spare = house.live("live", "spare");
    let viewer = house.watch("live").expect("live");
    house.control.notice(Notice::OnAir { session: main });
    let layer =
        LayerInfo { layer: 0, rid: None, spatial: None, temporal: Some(0), bitrate: 1, width: None, height: None };
    house.control.notice(Notice::Layers { session: main, kind: Kind::Video, layers: vec![layer] });
    assert_eq!(house.control.layers(viewer).map(|view| view.layers.len()), Some(1));

    house.control.notice(Notice::OnAir { session: spare });

    assert_eq!(house.control.layers(viewer).map(|view| view.layers.len()), Some(0));
}

#[test]
fn a_stream_with_backups_is_live_as_long_as_one_of_them_is_on_air() {
    let house = backup();
    let main = house.live("live", "main");
    let spare = house.live("live", "spare");
    house.control.notice(Notice::OnAir { session: main });

    house.flow(spare, false);
    assert!(house.is_live(), "nobody misses who stands by");
    house.flow(spare, true);
    house.flow(main, false);
    assert!(!house.is_live());
    house.control.notice(Notice::OnAir { session: spare });
    assert!(house.is_live());

    house.end(main, CloseReason::Silent);
    assert!(house.is_live());
    house.end(spare, CloseReason::Silent);
    assert!(!house.is_live());
}

#[test]
fn a_broadcast_begins_with_whoever_goes_on_air_first() {
    let house = backup();
    let main = house.live("live", "main");
    let spare = house.live("live", "spare");
    // The one that has the better place sends nothing; the other one stands by until that is clear.
    house.control.notice(Notice::Started { session: spare, kind: Kind::Video, format: format(Codec::Vp8) });
    assert_eq!(house.control.status(&name("live")).report, None);

    house.control.notice(Notice::OnAir { session: spare });

    let status = house.control.status(&name("live"));
    assert!(status.report.is_some() && status.presenter.is_some_and(|one| one.video.is_some()), "of {main:?}");
}
