use super::*;
use crate::peer::srtp::{Profile, RtpOpener, masters};
use crate::wire::Protocol;
use crate::wire::keyframe::starts_keyframe;
use crate::wire::rtp::Header;
use crate::wire::sdp::{Codec, DtlsRole};

const SHAPE: Shape = Shape { bitrate: 2_500_000, fps: 30, keyframes: Duration::from_secs(2), audio: true };
const NAMES: Ssrcs = Ssrcs { video: 7, audio: 8 };
const WALL: Duration = Duration::from_secs(1_763_800_000);

/// A presenter whose keys are agreed, and who can read what it sends.
struct Stage {
    presenter: Presenter,
    opener: RtpOpener,
    began: Instant,
    now: Instant,
}

/// A packet that was opened.
struct Opened {
    header: Header,
    payload: Vec<u8>,
}

impl Stage {
    fn new(shape: Shape) -> Self {
        let now = Instant::now();
        let local = IceCredentials { ufrag: "load".into(), pwd: "load-password-of-24-chars".into() };
        let remote = "192.0.2.2:8080".parse().expect("good");
        let answer =
            Answer { ice: local.clone(), fingerprints: vec![], dtls: DtlsRole::Client, candidates: vec![remote] };
        let mut presenter = Presenter::new(&local, answer, remote, (shape, NAMES), 7 << 32, now);
        let material: Vec<u8> = (0..Profile::AesGcm.keying_material_len() as u8).collect();
        let (ours, theirs) = masters(Profile::AesGcm, &material, true).expect("keys");
        let opener = RtpOpener::new(&ours).expect("keys");
        presenter.go_live(&Agreed { profile: Profile::AesGcm, ours, theirs }, now).expect("keys");
        Self { presenter, opener, began: now, now }
    }

    /// All that is sent until `span` after the beginning.
    fn until(&mut self, span: Duration) -> Vec<Opened> {
        let mut out = Vec::new();
        while self.now <= self.began + span {
            self.presenter.handle_timeout(self.now, WALL + (self.now - self.began), &mut out);
            self.now = self.presenter.next_timeout();
        }
        let rtp = out.into_iter().filter(|datagram| Protocol::of(datagram) == Some(Protocol::Rtp));
        rtp.map(|datagram| self.open(&datagram)).collect()
    }

    fn open(&mut self, datagram: &[u8]) -> Opened {
        let mut datagram = datagram.to_vec();
        let header = Header::parse(&datagram).expect("RTP");
        let end = self.opener.open(&header, &mut datagram).expect("authentic");
        Opened { header, payload: datagram[header.len..end].to_vec() }
    }

    fn tell(&mut self, write: impl Fn(&mut Vec<u8>)) -> Vec<BytesMut> {
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        write(&mut plain);
        self.presenter.receive_rtcp(&plain, &mut out);
        out
    }
}

fn starts_key(packet: &Opened) -> bool {
    packet.header.ssrc == NAMES.video && starts_keyframe(Codec::Vp8, &packet.payload)
}

#[test]
fn the_stream_has_the_shape_that_was_asked_for() {
    let packets = Stage::new(SHAPE).until(Duration::from_secs(10));

    let video: Vec<_> = packets.iter().filter(|packet| packet.header.ssrc == NAMES.video).collect();
    let bits = video.iter().map(|packet| packet.payload.len() * 8).sum::<usize>() as f64;
    assert!((bits / 10.0 / 2_500_000.0 - 1.0).abs() < 0.05, "{bits}");
    assert!(video.iter().all(|packet| packet.payload.len() == PAYLOAD));
    assert_eq!(video.iter().filter(|packet| packet.header.marker).count(), 301, "30 a second, and the first at once");
    assert_eq!(packets.iter().filter(|packet| starts_key(packet)).count(), 6, "every 2 s, and the first at once");
    assert_eq!(packets.len() - video.len(), 501, "50 audio packets a second, and the first at once");
}

#[test]
fn every_packet_says_when_it_was_sent() {
    let packets = Stage::new(SHAPE).until(Duration::from_secs(1));

    assert!(packets.len() > 100);
    for Opened { header, payload } in &packets {
        let stamp = stamp::read(payload).expect("a stamp");
        assert!((WALL..=WALL + Duration::from_secs(1)).contains(&stamp.sent));
        assert_eq!(stamp.part == Part::Audio, header.ssrc == NAMES.audio);
    }
}

#[test]
fn there_is_no_audio_when_none_is_wanted() {
    let packets = Stage::new(Shape { audio: false, ..SHAPE }).until(Duration::from_secs(1));

    assert!(packets.len() > 100 && packets.iter().all(|packet| packet.header.ssrc == NAMES.video));
}

#[test]
fn a_key_frame_comes_when_it_is_asked_for_but_not_for_everybody_who_asks() {
    let mut stage = Stage::new(SHAPE);
    stage.until(Duration::from_secs(1));

    for _ in 0..5 {
        stage.tell(|out| rtcp::write_pli(out, 1, NAMES.video));
    }
    let packets = stage.until(Duration::from_millis(1_200));
    stage.tell(|out| rtcp::write_pli(out, 1, NAMES.video));
    let early = stage.until(Duration::from_millis(1_290));
    let due = stage.until(Duration::from_millis(1_400));

    let keys = |packets: &[Opened]| packets.iter().filter(|packet| starts_key(packet)).count();
    assert_eq!((keys(&packets), keys(&early), keys(&due)), (1, 0, 1));
    assert_eq!(stage.presenter.sent().plis, 6);
}

#[test]
fn a_lost_packet_is_sent_again_byte_for_byte() {
    let mut stage = Stage::new(SHAPE);
    let mut first = Vec::new();
    stage.presenter.handle_timeout(stage.now, WALL, &mut first);

    let again = stage.tell(|out| rtcp::write_nack(out, 1, NAMES.video, &[1, 3, 60_000]));

    assert_eq!(again.len(), 2, "what was never sent cannot be sent again");
    assert!(again.iter().all(|datagram| first.contains(datagram)));
    assert_eq!((stage.presenter.sent().nacks, stage.presenter.sent().resent), (3, 2));
}

#[test]
fn after_a_hole_nothing_is_made_up_for() {
    let mut stage = Stage::new(SHAPE);
    stage.until(Duration::from_secs(1));

    stage.now += Duration::from_secs(5);
    let mut out = Vec::new();
    stage.presenter.handle_timeout(stage.now, WALL, &mut out);

    assert!(out.len() < 100, "{}", out.len());
}
