//! `[[webhooks]]`: from what is written to who is told what.

use std::fs;
use std::time::Duration;

use super::file::WebhookEntry;
use super::{ConfigError, wrong};
use crate::client::Url;
use crate::control::webhooks::{Hook, Kinds, Secret};

/// All of them.
/// # Errors
/// When one of them is wrong. No message repeats a secret, or a URL, which may be one.
pub(super) fn hooks(entries: &[WebhookEntry]) -> Result<Vec<Hook>, ConfigError> {
    if entries.len() > MOST {
        return wrong("webhooks", format!("{} of them, more than {MOST}", entries.len()));
    }
    (1..).zip(entries).map(|(number, entry)| hook(number, entry)).collect()
}

/// The `number`th.
fn hook(number: usize, entry: &WebhookEntry) -> Result<Hook, ConfigError> {
    let key = |name: &str| format!("webhooks[{number}].{name}");
    let Some(url) = Url::parse(&entry.url) else {
        return wrong(key("url"), "a webhook needs a URL like https://HOST[:PORT]/PATH or http://…");
    };
    if url.names_a_user() {
        return wrong(
            key("url"),
            "a user name in the URL is not used: put what the receiver has to know into the path",
        );
    }
    let kinds = match Kinds::parse(&entry.events) {
        Ok(kinds) => kinds,
        Err(error) => return wrong(key("events"), error.to_string()),
    };
    if entry.events.is_empty() {
        return wrong(key("events"), "a webhook that wants nothing is told nothing: leave it out");
    }
    let streams: Result<_, _> = entry.streams.iter().map(|name| name.parse()).collect();
    let Ok(streams) = streams else {
        return wrong(key("streams"), "a stream name is 1–64 of A–Z a–z 0–9 _ -");
    };
    let timeout = entry.timeout.0;
    if !(Duration::from_secs(1)..=Duration::from_mins(1)).contains(&timeout) {
        return wrong(key("timeout"), format!("{} is not in 1s–1m", entry.timeout));
    }
    Ok(Hook { url, secret: secret(number, entry)?, kinds, streams, timeout })
}

/// What its events are signed with.
fn secret(number: usize, entry: &WebhookEntry) -> Result<Secret, ConfigError> {
    let (text, key) = match (entry.secret.as_str(), entry.secret_file.as_str()) {
        ("", "") => {
            return wrong(
                format!("webhooks[{number}].secret"),
                format!("a webhook needs `secret` or `secret_file`: {MAKE_ONE}"),
            );
        }
        (text, "") => (text.to_owned(), "secret"),
        ("", path) => match fs::read_to_string(path) {
            Ok(text) => (text, "secret_file"),
            Err(error) => return wrong(format!("webhooks[{number}].secret_file"), format!("{path:?}: {error}")),
        },
        _ => return wrong(format!("webhooks[{number}].secret"), "a webhook has `secret` or `secret_file`, not both"),
    };
    match Secret::parse(text.trim()) {
        Some(secret) => Ok(secret),
        None => wrong(
            format!("webhooks[{number}].{key}"),
            format!("a secret is whsec_ and 24–64 bytes in base64: {MAKE_ONE}"),
        ),
    }
}

/// How to.
const MAKE_ONE: &str = "echo whsec_$(openssl rand -base64 32)";
/// Each has a queue and a connection of its own.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn entry(change: impl FnOnce(&mut WebhookEntry)) -> WebhookEntry {
        let mut entry =
            WebhookEntry { url: "https://a.example/in?k=1".into(), secret: SECRET.into(), ..WebhookEntry::default() };
        change(&mut entry);
        entry
    }

    #[test]
    fn a_webhook_is_told_of_streams_alarms_and_reports_unless_it_says_otherwise() {
        let hooks = hooks(&[entry(|_| {}), entry(|e| (e.events, e.streams) = (vec!["link".into()], vec!["a".into()]))]);

        let hooks = hooks.expect("good");
        assert_eq!((hooks[0].url.origin().as_str(), hooks[0].timeout), ("https://a.example", Duration::from_secs(10)));
        let usual: Vec<String> = ["stream", "alarm", "report"].map(str::to_owned).to_vec();
        assert_eq!((Kinds::parse(&usual).as_ref(), hooks[0].streams.len()), (Ok(&hooks[0].kinds), 0));
        assert_eq!(Kinds::parse(&["link".to_owned()]).as_ref(), Ok(&hooks[1].kinds));
        assert_eq!(hooks[1].streams, ["a".parse().expect("a name")]);
        assert!(!format!("{hooks:?}").contains("k=1"), "the path may be a secret");
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_secret() {
        let cases: [(WebhookEntry, &str); 12] = [
            (entry(|e| e.url = String::new()), "webhooks[1].url: a webhook needs a URL like"),
            (entry(|e| e.url = "ftp://whsec_x/".into()), "webhooks[1].url: a webhook needs a URL like"),
            (entry(|e| e.url = "http://a:99999/whsec_x".into()), "webhooks[1].url: a webhook needs a URL like"),
            (entry(|e| e.url = "https://u:whsec_x@h/".into()), "webhooks[1].url: a user name in the URL"),
            (entry(|e| e.events = vec!["strem".into()]), "webhooks[1].events: \"strem\" is none of stream, alarm,"),
            (entry(|e| e.events.clear()), "webhooks[1].events: a webhook that wants nothing"),
            (entry(|e| e.streams = vec!["a.b".into()]), "webhooks[1].streams: a stream name is"),
            (entry(|e| e.timeout = "0s".parse().expect("a time")), "webhooks[1].timeout: 0s is not in 1s–1m"),
            (entry(|e| e.timeout = "2m".parse().expect("a time")), "webhooks[1].timeout: 2m is not in 1s–1m"),
            (entry(|e| e.secret.clear()), "webhooks[1].secret: a webhook needs `secret` or `secret_file`"),
            (entry(|e| e.secret = "whsec_x".into()), "webhooks[1].secret: a secret is whsec_ and 24–64 bytes"),
            (entry(|e| e.secret_file = "/etc/whsec_x".into()), "webhooks[1].secret: a webhook has `secret` or"),
        ];

        for (entry, message) in cases {
            let error = hooks(&[entry]).expect_err(message).to_string();
            assert!(error.starts_with(message), "{error}\nshould begin with\n{message}");
            assert!(!error.contains("whsec_x"), "{error}");
        }
        let error = hooks(&vec![entry(|_| {}); 17]).expect_err("too many").to_string();
        assert_eq!(error, "webhooks: 17 of them, more than 16");
    }

    #[test]
    fn a_secret_may_stand_in_a_file_of_its_own() {
        let path = std::env::temp_dir().join(format!("tribune-webhook-secret-{}", std::process::id()));
        fs::write(&path, format!("{SECRET}\n")).expect("written");
        let of_file = |path: &std::path::Path| {
            let file = path.to_str().expect("text").to_owned();
            hooks(&[entry(|e| (e.secret, e.secret_file) = (String::new(), file))])
        };

        assert_eq!(of_file(&path).expect("good")[0].secret, Secret::parse(SECRET).expect("one"));

        fs::write(&path, "secret").expect("written");
        let error = of_file(&path).expect_err("no secret").to_string();
        assert!(error.starts_with("webhooks[1].secret_file: a secret is whsec_"), "{error}");
        fs::remove_file(&path).expect("removed");
        let error = of_file(&path).expect_err("no file").to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
