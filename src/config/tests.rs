use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::control::stream::{IdlePolicy, WatchPolicy};

fn parse(text: &str) -> Result<Config, String> {
    let file = File::parse(Path::new("my.toml"), text).and_then(|file| check(&file));
    file.map_err(|error| error.to_string())
}

fn with_environment(variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(None, variables, &[]).map_err(|error| error.to_string())
}

fn name(text: &str) -> StreamName {
    text.parse().expect("a name")
}

const SHIPPED: &str = include_str!("../../config.toml");

#[test]
fn the_shipped_file_is_exactly_the_default() {
    assert_eq!(File::parse(Path::new("config.toml"), SHIPPED).expect("good"), File::default());
    assert_eq!(parse(SHIPPED), Ok(Config::default()));
}

#[test]
fn the_shipped_file_has_every_key_and_a_word_on_it() {
    let keys = File::keys();
    assert!(keys.len() > 20);

    for key in keys {
        match key.split_once('.') {
            Some((section, key)) => {
                let section = SHIPPED.split(&format!("\n[{section}]\n")).nth(1).expect(section);
                let section = section.split("\n[").next().expect("a part");
                assert!(section.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
            }
            None => assert!(SHIPPED.contains(&format!("[{key}.")) || SHIPPED.contains(&format!("[[{key}]]")), "{key}"),
        }
    }
    for key in ["token = ", "token_sha256 = ", "stream = ", "right = ", "subject = ", "# url = ", "# secret_file = "] {
        assert!(SHIPPED.contains(key.trim_end_matches(" = ")), "{key}");
    }
}

#[test]
fn the_commented_examples_of_the_shipped_file_are_good() {
    let examples = SHIPPED.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
            rest
        }
        _ => line,
    });
    let text: Vec<&str> = examples.collect();

    let config = parse(&text.join("\n")).expect("good");

    assert_eq!((config.tokens.len(), config.webhooks.len()), (1, 1));
    assert_eq!(config.policies.named.len(), 2);
    assert_eq!(config.policies.named[&name("talk")].presenters.rank("camera-2"), 1);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_key() {
    let cases = [
        ("[http]\nlisten = \"[::]:8080\"\nlisen = 1\n", "my.toml:3: http.lisen: unknown field `lisen`"),
        ("[htpt]\n", "my.toml:1: htpt: unknown field `htpt`"),
        ("\n[http]\nlisten = \"8080\"\n", "my.toml:3: http.listen: \"8080\" is not an address and a port"),
        ("[http]\nheader_timeout = 5\n", "my.toml:2: http.header_timeout: invalid type"),
        ("[http]\nheader_timeout = \"5\"\n", "my.toml:2: http.header_timeout: \"5\" is not a duration like"),
        ("[media]\npublic_addresses = [\"me\"]\n", "my.toml:2: media.public_addresses: \"me\" is not an IP address"),
        ("[streams]\nidle = \"sleep\"\n", "my.toml:2: streams.idle: unknown variant `sleep`"),
        ("[streams]\npresenters = \"all\"\n", "my.toml:2: streams.presenters: unknown variant `all`"),
        ("[media]\nworkers = -1\n", "my.toml:2: media.workers: invalid value"),
        ("[log\n", "my.toml:1: log"),
        ("[[tokens]]\nsecret = \"x\"\n", "my.toml:2: tokens.secret: unknown field `secret`"),
        ("[stream.a]\nnope = 1\n", "my.toml:2: stream.a.nope: unknown field `nope`"),
    ];

    for (text, message) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(message), "{error}\nshould begin with\n{message}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn values_that_do_not_make_sense_are_refused() {
    let cases = [
        ("[media]\nmax_sessions = 0", "media.max_sessions: 0 is not in 1–1000000"),
        ("[media]\nworkers = 65", "media.workers: 65 is not in 0–64"),
        ("[http]\nmax_connections = 0", "http.max_connections: 0 is not in"),
        ("[http]\nbody_timeout = \"0s\"", "http.body_timeout: 0s is not in 1s–10m"),
        ("[http]\ntls = \"files\"", "http.tls: `files` needs both"),
        ("[http]\ntls_key = \"k.pem\"", "http.tls_cert: a certificate or key is only used with"),
        ("[http]\npublic_url = \"live.example.org\"", "http.public_url: \"live.example.org\" is not like https://"),
        ("[http]\npublic_url = \"https://a/b\"", "http.public_url:"),
        ("[stream.\"a b\"]", "stream.a b: a stream name is"),
        ("[stream.a]\nbackups = [\"b\"]", "stream.a.backups: a backup needs two"),
        ("[stream.a]\nbackups = [\"b\", \"b\"]", "stream.a.backups: a presenter is named twice"),
        ("[stream.a]\nbackups = [\"b\", \"c\"]\npresenters = \"reject\"", "stream.a.backups: a stream has either"),
        ("[streams]\ngrace = \"2d\"", "streams.grace: 2d is not in 0s–1d"),
        ("[[tokens]]\nright = \"publish\"", "tokens[1].token: a token needs"),
        ("[[tokens]]\ntoken = \"short\"", "tokens[1].token: a token is 16–4096 of"),
        ("[[tokens]]\ntoken = \"sixteen characters\"", "tokens[1].token: a token is 16–4096 of"),
        ("[[tokens]]\ntoken_sha256 = \"00\"", "tokens[1].token_sha256: a SHA-256 is 64 hex digits"),
        ("[[tokens]]\ntoken = \"0123456789abcdef\"", "tokens[1].right: a token has a right"),
        ("[[tokens]]\ntoken = \"0123456789abcdef\"\nright = \"watch\"", "tokens[1].stream: only an admin's"),
    ];

    for (text, message) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(message), "{error}\nshould begin with\n{message}");
        assert!(!error.contains("0123456789abcdef") && !error.contains("short"), "no token is repeated: {error}");
    }
}

#[test]
fn a_file_is_read_into_the_settings_of_each_floor() {
    let config = parse(
        r#"
        [http]
        listen = "127.0.0.1:9000"
        tls = "files"
        tls_cert = "chain.pem"
        tls_key = "key.pem"
        public_url = "https://live.example.org/"
        header_timeout = "7s"
        [media]
        listen = "0.0.0.0:9001"
        public_addresses = ["203.0.113.5"]
        workers = 3
        max_sessions = 50
        [streams]
        watch = "token"
        max_viewers = 10
        [stream.talk]
        idle = "wait"
        max_viewers = 0
        [[tokens]]
        token = "a-token-of-my-camera"
        stream = "talk"
        right = "publish"
        [[tokens]]
        token_sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
        right = "admin"
        "#,
    )
    .expect("good");

    assert_eq!(config.http.listen, SocketAddr::from(([127, 0, 0, 1], 9000)));
    let (cert, key) = ("chain.pem".into(), "key.pem".into());
    assert_eq!(config.http.tls, Some(http::Tls::Files { cert, key }));
    assert_eq!(config.http.public_url.as_deref(), Some("https://live.example.org"));
    assert_eq!(config.http.limits.head, Duration::from_secs(7));
    assert_eq!((config.media.workers, config.max_sessions), (NonZeroUsize::new(3), 50));
    assert!(config.media.max_sessions > 50);
    assert_eq!(config.public_addresses, [IpAddr::from([203, 0, 113, 5])]);
    let talk = StreamPolicy { idle: IdlePolicy::Wait, watch: WatchPolicy::Token, ..StreamPolicy::default() };
    assert_eq!(config.policies.of(&name("talk")), Some(&talk));
    assert_eq!(config.policies.default.max_viewers, Some(10));
    assert_eq!(config.tokens[0].sha256, tokens::sha256("a-token-of-my-camera"));
    assert_eq!(config.tokens[0].identity.subject, "publisher:talk");
    assert_eq!(config.tokens[1].sha256, tokens::sha256("test"));
    assert_eq!((config.tokens[1].identity.subject.as_str(), &config.tokens[1].identity.stream), ("admin", &None));
}

#[test]
fn every_key_has_its_variable() {
    let config = with_environment(&[
        ("TRIBUNE_HTTP_LISTEN", "127.0.0.1:1"),
        ("TRIBUNE_HTTP_TLS", "self-signed"),
        ("TRIBUNE_HTTP_BODY_TIMEOUT", "1m"),
        ("TRIBUNE_HTTP_TRUSTED_PROXIES", ""),
        ("TRIBUNE_MEDIA_PUBLIC_ADDRESSES", "203.0.113.5, 2001:db8::5"),
        ("TRIBUNE_MEDIA_MAX_SESSIONS", "7"),
        ("TRIBUNE_STREAMS_PROVISIONED_ONLY", "true"),
        ("TRIBUNE_STREAM", r#"{ talk = { watch = "token" } }"#),
        ("TRIBUNE_TOKENS", r#"[{ token = "a-token-of-my-camera", stream = "talk", right = "publish" }]"#),
        ("TRIBUNE_STATE_DIR", "/var/lib/tribune"),
        ("PATH", "/bin"),
        ("TRIBUNE_SERVICE_HOST", "10.0.0.1"),
    ])
    .expect("good");

    assert_eq!(config.http.listen, SocketAddr::from(([127, 0, 0, 1], 1)));
    assert!(matches!(config.http.tls, Some(http::Tls::SelfSigned { .. })));
    assert_eq!(config.http.limits.body, Duration::from_mins(1));
    assert!(config.http.trusted_proxies.is_empty());
    assert_eq!(config.public_addresses.len(), 2);
    assert_eq!(config.max_sessions, 7);
    assert!(config.policies.provisioned_only && !config.policies.watch_is_open(&name("talk")));
    assert_eq!(config.tokens.len(), 1);
    assert_eq!(config.state_dir, Some("/var/lib/tribune".into()));
}

#[test]
fn a_wrong_variable_is_named_and_a_token_in_it_is_not() {
    let cases = [
        ("TRIBUNE_HTTP_LISTEN", "here", "TRIBUNE_HTTP_LISTEN: \"here\" is not an address"),
        ("TRIBUNE_MEDIA_WORKERS", "many", "TRIBUNE_MEDIA_WORKERS: \"many\" is not a number"),
        ("TRIBUNE_STREAMS_PROVISIONED_ONLY", "yes", "TRIBUNE_STREAMS_PROVISIONED_ONLY: \"yes\" is not true or false"),
        ("TRIBUNE_TOKENS", "[{ token = \"secret\"", "TRIBUNE_TOKENS: not a TOML value"),
        ("TRIBUNE_TOKENS", "secret", "TRIBUNE_TOKENS:"),
        ("TRIBUNE_TOKENS", "[{ token = 1, right = \"secret\" }]", "TRIBUNE_TOKENS:"),
        ("TRIBUNE_LOG_LEVEL", "loud", "TRIBUNE_LOG_LEVEL: unknown variant"),
    ];

    for (name, value, message) in cases {
        let error = with_environment(&[(name, value)]).expect_err(name);
        assert!(error.starts_with(message) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn flags_win_over_variables() {
    let variables = [("TRIBUNE_HTTP_LISTEN".to_owned(), "127.0.0.1:1".to_owned())];
    let flags = [("http.listen", "127.0.0.1:2".to_owned())];

    let config = Config::load(None, variables.into_iter(), &flags).expect("good");

    assert_eq!(config.http.listen.port(), 2);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/my.toml")), std::iter::empty(), &[]).expect_err("not there");

    assert!(error.to_string().starts_with("/nowhere/my.toml: "), "{error}");
}

#[test]
fn variables_that_nobody_reads_are_found() {
    let names = ["TRIBUNE_HTTP_LISTEN", "TRIBUNE_CONFIG", "TRIBUNE_HTTP_LISEN", "TRIBUNE_PORT_8080_TCP", "HOME"];

    assert_eq!(unknown_variables(names.iter().map(|name| (*name).to_owned())), ["TRIBUNE_HTTP_LISEN"]);
}

#[test]
fn the_state_directory_is_where_the_system_wants_it() {
    let configured = Config { state_dir: Some("mine".into()), ..Config::default() };
    let all = |name: &str| match name {
        "STATE_DIRECTORY" => Some("/var/lib/tribune:/var/lib/other".to_owned()),
        "XDG_STATE_HOME" => Some("/xdg".to_owned()),
        "HOME" => Some("/home/me".to_owned()),
        _ => None,
    };
    let only = |wanted: &'static str| move |name: &str| all(name).filter(|_| name == wanted);

    assert_eq!(state_dir(&configured, all), Path::new("mine"));
    assert_eq!(state_dir(&Config::default(), all), Path::new("/var/lib/tribune"));
    assert_eq!(state_dir(&Config::default(), only("XDG_STATE_HOME")), Path::new("/xdg/tribune"));
    assert_eq!(state_dir(&Config::default(), only("HOME")), Path::new("/home/me/.local/state/tribune"));
    assert_eq!(state_dir(&Config::default(), |_| None), Path::new(".tribune"));
}
