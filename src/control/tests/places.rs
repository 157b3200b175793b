//! How many may come in, and where.

use super::*;

#[test]
fn a_crowd_of_viewers_leaves_room_for_a_presenter() {
    let house = House::with(Policies::default(), 16, 1_000);
    house.live("live", "a");
    let let_in = (0..100).filter(|_| house.watch("live").is_ok()).count();

    assert_eq!(let_in, 13, "16 places: one presents, two are kept");
    assert!(!house.control.is_ready());
    assert!(house.present("second", "b").is_ok() && house.present("third", "c").is_ok());
    assert!(matches!(house.present("fourth", "d"), Err(OpenError::Full { .. })));
    assert!(house.present("live", "a").is_ok(), "a takeover needs no additional place");
}

#[test]
fn a_stream_takes_no_more_viewers_than_it_may() {
    let default = StreamPolicy { max_viewers: Some(2), ..StreamPolicy::default() };
    let house = House::with(Policies { default, ..Policies::default() }, 1_000, 1_000);
    house.live("live", "a");

    let first = house.watch("live").expect("room");
    assert!(house.watch("live").is_ok());
    assert!(matches!(house.watch("live"), Err(OpenError::Full { .. })));

    house.control.close(first, CloseReason::Deleted);
    assert!(house.watch("live").is_ok());
}

#[test]
fn one_address_cannot_take_all_places_with_sessions_that_never_connect() {
    let house = House::new();
    house.live("live", "a");
    let flood: Vec<_> = (0..600).filter_map(|_| house.watch("live").ok()).collect();

    assert_eq!(flood.len(), 500);
    assert!(matches!(house.watch("live"), Err(OpenError::Crowded { .. })));
    let elsewhere = IpAddr::from([192, 0, 2, 78]);
    assert!(house.control.admit(&name("live"), None, elsewhere, |local, _| Ok(agreed(local))).is_ok());

    house.connect(flood[0]);
    house.control.close(flood[1], CloseReason::Deleted);
    house.end(flood[2], CloseReason::NeverConnected);
    let more = (0..10).filter(|_| house.watch("live").is_ok()).count();
    assert_eq!(more, 3, "one is connected, one has given up, one never came");
    house.end(flood[0], CloseReason::PeerClosed);
    assert!(house.watch("live").is_err(), "a viewer that was connected is not counted twice");
}

#[test]
fn a_session_that_ended_while_it_was_made_is_not_there_for_ever() {
    let house = House::new();
    let proposal = house.control.propose(&name("live"), None, |local| Ok(agreed(local))).expect("agreed");

    // It is in the directory no more.
    let opened = house.control.opened(Role::Viewer, &name("live"), proposal.entrant, String::new(), [true; 2]);

    opened.delivered();
    assert!(house.control.persons(None).is_empty());
}

#[test]
fn only_provisioned_streams_exist_if_so_configured() {
    let named = [(name("live"), StreamPolicy::default())].into();
    let house = House::with(Policies { named, provisioned_only: true, ..Policies::default() }, 1_000, 1_000);

    assert_eq!(house.present("other", "a"), Err(OpenError::UnknownStream));
    assert_eq!(house.watch("other"), Err(OpenError::UnknownStream));
    assert!(house.present("live", "a").is_ok());
}
