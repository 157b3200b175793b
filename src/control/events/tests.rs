use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// A stream's board and one viewer's event streams.
struct House {
    board: Arc<Board>,
    streams: EventStreams,
}

impl House {
    fn new() -> Self {
        Self { board: Board::new(), streams: EventStreams::default() }
    }

    fn create(&mut self, kinds: &[EventKind]) -> EventStreamId {
        self.streams.create(&self.board, kinds.iter().copied().collect())
    }

    fn read(&self, id: EventStreamId, seen: Option<u64>) -> Reader {
        self.streams.read(&self.board, Some(1), id, seen).expect("the stream is there")
    }
}

/// What a reader gets now: `Pending` while there is nothing.
fn poll(reader: &mut Reader) -> Poll<Option<News>> {
    pin!(reader.next()).poll(&mut Context::from_waker(Waker::noop()))
}

fn events(reader: &mut Reader) -> Vec<Event> {
    match poll(reader) {
        Poll::Ready(Some(news)) => news.events,
        Poll::Ready(None) => panic!("the stream is over"),
        Poll::Pending => Vec::new(),
    }
}

const PRESENCE: [EventKind; 2] = [EventKind::Active, EventKind::Inactive];

#[test]
fn nobody_is_told_that_nothing_has_begun_yet() {
    let mut house = House::new();
    let id = house.create(&PRESENCE);
    let mut reader = house.read(id, None);
    assert!(poll(&mut reader).is_pending());

    house.board.live(true);
    assert_eq!(events(&mut reader), [Event::Active]);
    house.board.live(true);
    assert_eq!(events(&mut reader), []);
    house.board.live(false);

    assert_eq!(events(&mut reader), [Event::Inactive]);
}

#[test]
fn who_comes_later_is_told_at_once_that_somebody_presents() {
    let mut house = House::new();
    house.board.live(true);
    house.board.viewers(3);
    let id = house.create(&EventKind::ALL);

    let first = events(&mut house.read(id, None));

    assert_eq!(first, [Event::Active, Event::ViewerCount(3)]);
}

#[test]
fn what_happens_before_the_first_reader_comes_is_kept_for_it() {
    let mut house = House::new();
    let id = house.create(&PRESENCE);

    house.board.live(true);
    house.board.live(false);

    assert_eq!(events(&mut house.read(id, None)), [Event::Active, Event::Inactive]);
}

#[test]
fn only_what_was_asked_for_is_told() {
    let mut house = House::new();
    let id = house.create(&[EventKind::Inactive]);
    let nothing = house.create(&[]);
    let (mut reader, mut deaf) = (house.read(id, None), house.read(nothing, None));

    house.board.live(true);
    house.board.viewers(1);
    house.board.tick(Instant::now());
    assert!(poll(&mut reader).is_pending());
    house.board.live(false);

    assert_eq!(events(&mut reader), [Event::Inactive]);
    assert!(poll(&mut deaf).is_pending());
}

#[test]
fn a_reader_goes_on_after_the_event_that_it_saw_last() {
    let mut house = House::new();
    let id = house.create(&PRESENCE);
    let mut reader = house.read(id, None);
    house.board.live(true);
    let Poll::Ready(Some(News { number, .. })) = poll(&mut reader) else { panic!("told") };
    drop(reader);
    house.board.live(false);
    house.board.live(true);

    let missed = events(&mut house.read(id, Some(number)));

    assert_eq!(missed, [Event::Inactive, Event::Active]);
    assert_eq!(events(&mut house.read(id, Some(number + 2))), []);
    let unknown = events(&mut house.read(id, Some(number + 3)));
    assert_eq!(unknown, [Event::Active, Event::Inactive, Event::Active], "a number from elsewhere means the beginning");
}

#[test]
fn whoever_is_too_far_behind_is_told_how_things_stand() {
    let mut house = House::new();
    let id = house.create(&PRESENCE);
    let mut slow = house.read(id, None);

    for n in 0..=HISTORY {
        house.board.live(n % 2 == 0);
    }
    house.board.live(false);

    assert_eq!(events(&mut slow), [Event::Inactive]);
    assert_eq!(events(&mut house.read(id, Some(0))), [Event::Inactive]);
    assert_eq!(events(&mut house.read(id, None)), [Event::Inactive]);
    assert!(house.board.state().history.len() <= HISTORY);
}

#[test]
fn counts_come_once_a_second_and_the_last_one_always_comes() {
    let (mut house, start) = (House::new(), Instant::now());
    let id = house.create(&[EventKind::ViewerCount]);
    let mut reader = house.read(id, None);
    assert_eq!(events(&mut reader), [Event::ViewerCount(0)]);
    let mut told = Vec::new();

    for ms in (0..10_000).step_by(100) {
        house.board.viewers(ms.min(2_050) / 100 + 1);
        house.board.tick(start + Duration::from_millis(ms as u64));
        told.extend(events(&mut reader));
    }

    assert_eq!(told, [1, 11, 21].map(Event::ViewerCount));
}

#[test]
fn a_large_crowd_is_counted_more_seldom() {
    let (house, start) = (House::new(), Instant::now());
    let crowd: Vec<_> = (0..3 * CROWD).map(|_| house.board.changed.subscribe()).collect();
    house.board.viewers(1);
    house.board.tick(start);
    house.board.viewers(2);

    house.board.tick(start + Duration::from_secs(3));
    assert_eq!(house.board.state().told.0, 1);
    house.board.tick(start + Duration::from_secs(4));

    assert_eq!(house.board.state().told.0, 2);
    assert_eq!(crowd.len(), 3 * CROWD);
}

#[test]
fn old_counts_do_not_push_out_what_matters() {
    let (mut house, start) = (House::new(), Instant::now());
    let id = house.create(&PRESENCE);
    let mut slow = house.read(id, None);
    house.board.live(true);
    house.board.live(false);

    for n in 1..1_000 {
        house.board.viewers(n);
        house.board.tick(start + COUNT_PAUSE * n as u32);
    }

    assert_eq!(events(&mut slow), [Event::Active, Event::Inactive]);
}

#[test]
fn a_stream_ends_with_its_session_and_its_last_words_are_read() {
    let mut house = House::new();
    let id = house.create(&EventKind::ALL);
    let mut reader = house.read(id, None);
    assert_eq!(events(&mut reader), [Event::ViewerCount(0)]);

    house.board.reconnect();
    drop(std::mem::take(&mut house.streams));

    assert_eq!(events(&mut reader), [Event::Reconnect]);
    assert_eq!(poll(&mut reader), Poll::Ready(None));
}

#[test]
fn a_later_reader_of_a_stream_replaces_the_earlier() {
    let mut house = House::new();
    let id = house.create(&PRESENCE);
    let mut first = house.read(id, None);
    assert!(poll(&mut first).is_pending());

    let mut second = house.read(id, None);
    house.board.live(true);

    assert_eq!(poll(&mut first), Poll::Ready(None));
    assert_eq!(events(&mut second), [Event::Active]);
}

#[test]
fn a_session_has_few_streams_and_the_oldest_goes_first() {
    let mut house = House::new();
    let oldest = house.create(&PRESENCE);
    let mut reader = house.read(oldest, None);

    let others: Vec<_> = (0..STREAMS_PER_SESSION).map(|_| house.create(&PRESENCE)).collect();

    assert_eq!(poll(&mut reader), Poll::Ready(None));
    assert!(house.streams.read(&house.board, None, oldest, None).is_none());
    assert!(others.iter().all(|id| house.streams.read(&house.board, None, *id, None).is_some()));
    assert!(house.streams.remove(others[0]) && !house.streams.remove(others[0]));
}

#[test]
fn kinds_are_known_by_their_names_in_the_extension() {
    for kind in EventKind::ALL {
        assert_eq!(kind.word().parse(), Ok(kind));
        assert!(EventKinds::all().holds(kind) && !EventKinds::default().holds(kind));
    }
    assert_eq!("scte35".parse::<EventKind>(), Err(()));
}

fn layer(rid: &str, bitrate: u64, height: Option<u16>) -> LayerInfo {
    LayerInfo { layer: 0, rid: Some(rid.into()), spatial: None, temporal: None, bitrate, width: None, height }
}

#[test]
fn other_layers_are_told_at_once_and_other_bit_rates_now_and_then() {
    let (mut house, start) = (House::new(), Instant::now());
    house.board.live(true);
    let id = house.create(&[EventKind::Layers]);
    let mut reader = house.read(id, None);
    let told = |reader: &mut Reader| match events(reader).as_slice() {
        [] => None,
        [Event::Layers(layers)] => Some(layers.to_vec()),
        other => panic!("{other:?}"),
    };

    house.board.layers(vec![layer("h", 1, None)], start);
    assert_eq!(told(&mut reader), Some(vec![layer("h", 1, None)]));
    house.board.layers(vec![layer("h", 2, None)], start);
    house.board.tick(start + LAYERS_PAUSE / 2);
    assert_eq!(told(&mut reader), None);
    house.board.layers(vec![layer("h", 3, None)], start + LAYERS_PAUSE / 2);
    house.board.tick(start + LAYERS_PAUSE);
    assert_eq!(told(&mut reader), Some(vec![layer("h", 3, None)]));
    house.board.layers(vec![layer("h", 3, Some(180))], start + LAYERS_PAUSE);
    assert_eq!(told(&mut reader), Some(vec![layer("h", 3, Some(180))]), "its size is known now");
    house.board.layers(vec![layer("h", 0, Some(180))], start + LAYERS_PAUSE);
    assert_eq!(told(&mut reader), Some(vec![layer("h", 0, Some(180))]), "it is not sent any more");
    house.board.live(false);

    house.board.tick(start + LAYERS_PAUSE * 9);
    assert_eq!(told(&mut reader), None);
    assert!(house.board.layers_now().is_empty());
}

#[test]
fn layers_are_for_viewers_with_a_video() {
    let mut house = House::new();
    house.board.live(true);
    house.board.layers(vec![layer("h", 1, None)], Instant::now());
    let id = house.create(&[EventKind::Layers]);

    let with = house.streams.read(&house.board, Some(1), id, None);
    let mut with = with.expect("the stream is there");
    assert!(matches!(poll(&mut with), Poll::Ready(Some(News { video: 1, .. }))));
    let without = house.streams.read(&house.board, None, id, None);

    assert!(poll(&mut without.expect("the stream is there")).is_pending());
}

#[test]
fn whoever_shall_leave_is_told_once_and_the_others_are_not() {
    let (mut house, mut other) = (House::new(), EventStreams::default());
    let id = house.create(&[EventKind::Reconnect]);
    let theirs = other.create(&house.board, [EventKind::Reconnect].into_iter().collect());
    let mut reader = house.read(id, None);
    let mut elsewhere = other.read(&house.board, None, theirs, None).expect("the stream is there");
    assert!(poll(&mut reader).is_pending());

    house.streams.part();

    assert_eq!(events(&mut reader), [Event::Reconnect]);
    assert!(poll(&mut reader).is_pending() && poll(&mut elsewhere).is_pending());
    assert_eq!(events(&mut house.read(id, None)), [Event::Reconnect], "also who comes back to listen");
}
