//! What a person needs to begin: addresses to type and to click.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;
use crate::control::auth::Right;
use crate::control::stream::StreamName;
use crate::control::tokens::Token;
use crate::http::{Tls, qr};

/// Where the server's pages are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// From this machine: scheme, host and port.
    here: String,
    /// From other machines, as far as that is known.
    elsewhere: Option<String>,
    /// The certificate is one that browsers warn about.
    self_signed: bool,
}

impl Links {
    /// For a server that listens on `http` and is reached at `candidates`, the best first.
    pub fn new(config: &Config, http: SocketAddr, candidates: &[SocketAddr]) -> Self {
        let scheme = if config.http.tls.is_some() { "https" } else { "http" };
        let url = |host: String| format!("{scheme}://{host}:{}", http.port());
        let ip = http.ip().to_canonical();
        let (here, elsewhere) = if let Some(public) = &config.http.public_url {
            (public.clone(), Some(public.clone()))
        } else if ip.is_unspecified() {
            (url("localhost".to_owned()), elsewhere(http, candidates).map(|ip| url(host(ip))))
        } else {
            (url(host(ip)), (!ip.is_loopback()).then(|| url(host(ip))))
        };
        Self { here, elsewhere, self_signed: matches!(config.http.tls, Some(Tls::SelfSigned { .. })) }
    }

    /// The page that a token is for. The token is in the fragment, which no browser ever sends.
    pub fn page(&self, right: Right, stream: Option<&StreamName>, token: &Token) -> String {
        let base = match right {
            Right::Publish | Right::Admin => self.of_presenter(),
            Right::Watch => self.of_viewers(),
        };
        match (right, stream) {
            (Right::Publish, Some(stream)) => format!("{base}/publish/{stream}#{}", token.reveal()),
            (Right::Watch, Some(stream)) => format!("{base}/watch/{stream}#{}", token.reveal()),
            (Right::Admin, _) | (_, None) => format!("{base}/admin#{}", token.reveal()),
        }
    }

    /// What is printed at start.
    pub fn welcome(&self, at: &Listening<'_>, stream: &StreamName, token: &Token) -> String {
        let mut text = format!(
            "Tribune {} is up: HTTP on {} (TCP), media on {} (UDP)\n\n",
            env!("CARGO_PKG_VERSION"),
            at.http,
            at.media
        );
        let mut line = |name: &str, value: &str| {
            writeln!(text, "  {name:<20}{value}").expect("writing to a string succeeds");
        };
        line("Present with OBS", "Settings > Stream");
        line("  Service", "WHIP");
        line("  Server", &format!("{}/whip/{stream}", self.here));
        line("  Bearer Token", token.reveal());
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|elsewhere| **elsewhere != self.here) {
            line("  from elsewhere", &format!("{elsewhere}/whip/{stream}"));
        }
        if self.self_signed {
            line("", "(OBS does not take a self-signed certificate: use plain HTTP for it, or a real one)");
        }
        line("Present by browser", &self.page(Right::Publish, Some(stream), token));
        if !self.gives_cameras() {
            line("", "(no camera there: browsers want https or localhost; try --tls self-signed)");
        }
        line("Watch", &format!("{}/watch/{stream}", self.of_viewers()));
        if self.self_signed {
            line("", "(the browser warns that it does not know this certificate: it was made by this server just now;");
            line("", "on your own network choose \"Advanced\" and go on; the connection is encrypted all the same)");
        }
        let candidates: Vec<String> = at.candidates.iter().map(ToString::to_string).collect();
        line("Media goes to", &candidates.join(", "));
        line("", "(wrong for your viewers? Set media.public_addresses)");
        line("Run the show", &format!("{} token --admin", at.program));
        line("", "(prints the link of the page that shows who is there, makes links, keeps reports)");
        line("More tokens", &format!("{} token --stream talk --publish --for 2h", at.program));
        line("", "(the token above is for 12 hours; anybody who has it can present)");
        text
    }

    /// The viewers' link as a QR code for a terminal, for a telephone to join; nothing when none could.
    pub fn code(&self, stream: &StreamName) -> String {
        let link = self.elsewhere.as_ref().map(|base| format!("{base}/watch/{stream}"));
        let code = link.as_deref().and_then(qr::blocks);
        code.map(|code| format!("\n  Watch on a telephone\n\n{code}")).unwrap_or_default()
    }

    /// Where a presenter's browser gives its camera: this machine, or https.
    fn of_presenter(&self) -> &str {
        let secure = self.elsewhere.as_ref().filter(|url| url.starts_with("https://"));
        secure.unwrap_or(&self.here)
    }

    fn of_viewers(&self) -> &str {
        self.elsewhere.as_ref().unwrap_or(&self.here)
    }

    /// Browsers give cameras to secure contexts only (W3C Secure Contexts §3.1).
    fn gives_cameras(&self) -> bool {
        let url = self.of_presenter();
        ["https://", "http://localhost", "http://127.", "http://[::1]"].iter().any(|secure| url.starts_with(secure))
    }
}

/// Where the server is to be found.
#[derive(Clone, Copy, Debug)]
pub struct Listening<'a> {
    /// The TCP socket.
    pub http: SocketAddr,
    /// The UDP socket.
    pub media: SocketAddr,
    /// What answers say about it.
    pub candidates: &'a [SocketAddr],
    /// What the program was started as.
    pub program: &'a str,
}

/// Where other machines reach a server that listens on `http` and is reached at `candidates`, if it listens everywhere.
pub fn elsewhere(http: SocketAddr, candidates: &[SocketAddr]) -> Option<IpAddr> {
    let other = candidates.iter().map(SocketAddr::ip).find(|ip| !ip.is_loopback());
    other.filter(|_| http.ip().to_canonical().is_unspecified())
}

/// Names for a certificate of our own making: this machine, by every name that somebody could type.
pub fn certificate_names(config: &Config, candidates: &[SocketAddr], hostname: Option<String>) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    names.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(|ip| ip.to_string()));
    names.extend(candidates.iter().map(|candidate| candidate.ip().to_string()));
    names.extend(hostname);
    let public = config.http.public_url.as_deref().and_then(|url| url.split_once("://"));
    names.extend(public.map(|(_, host)| without_port(host).to_owned()));
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// `[::1]:80` → `::1`, `host:80` → `host`.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// An address as a URL has it.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::control::auth::Identity;
    use crate::control::tokens::Secret;

    fn config(tls: Option<Tls>, public_url: Option<&str>) -> Config {
        let mut config = Config::default();
        config.http.tls = tls;
        config.http.public_url = public_url.map(str::to_owned);
        config
    }

    fn self_signed() -> Tls {
        Tls::SelfSigned { names: Vec::new() }
    }

    fn links(config: &Config, http: &str) -> Links {
        Links::new(config, http.parse().expect("an address"), &[([192, 168, 1, 5], 8080).into()])
    }

    fn token() -> Token {
        let thread = std::thread::current().id();
        let name = format!("tribune-links-{}-{thread:?}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let secret = Secret::load_or_create(&dir).expect("a secret");
        std::fs::remove_dir_all(&dir).expect("removed");
        let who = Identity { subject: "a".to_owned(), stream: Some(live()), right: Right::Publish };
        secret.sign(&who, Duration::from_mins(1), SystemTime::now())
    }

    fn live() -> StreamName {
        "live".parse().expect("a name")
    }

    #[test]
    fn a_presenter_gets_localhost_and_viewers_the_network() {
        let links = links(&config(None, None), "[::]:8080");
        let token = token();

        let publish = links.page(Right::Publish, Some(&live()), &token);
        let watch = links.page(Right::Watch, Some(&live()), &token);

        assert_eq!(publish, format!("http://localhost:8080/publish/live#{}", token.reveal()));
        assert_eq!(watch, format!("http://192.168.1.5:8080/watch/live#{}", token.reveal()));
        assert!(links.gives_cameras());
    }

    #[test]
    fn with_tls_the_network_is_for_presenters_too() {
        let links = links(&config(Some(self_signed()), None), "[::]:8443");

        assert_eq!(
            (links.of_presenter(), links.of_viewers()),
            ("https://192.168.1.5:8443", "https://192.168.1.5:8443")
        );
    }

    #[test]
    fn a_public_url_is_used_for_everything() {
        let links = links(&config(None, Some("https://live.example.org")), "127.0.0.1:8080");

        assert_eq!(
            (links.of_presenter(), links.of_viewers()),
            ("https://live.example.org", "https://live.example.org")
        );
    }

    #[test]
    fn a_server_on_one_address_is_linked_there() {
        let loopback = links(&config(None, None), "127.0.0.1:9000");
        let lan = links(&config(None, None), "192.168.1.5:9000");

        assert_eq!(
            (loopback.of_presenter(), loopback.of_viewers()),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000")
        );
        assert!(loopback.gives_cameras() && !lan.gives_cameras());
    }

    #[test]
    fn the_welcome_has_all_that_a_person_needs() {
        let links = links(&config(None, None), "[::]:8080");
        let candidates = [([192, 168, 1, 5], 8080).into()];
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080));
        let token = token();

        let at = Listening { http: any, media: any, candidates: &candidates, program: "./t" };
        let text = links.welcome(&at, &live(), &token);

        for part in [
            "Service           WHIP",
            "http://localhost:8080/whip/live",
            &format!("Bearer Token      {}", token.reveal()),
            &format!("http://localhost:8080/publish/live#{}", token.reveal()),
            "http://192.168.1.5:8080/watch/live",
            "192.168.1.5:8080",
            "./t token --stream talk",
            "./t token --admin",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("self-signed"));
    }

    #[test]
    fn the_welcome_says_where_no_camera_will_be_given() {
        let links = links(&config(None, None), "192.168.1.5:8080");
        let any = SocketAddr::from(([192, 168, 1, 5], 8080));

        let at = Listening { http: any, media: any, candidates: &[any], program: "tribune" };
        let text = links.welcome(&at, &live(), &token());

        assert!(text.contains("--tls self-signed"), "{text}");
    }

    #[test]
    fn a_telephone_gets_a_code_where_it_can_come() {
        let shown = links(&config(None, None), "[::]:8080").code(&live());
        let lines = qr::blocks("http://192.168.1.5:8080/watch/live").expect("short enough");

        assert!(shown.ends_with(&lines), "{shown}");
        assert_eq!(links(&config(None, None), "127.0.0.1:8080").code(&live()), "");
    }

    #[test]
    fn a_certificate_is_for_every_name_of_the_machine_once() {
        let candidates = [([192, 168, 1, 5], 8080).into(), ([127, 0, 0, 1], 8080).into()];
        let config = config(Some(self_signed()), Some("https://[2001:db8::5]:8443"));

        let names = certificate_names(&config, &candidates, Some("studio".to_owned()));

        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "192.168.1.5", "studio", "2001:db8::5"]);
    }
}
