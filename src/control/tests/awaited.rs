//! A server that is started again, and who is expected back.

use super::*;

/// Ann has presented on `live` until a moment ago.
fn expecting(house: &House) {
    let ann = Presented { stream: name("live"), presenters: vec!["ann".to_owned()] };
    house.control.expect(vec![ann], Duration::from_secs(3), Instant::now());
}

#[test]
fn whoever_presented_before_a_restart_has_the_seat_first() {
    let house = House::new();
    expecting(&house);

    assert!(matches!(house.present("live", "bob"), Err(OpenError::Awaited { .. })));
    assert!(house.present("other", "bob").is_ok());
    house.live("live", "ann");

    assert_eq!(house.present("live", "bob"), Err(OpenError::Busy));
}

#[test]
fn viewers_of_a_presenter_who_is_expected_back_are_asked_back_soon() {
    let house = House::new();
    expecting(&house);

    assert_eq!(house.watch("live"), Err(OpenError::Idle { retry_after: SOON }));
    house.live("live", "ann");
    assert!(house.watch("live").is_ok());
}

#[test]
fn nobody_is_expected_for_ever() {
    let house = House::new();
    expecting(&house);

    house.control.tick(Instant::now() + Duration::from_mins(1));

    assert!(house.present("live", "bob").is_ok());
    assert!(house.control.presented().iter().all(|one| one.presenters == ["bob"]));
}

#[test]
fn who_presents_is_told_with_who_is_expected() {
    let house = House::new();
    expecting(&house);
    house.live("other", "bob");
    house.watch("other").expect("a place");

    let presented: Vec<_> = house.control.presented().into_iter().map(|one| (one.stream, one.presenters)).collect();

    assert_eq!(presented, [(name("live"), vec!["ann".to_owned()]), (name("other"), vec!["bob".to_owned()])]);
}
