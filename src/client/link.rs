//! `Link` headers (RFC 8288), of which ice servers matter (RFC 9725 §4.6).

/// A STUN or TURN server that the endpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:…`, `turn:…` or `turns:…`.
    pub url: String,
    /// Empty for STUN.
    pub username: String,
    /// Empty for STUN.
    pub credential: String,
}

/// The ice servers of one header field; everything else in it is skipped.
pub(super) fn ice_servers(field: &str) -> Vec<IceServer> {
    split(field, ',').into_iter().take(MAX_SERVERS).filter_map(ice_server).collect()
}

fn ice_server(link: &str) -> Option<IceServer> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme)) {
        return None;
    }
    let parameters = split(parameters, ';');
    let value = |name: &str| {
        parameters.iter().find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| unquote(value.trim()))
        })
    };
    let is_one = value("rel")?.split_ascii_whitespace().any(|rel| rel == "ice-server");
    is_one.then(|| IceServer {
        url: url.to_owned(),
        username: value("username").unwrap_or_default(),
        credential: value("credential").unwrap_or_default(),
    })
}

/// Parts between separators that are neither quoted nor inside `<…>`.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped, mut inside) = (Vec::new(), 0, false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !inside => quoted = !quoted,
            '<' if !quoted => inside = true,
            '>' if !quoted => inside = false,
            c if c == separator && !quoted && !inside => {
                parts.extend(text.get(start..at));
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// Of one header field.
const MAX_SERVERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str, username: &str, credential: &str) -> IceServer {
        IceServer { url: url.into(), username: username.into(), credential: credential.into() }
    }

    #[test]
    fn ice_servers_are_found_among_other_links() {
        let field = r#"<stun:a:3478>; rel="ice-server", </x>; rel="next", <turn:b?transport=udp>; REL=ice-server; username="u,;\"x"; credential="p=="; credential-type="password""#;

        let found = ice_servers(field);

        assert_eq!(found, [server("stun:a:3478", "", ""), server("turn:b?transport=udp", "u,;\"x", "p==")]);
    }

    #[test]
    fn junk_is_no_ice_server() {
        let junk =
            ["", "<", "<>", "<stun:a>", "<stun:a>; rel", "<http://a>; rel=\"ice-server\"", "stun:a; rel=ice-server"];

        assert!(junk.iter().all(|field| ice_servers(field).is_empty()));
        assert_eq!(ice_servers(&"<stun:a>; rel=ice-server,".repeat(100)).len(), MAX_SERVERS);
        assert_eq!(unquote("\""), "\"");
    }
}
