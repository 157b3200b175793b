use super::*;
use crate::control::alarms::{self, Alarm, AlarmKind};
use crate::control::journal::Journal;
use crate::control::records::Stage;
use crate::media::SessionId;

fn hook(kinds: &[&str], streams: &[&str]) -> Hook {
    Hook {
        url: Url::parse("https://hooks.example/T0/secret").expect("a URL"),
        secret: Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret"),
        kinds: Kinds::parse(&kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>()).expect("kinds"),
        streams: streams.iter().map(|name| name.parse().expect("a name")).collect(),
        timeout: Duration::from_secs(1),
    }
}

/// A journal that tells these.
fn journal(hooks: Vec<Hook>, registry: &Registry) -> (Journal, Arc<Webhooks>) {
    let (journal, webhooks) = (Journal::default(), Webhooks::new(hooks, Pace::default(), registry).expect("new"));
    journal.webhooks.set(Arc::clone(&webhooks)).expect("the first");
    (journal, webhooks)
}

/// What is sent next.
fn sent(line: &Line) -> Option<Value> {
    let Turn::Send(message) = line.turn(Instant::now()) else {
        return None;
    };
    let event: Value = serde_json::from_slice(&message.body).expect("JSON");
    assert_eq!(event["id"], message.id);
    line.answered(Outcome::Taken, Instant::now());
    Some(event)
}

#[test]
fn each_webhook_is_told_what_it_wants_of_the_streams_that_it_wants() {
    let hooks = vec![hook(&["stream", "alarm"], &[]), hook(&["alarm.raised"], &["a"]), hook(&["session"], &[])];
    let (journal, webhooks) = journal(hooks, &Registry::new());
    let (a, b): (StreamName, StreamName) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
    let alarm = Alarm { kind: AlarmKind::Silence, since: Instant::now(), detail: "quiet".to_owned() };
    let mut change = alarms::Change { alarm, on: true };

    journal.tell(Some(&a), &News::Stream(Stage::Live, Some(SessionId(0x1234 << 112))));
    journal.tell(Some(&a), &News::Alarm(&change));
    journal.tell(Some(&b), &News::Alarm(&change));
    change.on = false;
    journal.tell(Some(&a), &News::Alarm(&change));
    journal.tell(Some(&a), &News::Viewers(7));

    let told = |line: &Line| -> Vec<String> {
        let events = std::iter::from_fn(|| sent(line));
        events.map(|event| format!("{} {}", event["type"], event["stream"])).collect()
    };
    let [all, raised, sessions] = webhooks.lines() else { panic!("three") };
    assert_eq!(
        told(all),
        ["\"stream.live\" \"a\"", "\"alarm.raised\" \"a\"", "\"alarm.raised\" \"b\"", "\"alarm.cleared\" \"a\""]
    );
    assert_eq!(told(raised), ["\"alarm.raised\" \"a\""]);
    assert_eq!(told(sessions), Vec::<String>::new());
}

#[test]
fn an_event_says_all_of_it() {
    let (journal, webhooks) = journal(vec![hook(&["stream"], &[])], &Registry::new());
    let stream = "talk".parse().expect("a name");

    journal.tell(Some(&stream), &News::Stream(Stage::Live, Some(SessionId(0x1234 << 112))));

    let event = sent(&webhooks.lines()[0]).expect("an event");
    assert_eq!(event["data"], json!({ "state": "live", "presenter": "1234000000000000" }));
    assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{event}");
    let id = event["id"].as_str().and_then(|id| id.strip_prefix("msg_")).expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{event}");
    let members: Vec<_> = event.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members.len(), 5, "{members:?}");
}

#[tokio::test]
async fn whoever_waits_is_woken_by_news_and_by_the_end() {
    let (journal, webhooks) = journal(vec![hook(&["report"], &[])], &Registry::new());
    let line = &webhooks.lines()[0];
    assert!(matches!(line.turn(Instant::now()), Turn::Idle));

    journal.tell(None, &News::Report("r"));
    line.rung().await;
    assert!(sent(line).is_some());

    webhooks.close();
    line.rung().await;
    assert!(matches!(line.turn(Instant::now()), Turn::Over));
}

#[test]
fn what_becomes_of_events_is_counted_by_number() {
    let registry = Registry::new();
    let (journal, webhooks) = journal(vec![hook(&["report"], &[]), hook(&["report"], &[])], &registry);
    for _ in 0..4 {
        journal.tell(None, &News::Report("r"));
    }
    let line = &webhooks.lines()[1];
    assert!(sent(line).is_some());
    for outcome in [Outcome::of_status(500, None), Outcome::Gone] {
        line.turn(Instant::now());
        line.answered(outcome, Instant::now());
    }

    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");

    for wanted in [
        r#"tribune_webhook_events_total{result="sent",webhook="2"} 1"#,
        r#"tribune_webhook_events_total{result="dropped",webhook="2"} 3"#,
        r#"tribune_webhook_events_total{result="failed",webhook="1"} 0"#,
        r#"tribune_webhook_retries_total{webhook="2"} 1"#,
        r#"tribune_webhook_events_waiting{webhook="1"} 4"#,
        r#"tribune_webhook_events_waiting{webhook="2"} 0"#,
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    assert!(!text.contains("hooks.example"), "{text}");
}

#[test]
fn nothing_shows_the_path_or_the_secret() {
    let shown = format!("{:?}", hook(&["stream"], &[]));

    assert!(shown.contains("https://hooks.example") && !shown.contains("T0") && !shown.contains("MfKQ"), "{shown}");
}
