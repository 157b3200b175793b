//! What the WHEP draft asks of playback alone.

use super::{seen, whip};
use crate::case::{Case, Done, Outcome, Phase, Verdict};
use crate::cli::Side;
use crate::client::Context;
use crate::offer::Fixture;

/// The checks of this file.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::whep("WHEP-4.2.8-01", nothing_live).in_phase(Phase::Idle),
        Case::whep("W-4.5-08", retry_after_on_409).in_phase(Phase::Idle),
        Case::whep("WHEP-4.2.5-01", answers_sendonly),
        Case::whep("WHEP-4.2.5-02", refuses_senders),
        Case::whep("WHEP-4.5.2-01", one_stream),
        Case::whep("WHEP-4.2.1-05", rejects_single_sections),
        Case::whep("WHEP-4.3-01", delete),
    ]
}

async fn nothing_live(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    let verdict = match exchange.status() {
        409 if exchange.response.header("retry-after").is_some() => Verdict::Pass,
        // It waits for a presenter, or somebody else presents.
        201 => Verdict::Info,
        // Right for an unknown stream, wrong for a known one: we cannot tell.
        404 => Verdict::Warn,
        _ => Verdict::Fail,
    };
    let expected = "409 with Retry-After while nobody publishes";
    Ok(Outcome::new(verdict, expected, seen(&exchange, "retry-after")).by(&exchange))
}

async fn retry_after_on_409(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::Av).await?;
    if exchange.status() != 409 {
        return Ok(Outcome::new(Verdict::NotApplicable, "", exchange.line()));
    }
    let seconds = exchange.response.header("retry-after").and_then(|v| v.trim().parse::<u32>().ok());
    let good = seconds.is_some_and(|s| s >= 1);
    Ok(Outcome::judge(good, "Retry-After of whole seconds, at least 1", seen(&exchange, "retry-after")).by(&exchange))
}

async fn answers_sendonly(cx: &Context, side: Side) -> Done {
    let mut complaints = Vec::new();
    for fixture in [Fixture::Av, Fixture::SendRecv] {
        let session = cx.open(side, fixture).await?;
        cx.close(&session).await?;
        let wrong = session.sdp.accepted().filter(|m| !matches!(m.direction(), "sendonly" | "inactive"));
        complaints.extend(wrong.map(|m| format!("{}: {} is {}", fixture.name(), m.kind, m.direction())));
        if !session.sdp.accepted().any(|m| m.direction() == "sendonly") {
            complaints.push(format!("{}: nothing is sendonly", fixture.name()));
        }
    }
    Ok(Outcome::complaints("a=sendonly in accepted sections", &complaints, "sendonly for recvonly and sendrecv"))
}

async fn refuses_senders(cx: &Context, side: Side) -> Done {
    whip::refused(cx, side, &[Fixture::SendOnly, Fixture::Inactive]).await
}

async fn one_stream(cx: &Context, side: Side) -> Done {
    let session = cx.sample(side).await?;
    let mut complaints = Vec::new();
    let mut streams: Vec<&str> = Vec::new();
    for media in session.sdp.accepted().filter(|m| m.direction() == "sendonly") {
        match media.attr("msid").and_then(|v| v.split(' ').next()) {
            Some(stream) => streams.push(stream),
            None => complaints.push(format!("{} has no a=msid", media.kind)),
        }
    }
    if streams.windows(2).any(|pair| pair.first() != pair.last()) {
        complaints.push(format!("different streams: {}", streams.join(", ")));
    }
    for kind in ["audio", "video"] {
        let count = session.sdp.accepted().filter(|m| m.kind == kind).count();
        if count > 1 {
            complaints.push(format!("{count} {kind} sections"));
        }
    }
    Ok(Outcome::complaints("one MediaStream", &complaints, streams.join(", ")).by(&session.exchange))
}

async fn rejects_single_sections(cx: &Context, side: Side) -> Done {
    let exchange = cx.try_offer(side, Fixture::DataChannel).await?;
    Ok(Outcome::judge(exchange.status() == 201, "201, whatever becomes of the data channel", exchange.line())
        .by(&exchange))
}

async fn delete(cx: &Context, side: Side) -> Done {
    let session = cx.open(side, Fixture::Av).await?;
    let exchange = cx.close(&session).await?;
    Ok(Outcome::judge(exchange.response.is_success(), "2xx (200 is best)", exchange.line()).by(&exchange))
}
