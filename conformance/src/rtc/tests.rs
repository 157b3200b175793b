//! The live client against a str0m peer that plays the server.

use std::net::Ipv4Addr;

use super::*;

impl Client {
    /// A peer that answers `offer` as an ICE-lite server would; gives the answer too.
    pub(crate) async fn answering(offer: &str) -> (Live, String) {
        let mut client = Self::bind(Ipv4Addr::LOCALHOST.into(), true).await.unwrap();
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        let answer = client.rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
        (client.run(), answer)
    }
}

#[tokio::test]
async fn both_sides_carry_audio_and_video_and_see_the_close() {
    for side in [Side::Whip, Side::Whep] {
        let kinds = [MediaKind::Audio, MediaKind::Video];
        let client = Client::offering(Ipv4Addr::LOCALHOST.into(), side, &kinds, Style::USUAL).await.unwrap();
        let (mut server, answer) = Client::answering(client.offer()).await;
        let mut client = client.start(&answer).unwrap();
        let (sender, receiver) = match side {
            Side::Whip => (&mut client, &mut server),
            Side::Whep => (&mut server, &mut client),
        };

        let arrived = receiver
            .until(Duration::from_secs(10), |s| kinds.iter().all(|kind| s.track(*kind).is_some_and(|t| t.packets > 20)))
            .await;
        let seen = receiver.seen();
        sender.close().await;
        let closed = receiver.until(Duration::from_secs(5), |s| s.close_notify_at.is_some()).await;

        assert!(arrived, "{side:?}: {} {:?}", seen.summary(), seen.failure);
        assert_eq!(seen.track(MediaKind::Video).map(Track::missing), Some(0));
        assert!(closed && receiver.seen().alert_at.is_some());
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_noticed() {
    let client =
        Client::offering(Ipv4Addr::LOCALHOST.into(), Side::Whip, &[MediaKind::Audio], Style::USUAL).await.unwrap();
    let (server, answer) = Client::answering(client.offer()).await;
    drop(server);

    let mut client = client.start(&answer).unwrap();

    assert!(!client.until(Duration::from_millis(500), |s| s.connected_at.is_some()).await);
}
