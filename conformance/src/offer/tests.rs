//! The fixtures are what they say.

use super::*;
use crate::answer::Sdp;

#[test]
fn every_sound_fixture_is_sdp_with_credentials_of_its_own() {
    let mut seen = 0;
    for (fixture, name) in Fixture::ALL {
        assert_eq!(Fixture::named(name), Some(fixture));
        if matches!(fixture, Fixture::Empty | Fixture::Hello | Fixture::Truncated | Fixture::Talkative) {
            continue;
        }
        let (one, two) = (fixture.body(Side::Whip), fixture.body(Side::Whip));
        let (one, two) = (Sdp::parse(&one).unwrap(), Sdp::parse(&two).unwrap());
        let pwd = |sdp: &Sdp| sdp.media[0].attr("ice-pwd").map(str::to_owned);
        assert_ne!(pwd(&one), pwd(&two), "{name}");
        seen += 1;
    }
    assert!(seen > 20);
}

#[test]
fn str0m_reads_the_ordinary_offers() {
    for fixture in [Fixture::Av, Fixture::Va, Fixture::Simulcast, Fixture::DataChannel, Fixture::Passive] {
        for side in [Side::Whip, Side::Whep] {
            str0m::change::SdpOffer::from_sdp_string(&fixture.body(side)).unwrap();
        }
    }
}

#[test]
fn the_flaws_are_there() {
    let body = |fixture: Fixture| fixture.body(Side::Whip);

    assert!(body(Fixture::Truncated).ends_with("m="));
    assert!(!body(Fixture::NoUfrag).contains("ice-ufrag"));
    assert!(!body(Fixture::NoFingerprint).contains("fingerprint"));
    assert!(!body(Fixture::NoCandidates).contains("candidate"));
    assert!(!body(Fixture::NoMsid).contains("a=msid:"));
    assert!(!body(Fixture::Lf).contains('\r'));
    assert!(body(Fixture::Huge).len() > 1_000_000);
    assert!(body(Fixture::BundleOnly).contains("m=video 0 "));
    assert_eq!(body(Fixture::TwoVideos).matches("m=video").count(), 2);
}
