//! The pages and what they load: built in, or from a directory.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use hyper::{Response, StatusCode};

use super::body::Body;
use super::problem::Problem;

/// All the files, and what their pages may do.
#[derive(Debug)]
pub(super) struct Pages {
    source: Source,
    /// The policy of most pages: nobody may frame them.
    policy: HeaderValue,
    /// The policy of the page that is made to be framed.
    embed_policy: HeaderValue,
}

/// Where the files are.
#[derive(Debug)]
enum Source {
    /// In the program.
    Embedded,
    /// In this directory; its path is canonical.
    Directory(PathBuf),
}

/// What a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be looked at.
    Show,
    /// To present: with camera, microphone and screen.
    Present,
    /// To be shown in somebody else's page.
    Embed,
}

impl Pages {
    /// From a directory if there is one to take. `servers` are the origins besides our own that pages may call, and
    /// `ancestors` those whose pages may frame the embedded player: origins, `self` or `*`.
    /// # Errors
    /// When the directory cannot be read, or an origin cannot stand in a header.
    pub(super) fn new(directory: Option<&Path>, servers: &[String], ancestors: &[String]) -> io::Result<Self> {
        let ancestors: Vec<&str> = ancestors.iter().map(|a| if a == "self" { "'self'" } else { a }).collect();
        let source = match directory {
            None => Source::Embedded,
            Some(directory) => Source::Directory(root(directory)?),
        };
        Ok(Self { source, policy: policy(servers, &[])?, embed_policy: policy(servers, &ancestors)? })
    }

    /// One file by its name relative to the root, which the route has checked: plain names with `/` between.
    /// # Errors
    /// `NoResource`.
    pub(super) async fn page(
        &self,
        name: &str,
        purpose: Purpose,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Problem> {
        let data = match &self.source {
            Source::Embedded => embedded(name),
            Source::Directory(root) => read(root.clone(), name.to_owned()).await,
        };
        let mut response = respond(name, data.ok_or(Problem::NoResource)?, headers);
        let (policy, permissions) = match purpose {
            Purpose::Show => (&self.policy, WATCHING),
            Purpose::Present => (&self.policy, PRESENTING),
            Purpose::Embed => (&self.embed_policy, WATCHING),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
        headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(permissions));
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
        Ok(response)
    }
}

/// The directory itself, whatever links lead to it.
fn root(directory: &Path) -> io::Result<PathBuf> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("web_dir {}: {e}", directory.display()));
    let root = directory.canonicalize().map_err(named)?;
    if root.is_dir() { Ok(root) } else { Err(named(io::ErrorKind::NotADirectory.into())) }
}

/// Nothing inline and nothing from elsewhere. Other servers of ours may be called: a viewer may be sent there.
fn policy(servers: &[String], ancestors: &[&str]) -> io::Result<HeaderValue> {
    let servers: String = servers.iter().flat_map(|server| [" ", server]).collect();
    let ancestors = if ancestors.is_empty() { "'none'".to_owned() } else { ancestors.join(" ") };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
         connect-src 'self'{servers}; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    );
    HeaderValue::try_from(policy).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

/// A file of the program.
fn embedded(name: &str) -> Option<Bytes> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, data)| Bytes::from_static(data))
}

/// A file of the directory. Links are followed only as long as they stay inside.
async fn read(root: PathBuf, name: String) -> Option<Bytes> {
    let read = tokio::task::spawn_blocking(move || {
        let path = root.join(name).canonicalize().ok()?;
        let regular = path.starts_with(&root) && path.is_file();
        let small = path.metadata().is_ok_and(|about| about.len() <= MAX_FILE);
        if regular && small { std::fs::read(path).ok() } else { None }
    });
    read.await.ok().flatten().map(Bytes::from)
}

/// The file with its headers, or 304 when the client has it.
fn respond(name: &str, data: Bytes, request: &HeaderMap) -> Response<Body> {
    let etag = entity_tag(&data);
    let known = request.get_all(IF_NONE_MATCH).iter().any(|value| names(value, &etag));
    let mut response = Response::new(if known { Body::default() } else { Body::from(data) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    // Asked for anew each time, answered by 304: a new version shows at once.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// A strong entity-tag of what is in the file.
fn entity_tag(data: &[u8]) -> String {
    let hash = digest(&SHA256, data);
    let start = hash.as_ref().iter().take(16).fold(0, |number: u128, &byte| number << 8 | u128::from(byte));
    format!("\"{start:032x}\"")
}

/// Is the tag in an `If-None-Match` list? The comparison is weak (RFC 9110 §13.1.2).
fn names(list: &HeaderValue, etag: &str) -> bool {
    let list = list.to_str().unwrap_or_default();
    list.split(',').map(str::trim).any(|item| item == "*" || item.trim_start_matches("W/") == etag)
}

/// By the extension of the name.
fn media_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Every file of `web/` with its name; `build.rs` lists them.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Largest file served from a directory, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// For those who present.
const PRESENTING: &str = "camera=(self), microphone=(self), display-capture=(self), autoplay=(self)";

/// For everybody else.
const WATCHING: &str = "camera=(), microphone=(), display-capture=(), autoplay=(self)";

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;

    #[test]
    fn every_built_in_file_has_a_media_type_of_its_own() {
        for (name, data) in FILES {
            assert_ne!(media_type(name), "application/octet-stream", "{name}");
            assert!(!data.is_empty(), "{name}");
        }
    }

    #[test]
    fn pages_carry_no_inline_script_or_style() {
        for (name, data) in FILES.iter().filter(|(name, _)| media_type(name).starts_with("text/html")) {
            let text = String::from_utf8_lossy(data).to_lowercase();
            assert!(!text.contains("<style") && !text.contains(" style="), "{name}: the policy forbids inline style");
            assert!(
                !text.contains("<script>") && !text.contains(" onclick="),
                "{name}: the policy forbids inline script"
            );
        }
    }

    /// The file and all that it loads, now or later.
    fn with_what_it_loads(name: &str, seen: &mut Vec<&'static str>) {
        let Some((name, data)) = FILES.iter().find(|(known, _)| *known == name) else {
            return;
        };
        if seen.contains(name) {
            return;
        }
        seen.push(name);
        for word in String::from_utf8_lossy(data).split(['"', '\'']) {
            let word = word.strip_prefix("/static/").or_else(|| word.strip_prefix("./"));
            with_what_it_loads(word.unwrap_or_default(), seen);
        }
    }

    #[test]
    fn the_watch_page_is_light() {
        let mut loaded = vec!["favicon.svg"];
        with_what_it_loads("watch.html", &mut loaded);

        let weight = |extension: &str| -> usize {
            let of = loaded.iter().filter(|name| name.ends_with(extension));
            of.map(|name| embedded(name).expect("it was found").len()).sum()
        };
        assert!(loaded.len() > 5, "{loaded:?}");
        assert!(weight(".js") < 30 * 1024, "{} bytes of script", weight(".js"));
        assert!(weight("") < 60 * 1024, "{} bytes in all", weight(""));
    }

    #[test]
    fn only_the_embedded_player_may_be_framed_and_by_whom_it_is_said() {
        let origins = |list: &[&str]| list.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>();
        let framed = |list: &[&str]| {
            let pages = Pages::new(None, &origins(&["https://b.example"]), &origins(list)).expect("good origins");
            let text = |policy: &HeaderValue| policy.to_str().expect("text").to_owned();
            assert!(text(&pages.policy).ends_with("frame-ancestors 'none'"));
            assert!(text(&pages.policy).contains("connect-src 'self' https://b.example;"));
            text(&pages.embed_policy)
        };

        assert!(framed(&["*"]).ends_with("frame-ancestors *"));
        assert!(framed(&["self", "https://a.example"]).ends_with("frame-ancestors 'self' https://a.example"));
        assert!(framed(&[]).ends_with("frame-ancestors 'none'"));
        assert!(Pages::new(None, &[], &origins(&["a\nb"])).is_err());
    }

    #[test]
    fn a_client_that_has_the_file_gets_304() {
        let data = Bytes::from_static(b"body{}");
        let etag = entity_tag(&data);
        let ask = |value: &str| {
            let mut request = HeaderMap::new();
            request.insert(IF_NONE_MATCH, HeaderValue::from_str(value).expect("a header value"));
            respond("a.css", data.clone(), &request)
        };

        for value in [etag.clone(), format!("\"x\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
            let response = ask(&value);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{value}");
            assert!(response.body().is_end_stream());
            assert_eq!(response.headers()[ETAG], etag);
        }
        assert_eq!(ask("\"x\"").status(), StatusCode::OK);
    }
}
