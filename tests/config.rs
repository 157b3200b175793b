//! The shipped `config.toml`, and the `tribune` command as a shell sees it: exit codes, what is printed, signals.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tribune::config::Config;

/// A state directory of our own, removed at the end.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// The command, without anything of the environment that could be a setting.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tribune"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env_clear().env("TRIBUNE_STATE_DIR", self.0.join("state"));
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("started")
    }

    fn file(&self, text: &str) -> String {
        let path = self.0.join("my.toml");
        fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn the_shipped_file_is_exactly_the_default() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");

    assert_eq!(Config::load(Some(&shipped), std::iter::empty(), &[]).expect("good"), Config::default());
}

#[test]
fn a_wrong_configuration_is_told_in_one_line_and_with_code_64() {
    let home = Home::new("wrong");
    let file = home.file("[http]\nlisten = \"[::]:8080\"\nlisen = \"\"\n");

    for words in [&["config", "check", &file][..], &["--config", &file], &["serve", "--http", "nowhere"]] {
        let output = home.run(words);
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(64), 1), "{words:?}: {error}");
    }
    let error = text(&home.run(&["config", "check", &file]).stderr);
    assert!(error.contains("my.toml:3: http.lisen: unknown field"), "{error}");
}

#[test]
fn a_good_configuration_is_called_good() {
    let home = Home::new("good");
    let file = home.file("[streams]\nidle = \"wait\"\n");

    assert_eq!(home.run(&["config", "check", &file]).status.code(), Some(0));
}

#[test]
fn wrong_usage_has_code_64_and_help_has_0() {
    let home = Home::new("usage");

    for words in [&["sing"][..], &["token"], &["token", "--stream", "talk"], &["--http"]] {
        assert_eq!(home.run(words).status.code(), Some(64), "{words:?}");
    }
    for words in [&["--help"][..], &["--version"], &["token", "--help"]] {
        assert_eq!(home.run(words).status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn a_token_is_printed_with_its_link() {
    let home = Home::new("token");

    let output = home.run(&["token", "--stream", "talk", "--publish", "--for", "2h"]);
    let printed = text(&output.stdout);
    let lines: Vec<&str> = printed.lines().collect();

    let [token, link] = lines[..] else { panic!("two lines: {printed}") };
    assert!(token.starts_with("trb1."));
    assert_eq!(link, format!("http://localhost:8080/publish/talk#{token}"));
}

#[test]
fn an_exposed_secret_is_refused_with_code_74() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new("exposed");
    assert!(home.run(&["token", "--admin"]).status.success());
    let secret = home.0.join("state/secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("set");

    let output = home.run(&["token", "--admin"]);

    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains("chmod 600"));
}

#[test]
fn a_port_in_use_is_named_with_the_remedy_and_code_74() {
    let home = Home::new("port");
    let (tcp, udp) =
        (TcpListener::bind("127.0.0.1:0").expect("a port"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let any = "127.0.0.1:0".to_owned();
    let (http, media) = (tcp.local_addr().expect("bound").to_string(), udp.local_addr().expect("bound").to_string());

    for (http, media, taken, flag) in [(&http, &any, &http, "--http"), (&any, &media, &media, "--media")] {
        let output = home.run(&["serve", "--http", http, "--media", media]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{error}");
        assert!(error.contains(taken) && error.contains(flag), "{error}");
    }
}

/// A running server, ended by its own handle.
struct Server {
    child: Child,
    welcome: String,
}

impl Server {
    fn start(home: &Home) -> Self {
        let mut command = home.command(&["serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut welcome = String::new();
        // The block ends with an empty line; there is one after its first line too.
        while let Some(Ok(line)) = lines.next()
            && !(line.is_empty() && welcome.contains("Watch"))
        {
            welcome += &line;
            welcome += "\n";
        }
        Self { child, welcome }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("started").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_says_where_it_is_and_ends_when_asked() {
    let home = Home::new("serve");

    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&home);
        assert!(
            server.welcome.contains("/publish/live#trb1.") && server.welcome.contains("/whip/live"),
            "{}",
            server.welcome
        );

        server.signal(signal);

        assert_eq!(server.child.wait().expect("ended").code(), Some(0));
    }
}
