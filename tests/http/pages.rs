//! The pages, built in and from a directory.

use crate::harness::{Dir, House, Reply};

fn assert_secure(reply: &Reply, what: &str) {
    let policy = reply.header("content-security-policy").expect(what);
    let (own, ancestors) = policy.split_once("; frame-ancestors ").expect(what);
    let strict = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                  media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'";
    assert_eq!(own, strict, "{what}: nothing inline, nothing from elsewhere");
    assert!(!ancestors.contains(';'), "{what}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{what}");
    assert!(reply.header("permissions-policy").expect(what).contains("camera="), "{what}");
    assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"), "{what}");
    assert_eq!(reply.header("strict-transport-security"), None, "{what}: plain HTTP makes no such promise");
}

#[tokio::test]
async fn the_built_in_pages_bring_everything_they_name() {
    let house = House::new();
    let mut named = 0;

    for path in ["/", "/publish/live", "/watch/live", "/embed/live", "/admin", "/admin/reports/1"] {
        let page = house.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_secure(&page, path);
        let text = String::from_utf8(page.body).expect("text");
        for attribute in ["src=\"", "href=\""] {
            let mut targets = text.split(attribute).skip(1);
            assert!(
                targets.all(|to| to.starts_with('/') && !to.starts_with("//")),
                "{path}: {attribute} of another host"
            );
        }
        let links = text.split(['"', '\'']).filter(|t| t.starts_with("/static/") || *t == "/favicon.svg");
        for link in links {
            let file = house.get(link).await;
            assert_eq!(file.status, 200, "{path} names {link}");
            assert_secure(&file, link);
            named += 1;
        }
    }
    assert!(named > 3);
    house.get("/static/nothing.js").await.assert_problem(404, "no such file");
    house.get("/watch/not.a.name").await.assert_problem(404, "no such name");
    house.shut_down().await;
}

#[tokio::test]
async fn a_page_may_do_what_it_is_for() {
    let house = House::with(|settings| settings.frame_ancestors = vec!["https://example.org".into()]);

    for (path, camera, ancestors) in [
        ("/publish/live", "camera=(self)", "frame-ancestors 'none'"),
        ("/watch/live", "camera=()", "frame-ancestors 'none'"),
        ("/embed/live", "camera=()", "frame-ancestors https://example.org"),
    ] {
        let page = house.get(path).await;
        assert!(page.header("permissions-policy").expect(path).contains(camera), "{path}");
        assert!(page.header("content-security-policy").expect(path).ends_with(ancestors), "{path}");
    }
    house.shut_down().await;
}

#[tokio::test]
async fn a_page_that_the_client_has_is_not_sent_again() {
    let house = House::new();
    let first = house.get("/").await;
    let etag = first.header("etag").expect("an ETag");

    let again = house.ask("GET", "/", &[("If-None-Match", etag)], b"").await;
    let head = house.ask("HEAD", "/", &[], b"").await;

    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(etag));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), first.header("content-length"));
    house.shut_down().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_replaces_the_pages_and_nothing_outside_is_served() {
    let (web, outside) = (Dir::new(), Dir::new());
    std::fs::write(outside.path().join("secret.js"), "secret").unwrap();
    std::fs::write(web.path().join("index.html"), "<!doctype html><title>mine</title>").unwrap();
    std::fs::write(web.path().join("inside.js"), "1").unwrap();
    std::fs::create_dir(web.path().join("folder")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.js"), web.path().join("link.js")).unwrap();
    std::os::unix::fs::symlink(outside.path(), web.path().join("way")).unwrap();
    std::os::unix::fs::symlink("inside.js", web.path().join("alias.js")).unwrap();
    let house = House::with(|settings| settings.web_dir = Some(web.path().to_owned()));

    let page = house.get("/").await;
    assert_eq!(page.body, b"<!doctype html><title>mine</title>");
    assert_secure(&page, "/");
    assert_eq!(house.get("/static/alias.js").await.body, b"1", "links inside are fine");
    for path in ["/static/link.js", "/static/way/secret.js", "/static/folder", "/watch/live"] {
        house.get(path).await.assert_problem(404, path);
    }

    std::fs::write(web.path().join("index.html"), "changed").unwrap();
    std::fs::write(web.path().join("watch.html"), "new").unwrap();
    let changed = house.get("/").await;
    assert_eq!(changed.body, b"changed", "without a restart");
    assert_ne!(changed.header("etag"), page.header("etag"));
    assert_eq!(house.get("/watch/live").await.body, b"new");
    house.shut_down().await;
}

#[tokio::test]
async fn browsers_are_told_to_insist_on_https_where_it_is_the_public_way() {
    let house = House::with(|settings| settings.public_url = Some("https://live.example".into()));

    assert!(house.get("/").await.header("strict-transport-security").is_some());
    house.shut_down().await;
}
