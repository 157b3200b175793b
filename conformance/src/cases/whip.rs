//! What RFC 9725 asks of ingest alone: directions, no partial answers, one stream per session.

use crate::answer::Sdp;
use crate::case::{Case, Done, Outcome, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::http::Exchange;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whip("WHIP-4.2-30", answers_recvonly),
        Case::whip("WHIP-4.2-31", refuses_offers_without_media),
        Case::whip("WHIP-4.4.1-04", bundle_only),
        Case::whip("WHIP-4.4.2-01", too_many_tracks),
        Case::whip("WHIP-4.4.2-02", missing_msid),
        Case::whip("WHIP-4.4.3-01", no_partial_answer),
        Case::whip("SDP-10", encoder_names),
        Case::whip("WHIP-4.8-02", simulcast_answer),
        Case::whip("WHIP-4.8-03", rid_answer),
    ]
}

async fn answers_recvonly(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    for fixture in [Fixture::Av, Fixture::SendRecv] {
        let session = cx.open(side, fixture).await?;
        cx.close(&session).await?;
        let wrong = session.sdp.accepted().filter(|m| m.direction() != "recvonly");
        complaints.extend(wrong.map(|m| format!("{}: {} is {}", fixture.name(), m.kind, m.direction())));
    }
    Ok(Outcome::complaints("a=recvonly in every accepted section", &complaints, "recvonly for sendonly and sendrecv"))
}

async fn refuses_offers_without_media(cx: &Context, side: Side) -> Done {
    refused(cx, side, &[Fixture::Inactive, Fixture::RecvOnly]).await
}

/// Judges that the server answers all these with a 4xx.
pub(super) async fn refused(cx: &Context, side: Side, fixtures: &[Fixture]) -> Done {
    let mut complaints = Vec::new();
    let mut codes = Vec::new();
    for fixture in fixtures {
        let exchange = cx.try_offer(side, *fixture).await?;
        let note = format!("{}: {}", fixture.name(), exchange.status());
        if exchange.response.is_client_error() {
            codes.push(note);
        } else {
            complaints.push(note);
        }
    }
    Ok(Outcome::complaints("4xx (422 or 400)", &complaints, codes.join("; ")))
}

async fn bundle_only(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::BundleOnly).await?;
    let sdp = Sdp::parse(&exchange.response.text()).ok();
    let accepted = sdp.map(|sdp| sdp.accepted().count()).unwrap_or_default();
    let good = exchange.status() == 201 && accepted == 2;
    let observed = format!("{}, {accepted} sections accepted", exchange.line());
    Ok(Outcome::judge(good, "201 with both sections accepted", observed).by(&exchange))
}

/// Judges a POST that must be refused as a whole.
fn all_or_nothing(exchange: &Exchange, may_accept_all: bool) -> (Verdict, String) {
    let rejected =
        Sdp::parse(&exchange.response.text()).map(|sdp| sdp.media.len() - sdp.accepted().count()).unwrap_or_default();
    let verdict = match exchange.status() {
        400 | 422 => Verdict::Pass,
        // Drafts up to -14 asked for it.
        406 => Verdict::Legacy,
        201 if rejected == 0 && may_accept_all => Verdict::Info,
        400..=499 => Verdict::Warn,
        _ => Verdict::Fail,
    };
    (verdict, format!("{}, {rejected} sections rejected", exchange.line()))
}

async fn too_many_tracks(cx: &Context, side: Side) -> Done {
    let mut worst = Verdict::Pass;
    let mut observed = Vec::new();
    for fixture in [Fixture::TwoVideos, Fixture::TwoStreams] {
        let exchange = cx.try_offer(side, fixture).await?;
        let (verdict, what) = all_or_nothing(&exchange, true);
        observed.push(format!("{}: {what}", fixture.name()));
        let rank = |v: Verdict| Verdict::ALL.iter().position(|x| *x == v);
        if verdict != Verdict::Pass && (worst == Verdict::Pass || rank(verdict) < rank(worst)) {
            worst = verdict;
        }
    }
    Ok(Outcome::new(worst, "422 or 400 (or all accepted, as an extension)", observed.join("; ")))
}

async fn missing_msid(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::NoMsid).await?;
    Ok(Outcome::judge(exchange.status() == 201, "201", exchange.line()).by(&exchange))
}

async fn no_partial_answer(cx: &Context, side: Side) -> Done {
    let mut worst = Verdict::Pass;
    let mut observed = Vec::new();
    for fixture in [Fixture::HalfUnknown, Fixture::DataChannel] {
        let exchange = cx.try_offer(side, fixture).await?;
        // A server with data channels may accept all of the second offer.
        let (verdict, what) = all_or_nothing(&exchange, fixture == Fixture::DataChannel);
        observed.push(format!("{}: {what}", fixture.name()));
        if verdict != Verdict::Pass {
            worst = verdict;
        }
    }
    Ok(Outcome::new(worst, "422 or 400 for the whole POST", observed.join("; ")))
}

async fn encoder_names(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    for (origin, name) in [("FFmpeg", "FFmpegPublishSession"), ("rtc", "-"), ("-", " "), ("user@host", "Live: 100 %")] {
        let offer = Fixture::Av.body(side).replacen("o=- ", &format!("o={origin} "), 1);
        let offer = offer.replacen("s=-\r\n", &format!("s={name}\r\n"), 1);
        let exchange = cx.post_and_delete(side, cx.offering_text(side, &offer)?).await?;
        if exchange.status() != 201 {
            complaints.push(format!("o={origin} s={name}: {}", exchange.status()));
        }
    }
    Ok(Outcome::complaints("201 whatever o= and s= say", &complaints, "201 for all"))
}

async fn simulcast_answer(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Simulcast).await?;
    cx.close(&session).await?;
    let line = session.sdp.media.iter().find_map(|m| m.attr("simulcast"));
    let Some(line) = line else {
        return Ok(Outcome::new(Verdict::NotApplicable, "", "simulcast is not accepted"));
    };
    let rids: Vec<&str> = line.strip_prefix("recv ").unwrap_or_default().split(';').collect();
    let offered = ["0", "1", "2"];
    let in_order = rids.iter().map(|r| offered.iter().position(|o| *o == r.trim_start_matches('~')));
    let places: Option<Vec<usize>> = in_order.collect();
    let good = places.is_some_and(|p| !p.is_empty() && p.is_sorted());
    Ok(Outcome::judge(good, "a=simulcast:recv with the offered rids in order", line).by(&session.exchange))
}

async fn rid_answer(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Simulcast).await?;
    cx.close(&session).await?;
    let Some(media) = session.sdp.media.iter().find(|m| m.has("simulcast")) else {
        return Ok(Outcome::new(Verdict::NotApplicable, "", "simulcast is not accepted"));
    };
    let list = media.attr("simulcast").and_then(|l| l.strip_prefix("recv ")).unwrap_or_default();
    let lines: Vec<&str> = media.attrs("rid").collect();
    let complaints: Vec<String> = list
        .split(';')
        .filter(|rid| lines.iter().filter(|l| **l == format!("{rid} recv")).count() != 1)
        .map(|rid| format!("not exactly one a=rid:{rid} recv"))
        .collect();
    Ok(Outcome::complaints("one a=rid:… recv per layer", &complaints, lines.join(", ")).by(&session.exchange))
}
