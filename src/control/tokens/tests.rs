use std::os::unix::fs::PermissionsExt;

use super::*;

/// A new directory of our own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tribune-test-{}", ids::hex(&ids::random::<8>())));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// A state directory with this secret.
    fn with_secret(&self, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.state().join("secret");
        fs::create_dir(self.state()).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        self.state()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}

fn publisher() -> Identity {
    let stream = Some("talk".parse().expect("a name"));
    Identity { subject: "publisher:talk".to_owned(), stream, right: Right::Publish }
}

fn secret() -> Secret {
    Secret::of(&[1; SECRET_BYTES])
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_token_says_whose_it_is() {
    let now = SystemTime::now();
    let admin = Identity { subject: "root".to_owned(), stream: None, right: Right::Admin };

    for identity in [publisher(), admin] {
        let token = secret().sign(&identity, HOUR, now);

        assert!(is_well_formed(token.reveal()));
        assert_eq!(secret().verify(token.reveal(), now), Some(identity));
    }
}

#[test]
fn a_token_ends_when_it_says() {
    let now = SystemTime::now();
    let token = secret().sign(&publisher(), HOUR, now);

    assert!(secret().verify(token.reveal(), now + HOUR - Duration::from_secs(2)).is_some());
    assert!(secret().verify(token.reveal(), now + HOUR).is_none());
}

#[test]
fn two_tokens_are_never_the_same() {
    let now = SystemTime::now();

    assert_ne!(secret().sign(&publisher(), HOUR, now), secret().sign(&publisher(), HOUR, now));
}

#[test]
fn no_changed_token_is_good() {
    let now = SystemTime::now();
    let token = secret().sign(&publisher(), HOUR, now);
    let good = token.reveal();

    for (at, old) in good.char_indices() {
        let new = if old == 'A' { 'B' } else { 'A' };
        let forged = format!("{}{new}{}", &good[..at], &good[at + old.len_utf8()..]);
        assert_eq!(secret().verify(&forged, now), None, "{at}");
    }
    for cut in 0..good.len() {
        assert_eq!(secret().verify(&good[..cut], now), None, "{cut}");
    }
    assert_eq!(Secret::of(&[2; SECRET_BYTES]).verify(good, now), None);
}

#[test]
fn no_made_up_token_is_good() {
    let now = SystemTime::now();
    let claims = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let admin = claims(r#"{"sub":"x","right":"admin","iat":0,"exp":99999999999,"id":"0"}"#);
    let forged = [
        String::new(),
        ".".to_owned(),
        "trb1.".to_owned(),
        "trb1..".to_owned(),
        format!("trb1.{admin}."),
        format!("trb1.{admin}.{}", URL_SAFE_NO_PAD.encode([0; 32])),
        format!("{}.{admin}.", claims(r#"{"alg":"none"}"#)),
    ];

    for token in forged {
        assert_eq!(secret().verify(&token, now), None, "{token}");
    }
}

#[test]
fn a_signed_token_without_a_stream_is_an_admins_or_nobodys() {
    let now = SystemTime::now();
    let nobody = Identity { stream: None, ..publisher() };

    assert_eq!(secret().verify(secret().sign(&nobody, HOUR, now).reveal(), now), None);
}

#[test]
fn a_secret_is_made_once_and_kept_for_its_owner_alone() {
    let (dir, now) = (Dir::new(), SystemTime::now());

    let first = Secret::load_or_create(&dir.state()).expect("made");
    let again = Secret::load_or_create(&dir.state()).expect("read");

    let token = first.sign(&publisher(), HOUR, now);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(again.verify(token.reveal(), now), Some(publisher()));
    assert_eq!((mode(&dir.state()), mode(&dir.state().join("secret"))), (0o700, 0o600));
    assert_eq!(fs::read_dir(dir.state()).expect("listed").count(), 1, "no draft is left");
}

#[test]
fn two_processes_that_start_at_once_share_one_secret() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    let state = dir.state();

    let secrets: Vec<Secret> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Secret::load_or_create(&state).expect("made or read"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });

    let token = secrets[0].sign(&publisher(), HOUR, now);
    assert!(secrets.iter().all(|secret| secret.verify(token.reveal(), now).is_some()));
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
    for mode in [0o640, 0o604, 0o660, 0o644] {
        let dir = Dir::new();
        let state = dir.with_secret(&[0; 32], mode);

        let error = Secret::load_or_create(&state).expect_err("refused").to_string();

        assert!(error.contains(&format!("{mode:o}")) && error.contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_damaged_secret_is_refused_and_left_alone() {
    for bytes in [&[][..], &[0; 31], &[0; 33]] {
        let dir = Dir::new();
        let state = dir.with_secret(bytes, 0o600);

        let error = Secret::load_or_create(&state).expect_err("refused").to_string();

        assert!(error.contains(&format!("{} bytes", bytes.len())), "{error}");
        assert_eq!(fs::read(state.join("secret")).expect("still there"), bytes);
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let dir = Dir::new();
    fs::write(dir.state(), b"a file in its place").expect("a file");

    let error = Secret::load_or_create(&dir.state()).expect_err("refused").to_string();

    assert!(error.contains("state/secret") && error.contains("state.dir"), "{error}");
}
