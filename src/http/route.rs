//! The closed table of what can be asked for. A path is decoded exactly once, here.

use std::str::FromStr;

use crate::control::events::EventStreamId;
use crate::control::stream::StreamName;
use crate::media::{Role, SessionId};

use super::api::Call;
use super::problem::Problem;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`
    Home,
    /// `/publish/{stream}`
    PublishPage,
    /// `/watch/{stream}`
    WatchPage,
    /// `/embed/{stream}`
    EmbedPage,
    /// `/admin`
    AdminPage,
    /// `/admin/reports/{id}`
    ReportPage,
    /// `/static/{file}`, with its name relative to the web files; also `/favicon.svg`.
    Static(String),
    /// `/whip/{stream}` and `/{stream}/whip`, `/whep/{stream}` and `/{stream}/whep`
    Endpoint(Role, StreamName),
    /// `/api/whip`, `/api/whep`: the bearer token's own stream is meant.
    EndpointByToken(Role),
    /// `/session/{id}`
    Session(SessionId),
    /// `/session/{id}/layer`
    Layer(SessionId),
    /// `/session/{id}/events`
    Events(SessionId),
    /// `/session/{id}/events/{id}`
    EventStream(SessionId, EventStreamId),
    /// `/session/{id}/timeline`
    Timeline(SessionId),
    /// `/api/v1/…`
    Api(Call),
    /// `/metrics`
    Metrics,
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
}

impl Route {
    /// Finds the route of a path as it stands in the request, still percent-encoded.
    /// # Errors
    /// `BadRequest` for a path that no honest client sends, `NoResource`, `BadStreamName` or `NoSession` for others
    /// that name nothing.
    pub(super) fn of(path: &str) -> Result<Self, Problem> {
        let path = decode(path)?;
        let segments: Vec<&str> = path.strip_prefix('/').ok_or(Problem::NoResource)?.split('/').collect();
        match segments.as_slice() {
            [""] => Ok(Self::Home),
            ["favicon.svg"] => Ok(Self::Static("favicon.svg".to_owned())),
            ["metrics"] => Ok(Self::Metrics),
            ["livez"] => Ok(Self::Live),
            ["readyz"] => Ok(Self::Ready),
            ["api", "v1", call @ ..] => Call::of(call).map(Self::Api),
            ["api", "whip"] => Ok(Self::EndpointByToken(Role::Presenter)),
            ["api", "whep"] => Ok(Self::EndpointByToken(Role::Viewer)),
            ["session", id] => session(id).map(Self::Session),
            ["session", id, "layer"] => session(id).map(Self::Layer),
            ["session", id, "timeline"] => session(id).map(Self::Timeline),
            ["session", id, "events"] => session(id).map(Self::Events),
            ["session", id, "events", stream] => {
                let stream = stream.parse().map_err(|()| Problem::NoSession)?;
                session(id).map(|id| Self::EventStream(id, stream))
            }
            ["publish", name] => stream(name).map(|_| Self::PublishPage),
            ["watch", name] => stream(name).map(|_| Self::WatchPage),
            ["embed", name] => stream(name).map(|_| Self::EmbedPage),
            ["admin"] => Ok(Self::AdminPage),
            ["admin", "reports", id] if !id.is_empty() => Ok(Self::ReportPage),
            ["static", parts @ ..] if parts.iter().all(|part| is_file_name(part)) && !parts.is_empty() => {
                Ok(Self::Static(parts.join("/")))
            }
            ["whip", name] | [name, "whip"] => Ok(Self::Endpoint(Role::Presenter, stream(name)?)),
            ["whep", name] | [name, "whep"] => Ok(Self::Endpoint(Role::Viewer, stream(name)?)),
            _ => Err(Problem::NoResource),
        }
    }

    /// The session that its path names by its URL.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(id) | Self::Layer(id) | Self::Events(id) | Self::EventStream(id, _) | Self::Timeline(id) => {
                Some(*id)
            }
            Self::Home
            | Self::PublishPage
            | Self::WatchPage
            | Self::EmbedPage
            | Self::AdminPage
            | Self::ReportPage
            | Self::Static(_)
            | Self::Endpoint(..)
            | Self::EndpointByToken(_)
            | Self::Api(_)
            | Self::Metrics
            | Self::Live
            | Self::Ready => None,
        }
    }

    /// A fixed word for logs and metric labels.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::PublishPage => "publish",
            Self::WatchPage => "watch",
            Self::EmbedPage => "embed",
            Self::AdminPage => "admin",
            Self::ReportPage => "report",
            Self::Static(_) => "static",
            Self::Endpoint(Role::Presenter, _) | Self::EndpointByToken(Role::Presenter) => "whip",
            Self::Endpoint(Role::Viewer, _) | Self::EndpointByToken(Role::Viewer) => "whep",
            Self::Session(_) => "session",
            Self::Events(_) | Self::EventStream(..) => "events",
            Self::Layer(_) => "layer",
            Self::Timeline(_) => "timeline",
            Self::Api(_) => "api",
            Self::Metrics => "metrics",
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    /// The methods that work here, as the `Allow` header lists them (RFC 9110 §10.2.1).
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Endpoint(..) | Self::EndpointByToken(_) | Self::Events(_) => "GET, HEAD, POST, OPTIONS",
            Self::Api(call) => call.allow(),
            Self::Session(_) => "GET, HEAD, PATCH, DELETE, OPTIONS",
            Self::EventStream(..) => "GET, HEAD, DELETE, OPTIONS",
            Self::Layer(_) => "GET, HEAD, POST, DELETE, OPTIONS",
            Self::Home
            | Self::PublishPage
            | Self::WatchPage
            | Self::EmbedPage
            | Self::AdminPage
            | Self::ReportPage
            | Self::Static(_)
            | Self::Timeline(_)
            | Self::Metrics
            | Self::Live
            | Self::Ready => "GET, HEAD, OPTIONS",
        }
    }
}

/// The session in a path segment.
fn session(segment: &str) -> Result<SessionId, Problem> {
    SessionId::from_str(segment).map_err(|()| Problem::NoSession)
}

/// The name in a path segment.
fn stream(segment: &str) -> Result<StreamName, Problem> {
    segment.parse().map_err(|_| Problem::BadStreamName)
}

/// A plain name: nothing hidden, nothing that means something to a file system.
fn is_file_name(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Undoes percent-encoding once. Encoded slashes, backslashes, dot segments and control characters are refused: a
/// proxy in front may have read them otherwise than we would.
fn decode(path: &str) -> Result<String, Problem> {
    let bad = Problem::BadRequest("the path has a broken or forbidden escape");
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
            return Err(bad);
        };
        match high << 4 | low {
            b'/' | b'\\' | b'%' => return Err(bad),
            byte => decoded.push(byte),
        }
    }
    let Ok(decoded) = String::from_utf8(decoded) else {
        return Err(bad);
    };
    let forbidden = decoded.chars().any(|c| c.is_control() || c == '\\')
        || decoded.split('/').any(|segment| matches!(segment, "." | ".."));
    if forbidden { Err(bad) } else { Ok(decoded) }
}

/// The value of one hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> StreamName {
        name.parse().expect("a good name")
    }

    #[test]
    fn every_known_path_has_its_route() {
        let id = "0123456789abcdef0123456789abcdef";
        let cases = [
            ("/", Route::Home),
            ("/publish/live", Route::PublishPage),
            ("/watch/live", Route::WatchPage),
            ("/embed/live", Route::EmbedPage),
            ("/admin", Route::AdminPage),
            ("/admin/reports/2026-01-01-live-1234", Route::ReportPage),
            ("/static/publish.js", Route::Static("publish.js".into())),
            ("/static/icons/eye.svg", Route::Static("icons/eye.svg".into())),
            ("/favicon.svg", Route::Static("favicon.svg".into())),
            ("/whip/live", Route::Endpoint(Role::Presenter, named("live"))),
            ("/live/whip", Route::Endpoint(Role::Presenter, named("live"))),
            ("/whep/a_-B9", Route::Endpoint(Role::Viewer, named("a_-B9"))),
            ("/live/whep", Route::Endpoint(Role::Viewer, named("live"))),
            ("/whip/l%69ve", Route::Endpoint(Role::Presenter, named("live"))),
            ("/api/whip", Route::EndpointByToken(Role::Presenter)),
            ("/api/whep", Route::EndpointByToken(Role::Viewer)),
            ("/api/v1/streams", Route::Api(Call::Streams)),
            ("/metrics", Route::Metrics),
            ("/livez", Route::Live),
            ("/readyz", Route::Ready),
        ];

        for (path, route) in cases {
            assert_eq!(Route::of(path).ok(), Some(route), "{path}");
        }
        let session: SessionId = id.parse().expect("a good id");
        let stream = id.parse().expect("a good id");
        assert_eq!(Route::of(&format!("/session/{id}")).ok(), Some(Route::Session(session)));
        assert_eq!(Route::of(&format!("/session/{id}/events")).ok(), Some(Route::Events(session)));
        assert_eq!(Route::of(&format!("/session/{id}/layer")).ok(), Some(Route::Layer(session)));
        let path = format!("/session/{id}/events/{id}");
        assert_eq!(Route::of(&path).ok(), Some(Route::EventStream(session, stream)));
    }

    /// How the README writes a route's path.
    fn written(route: &Route) -> &'static str {
        match route {
            Route::Home => "`/`",
            Route::PublishPage => "`/publish/STREAM`",
            Route::WatchPage => "`/watch/STREAM`",
            Route::EmbedPage => "`/embed/STREAM`",
            Route::AdminPage => "`/admin`",
            Route::ReportPage => "`/admin/reports/ID`",
            Route::Static(_) => "`/static/FILE`",
            Route::Endpoint(Role::Presenter, _) => "`/whip/STREAM`, `/STREAM/whip`",
            Route::Endpoint(Role::Viewer, _) => "`/whep/STREAM`, `/STREAM/whep`",
            Route::EndpointByToken(Role::Presenter) => "`/api/whip`",
            Route::EndpointByToken(Role::Viewer) => "`/api/whep`",
            Route::Session(_) => "`/session/ID`",
            Route::Layer(_) => "`/session/ID/layer`",
            Route::Events(_) => "`/session/ID/events`",
            Route::EventStream(..) => "`/session/ID/events/ID`",
            Route::Timeline(_) => "`/session/ID/timeline`",
            Route::Api(_) => "`/api/v1/…`",
            Route::Metrics => "`/metrics`",
            Route::Live => "`/livez`",
            Route::Ready => "`/readyz`",
        }
    }

    #[test]
    fn every_route_is_in_the_readme() {
        let readme = include_str!("../../README.md");
        let (_, paths) = readme.split_once("\n### Every path\n").expect("a section");
        let (paths, _) = paths.split_once("\n## ").expect("another one");
        let id = "0123456789abcdef0123456789abcdef";
        let session = format!("/session/{id}");
        let examples = [
            "/",
            "/publish/a",
            "/watch/a",
            "/embed/a",
            "/admin",
            "/admin/reports/a",
            "/static/a.js",
            "/whip/a",
            "/whep/a",
            "/api/whip",
            "/api/whep",
            "/api/v1/server",
            "/metrics",
            "/livez",
            "/readyz",
            &session,
            &format!("{session}/layer"),
            &format!("{session}/events"),
            &format!("{session}/events/{id}"),
            &format!("{session}/timeline"),
        ];

        for path in examples {
            let route = Route::of(path).expect(path);
            assert!(paths.contains(written(&route)), "{path}: no {} in the table", written(&route));
        }
    }

    #[test]
    fn a_path_that_names_nothing_is_not_found() {
        let paths = [
            "*",
            "//",
            "/nope",
            "/whip",
            "/whip/",
            "/whip/live/",
            "/WHIP/live",
            "/whip/a.b",
            "/whip/live/x",
            "/session/0123",
            "/session/0123456789ABCDEF0123456789ABCDEF",
            "/static",
            "/static/",
            "/static/.hidden",
            "/static/a//b",
            "/api/v2/streams",
        ];

        for path in paths {
            let problem = Route::of(path).err().map(|problem| problem.status().as_u16());
            assert_eq!(problem, Some(404), "{path}");
        }
        assert_eq!(Route::of(&format!("/whip/{}", "a".repeat(65))).err().map(|p| p.status().as_u16()), Some(404));
    }

    #[test]
    fn a_path_with_tricks_is_refused() {
        let paths = [
            "/static/%2e%2e/secret",
            "/static/../secret",
            "/static/./x",
            "/whip%2flive",
            "/whip%2Flive",
            "/whip%5clive",
            "/whip\\live",
            "/whip/live%00",
            "/whip/live%0a",
            "/whip/%25%36%39",
            "/whip/%ff%fe",
            "/whip/%",
            "/whip/%4",
            "/whip/%zz",
            "/whip/%+1",
        ];

        for path in paths {
            let problem = Route::of(path).err().map(|problem| problem.status().as_u16());
            assert_eq!(problem, Some(400), "{path}");
        }
    }
}
