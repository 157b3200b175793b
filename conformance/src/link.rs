//! `Link` fields, read as strictly as RFC 8288 §3 writes them: what lenient parsers repair is an error here.

/// One link value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Between `<` and `>`.
    pub(crate) target: String,
    /// In order; names in lower case, values without quotes.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Link {
    /// The first parameter of that name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// True when it has that relation type.
    pub(crate) fn is(&self, relation: &str) -> bool {
        self.parameter("rel").is_some_and(|rel| rel.split(' ').any(|r| r.eq_ignore_ascii_case(relation)))
    }
}

/// Reads one field value, which may hold several links.
///
/// # Errors
/// A sentence that says what breaks the grammar.
pub(crate) fn parse(field: &str) -> Result<Vec<Link>, String> {
    let mut links = Vec::new();
    let mut rest = field.trim();
    while !rest.is_empty() {
        let inner = rest.strip_prefix('<').ok_or_else(|| format!("no < at {:?}", start(rest)))?;
        let (target, after) = inner.split_once('>').ok_or("no > after <")?;
        let mut link = Link { target: target.to_owned(), parameters: Vec::new() };
        rest = after.trim_start();
        while let Some(after) = rest.strip_prefix(';') {
            let (parameter, after) = parameter(after.trim_start())?;
            link.parameters.push(parameter);
            rest = after.trim_start();
        }
        links.push(link);
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return Err(format!("neither ; nor , before {:?}", start(rest))),
        }
    }
    Ok(links)
}

/// `name=value` or `name="value"`, and what follows.
fn parameter(text: &str) -> Result<((String, String), &str), String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return Err(format!("no parameter name at {:?}", start(text)));
    }
    let name = name.to_ascii_lowercase();
    let Some(rest) = rest.trim_start().strip_prefix('=') else {
        return Ok(((name, String::new()), rest));
    };
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        let wrong = value.is_empty() || rest.starts_with([':', '/', '@', '=']);
        return if wrong { Err(format!("{name} needs quotes")) } else { Ok(((name, value.to_owned()), rest)) };
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok(((name, value), quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err(format!("{name} has no closing quote"))
}

/// Enough of a text to recognise it.
fn start(text: &str) -> String {
    text.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_with_commas_and_semicolons_inside_quotes() {
        let links =
            parse("<turn:t?transport=udp>; rel=\"ice-server\"; username=\"a,b;c\\\"\", <stun:s>;rel=ice-server");

        let links = links.unwrap();
        assert_eq!(links.len(), 2);
        assert_eq!(
            (links[0].target.as_str(), links[0].parameter("username")),
            ("turn:t?transport=udp", Some("a,b;c\""))
        );
        assert!(links[1].is("ice-server") && !links[1].is("ice"));
    }

    #[test]
    fn what_lenient_parsers_repair_is_an_error() {
        for field in
            ["x", "<a", "<a> rel=\"x\"", "<a>; rel=\"x", "<a>; rel=\"x\" events=\"y\"", "<a>; rel=urn:x", "<a>; ="]
        {
            assert!(parse(field).is_err(), "{field}");
        }
        assert_eq!(parse(""), Ok(vec![]));
    }
}
