//! What can be told of a presenter's sound and picture without decoding them.

use std::time::{Duration, Instant};

use super::{Ingress, Lane};
use crate::media::health::{AudioHealth, Health, VideoHealth};
use crate::wire::picture;
use crate::wire::sdp::{Codec, Kind};

/// What one source did since it was last looked at. A few additions per packet.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    packets: u32,
    bytes: u32,
    /// Of sound: the least of the levels told, in −dBov: the loudest.
    loudest: Option<u8>,
    frames: u32,
    key_frames: u32,
    /// Frames sent behind one that is shown later.
    backward: u32,
    /// Bytes of the picture that is coming in, and whether it is a key frame.
    picture: (u32, bool),
    /// Bytes of the largest picture that was no key frame.
    largest_delta: u32,
    timestamp: Option<u32>,
    /// When the last key frame began, and its timestamp.
    key_at: Option<(Instant, u32)>,
    key_interval: Option<Duration>,
    /// A key frame has been asked for since then.
    asked_at: Option<Instant>,
    /// The last key frame came by the presenter's clock, not because it was asked for.
    by_clock: bool,
    newest: Option<Instant>,
    /// Of each spatial layer, as the last key frames told.
    sizes: picture::Sizes,
    /// Lost since the beginning at most, when it was looked at.
    lost: u64,
}

impl Pulse {
    /// A packet of sound; `level` in −dBov if it says so (RFC 6464).
    pub(super) fn sound(&mut self, bytes: usize, level: Option<u8>, now: Instant) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes as u32);
        self.newest = Some(now);
        if let Some(level) = level {
            self.loudest = Some(self.loudest.map_or(level, |loudest| loudest.min(level)));
        }
    }

    /// A packet of a picture; `in_order` when none that was sent later came before it.
    pub(super) fn picture(
        &mut self,
        (timestamp, marker, is_key): (u32, bool, bool),
        bytes: usize,
        in_order: bool,
        now: Instant,
    ) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes as u32);
        let is_back = self.newest.replace(now).is_some_and(|before| now.saturating_duration_since(before) > PAUSE);
        if is_back {
            // An interval with a pause in it says nothing of how often key frames come.
            self.key_at = None;
        }
        if in_order {
            let step = self.timestamp.map_or(1, |before| timestamp.wrapping_sub(before).cast_signed());
            if step != 0 {
                self.frames += 1;
                self.backward += u32::from(step < 0);
                self.picture = (0, false);
            }
            self.timestamp = Some(timestamp);
        }
        if is_key && self.key_at.is_none_or(|(_, before)| before != timestamp) {
            self.key_frames += 1;
            let interval = self.key_at.map(|(at, _)| now.saturating_duration_since(at));
            // Browsers send one by themselves now and then, with another size or camera; a clock is regular.
            let is_regular =
                interval.zip(self.key_interval).is_some_and(|(now, before)| now.abs_diff(before) < now / 10);
            let was_late = self.asked_at.take().map(|at| now.saturating_duration_since(at) > ANSWER);
            self.by_clock = was_late.unwrap_or(is_regular);
            self.key_interval = interval.or(self.key_interval);
            self.key_at = Some((now, timestamp));
        }
        self.picture = (self.picture.0.saturating_add(bytes as u32), self.picture.1 || is_key);
        if !self.picture.1 {
            self.largest_delta = self.largest_delta.max(self.picture.0);
        }
        if marker {
            self.picture = (0, false);
        }
    }

    /// A packet with which a key frame begins: how large is it?
    pub(super) fn measure(&mut self, codec: Codec, payload: &[u8]) {
        picture::sizes(codec, payload, &mut self.sizes);
    }

    /// What comes now is coded differently.
    pub(super) fn forget_sizes(&mut self) {
        self.sizes = picture::Sizes::default();
    }

    /// The presenter is being asked for a key frame.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked_at.get_or_insert(now);
    }

    /// Begins anew; what was before stays known.
    fn roll(&mut self, lost: u64) {
        let Self { timestamp, key_at, key_interval, asked_at, by_clock, newest, picture, sizes, .. } = *self;
        let lost = lost.max(self.lost);
        let known = Self { picture, timestamp, key_at, key_interval, asked_at, by_clock, newest, ..Self::default() };
        *self = Self { sizes, lost, ..known };
    }
}

impl Ingress {
    /// How the presenter is doing, once per interval.
    pub fn health(&mut self, now: Instant) -> Option<Health> {
        let interval = now.saturating_duration_since(self.health_at);
        if interval < INTERVAL {
            return None;
        }
        self.health_at = now;
        let mut health = Health { interval, ..Health::default() };
        for lane in self.lanes.iter_mut().filter(|lane| !lane.is_rtx) {
            let lost = u64::try_from(lane.statistics.lost()).unwrap_or(0);
            health.packets += u64::from(lane.pulse.packets);
            health.bytes += u64::from(lane.pulse.bytes);
            health.lost += lost.saturating_sub(lane.pulse.lost);
            health.round_trip = health.round_trip.or(lane.round_trip.known());
            match self.sections.get(lane.section).map(|section| section.kind) {
                Some(Kind::Audio) => health.audio = Some(lane.sound()),
                Some(Kind::Video) => {
                    let video = lane.picture(now);
                    if let Some(fps) = health.frames.get_mut(usize::from(lane.layer)) {
                        *fps = video.frames;
                    }
                    // The largest of the encodings stands for all.
                    if health.video.is_none_or(|other| other.bytes < video.bytes) {
                        health.video = Some(video);
                    }
                }
                None => {}
            }
            lane.pulse.roll(lost);
        }
        Some(health)
    }
}

impl Lane {
    fn sound(&self) -> AudioHealth {
        let Pulse { packets, bytes, loudest, .. } = self.pulse;
        AudioHealth { packets, bytes, loudest }
    }

    fn picture(&self, now: Instant) -> VideoHealth {
        let pulse = &self.pulse;
        let age = |at: Instant| now.saturating_duration_since(at);
        VideoHealth {
            packets: pulse.packets,
            bytes: pulse.bytes,
            frames: pulse.frames,
            key_frames: pulse.key_frames,
            key_interval: pulse.key_interval,
            keys_by_clock: pulse.by_clock,
            can_be_asked: self.source.as_ref().is_some_and(|source| {
                let feedback = source.format.feedback;
                feedback.pli || feedback.fir
            }),
            unanswered: pulse.asked_at.map(age),
            since_key: pulse.key_at.map(|(at, _)| age(at)),
            since_packet: pulse.newest.map(age).unwrap_or_default(),
            backward: pulse.backward,
            largest_delta: pulse.largest_delta,
            size: picture::largest(&pulse.sizes),
        }
    }
}

/// Between two looks; a little less than the pause between two reports, which is when it is asked.
const INTERVAL: Duration = Duration::from_millis(900);

/// A presenter that sends nothing for so long sends no pictures in between.
const PAUSE: Duration = Duration::from_secs(2);

/// A key frame that comes so soon after it was asked for comes because of that.
const ANSWER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn pictures_are_counted_by_their_timestamps() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());

        pulse.picture((0, false, true), 1_000, true, start);
        pulse.picture((0, true, true), 1_000, true, start);
        pulse.picture((3_000, false, false), 300, true, at(start, 33));
        pulse.picture((3_000, true, false), 200, true, at(start, 33));
        pulse.picture((6_000, true, true), 900, true, at(start, 66));

        assert_eq!((pulse.packets, pulse.frames, pulse.key_frames, pulse.backward), (5, 3, 2, 0));
        assert_eq!((pulse.largest_delta, pulse.key_interval), (500, Some(Duration::from_millis(66))));
    }

    #[test]
    fn a_frame_that_is_shown_before_its_predecessor_is_a_b_frame() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());

        for timestamp in [0, 9_000, 3_000, 6_000, 18_000_u32] {
            pulse.picture((timestamp, true, false), 100, true, start);
        }
        assert_eq!(pulse.backward, 1);

        // A late packet is none.
        pulse.picture((6_000, true, false), 100, false, start);
        assert_eq!((pulse.backward, pulse.frames), (1, 5));
    }

    #[test]
    fn a_key_frame_that_was_asked_for_is_told_from_one_by_the_clock() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        let mut before = 0;
        let mut key = |timestamp: u32, asked: Option<u64>, now: u64| {
            for millis in (std::mem::replace(&mut before, now)..now).step_by(1_000) {
                pulse.picture((timestamp - 1, true, false), 90, true, at(start, millis));
            }
            asked.inspect(|millis| pulse.asked(at(start, *millis)));
            pulse.picture((timestamp, true, true), 900, true, at(start, now));
            pulse.by_clock
        };

        assert!(!key(1, None, 0));
        assert!(!key(2, Some(1_000), 1_200));
        assert!(key(3, Some(2_000), 9_000), "much later than it was asked for");
        assert!(key(4, None, 17_000), "as long after the last one as that one was");
        assert!(!key(5, None, 23_000), "by itself, but at no clock's time");
    }

    #[test]
    fn a_pause_is_no_interval_between_key_frames() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        for (timestamp, millis) in [(1, 0), (2, 1_000), (3, 1_500)] {
            pulse.picture((timestamp, true, timestamp < 3), 900, true, at(start, millis));
        }
        assert_eq!(pulse.key_interval, Some(Duration::from_secs(1)));

        pulse.picture((4, true, false), 900, true, at(start, 12_000));
        assert_eq!(pulse.key_at, None);
        pulse.picture((5, true, true), 900, true, at(start, 12_500));

        assert_eq!(pulse.key_interval, Some(Duration::from_secs(1)));
        pulse.picture((6, true, true), 900, true, at(start, 14_000));
        assert_eq!(pulse.key_interval, Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn the_size_of_the_picture_is_that_of_the_last_key_frame_that_told() {
        let mut pulse = Pulse::default();
        let mut key = |bytes: [u8; 4]| {
            pulse.measure(Codec::Vp8, &[&[0x10, 0x10, 2, 0, 0x9d, 0x01, 0x2a], &bytes[..]].concat());
            pulse.roll(0);
            picture::largest(&pulse.sizes)
        };

        assert_eq!(key([0x80, 0x02, 0x68, 0x01]), Some((640, 360)));
        assert_eq!(key([0x00, 0x05, 0xd0, 0x02]), Some((1280, 720)));
        pulse.measure(Codec::Vp8, &[0x10, 0x10, 2]);
        assert_eq!(picture::largest(&pulse.sizes), Some((1280, 720)));
        pulse.forget_sizes();
        assert_eq!(picture::largest(&pulse.sizes), None);
    }

    #[test]
    fn a_packet_that_only_comes_late_is_lost_once_at_most() {
        let mut pulse = Pulse::default();
        let mut told = 0;
        for lost in [1, 0, 1, 0, 1, 3_u64] {
            told += lost.saturating_sub(pulse.lost);
            pulse.roll(lost);
        }

        assert_eq!(told, 3);
    }

    #[test]
    fn the_loudest_moment_is_the_least_number() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());

        for level in [Some(127), Some(30), None, Some(90)] {
            pulse.sound(80, level, now);
        }

        assert_eq!((pulse.loudest, pulse.packets, pulse.bytes), (Some(30), 4, 320));
        pulse.roll(0);
        assert_eq!((pulse.loudest, pulse.packets), (None, 0));
    }
}
