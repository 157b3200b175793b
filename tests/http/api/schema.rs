//! Holds answers against an OpenAPI document. Of JSON Schema it knows what that document uses, and fails on the rest.

use std::collections::BTreeSet;

use serde_json::Value;

/// A document, and which of its answers have been given.
pub struct Document {
    root: Value,
    given: BTreeSet<String>,
}

impl Document {
    pub fn new(bytes: &[u8]) -> Self {
        let root: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(root["openapi"], "3.1.0");
        Self { root, given: BTreeSet::new() }
    }

    /// Every method and path.
    pub fn operations(&self) -> Vec<(String, String)> {
        let paths = self.root["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| (method.to_uppercase(), path.clone()))
        });
        operations.collect()
    }

    /// Answers of the document that nobody was given.
    pub fn not_given(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (method, path) in self.operations() {
            let responses = &self.root["paths"][&path][method.to_lowercase()]["responses"];
            all.extend(
                responses.as_object().expect("responses").keys().map(|status| format!("{method} {path} {status}")),
            );
        }
        assert!(all.len() > 40, "there are answers");
        all.difference(&self.given).cloned().collect()
    }

    /// Fails unless the document has this answer.
    pub fn check(&mut self, method: &str, target: &str, status: u16, media_type: Option<&str>, body: &Value) {
        let asked = target.split('?').next().unwrap_or_default();
        let method = if method == "HEAD" { "GET" } else { method };
        let paths = self.root["paths"].as_object().expect("paths");
        let path = paths.keys().find(|path| matches(path, asked)).unwrap_or_else(|| panic!("{asked} is not described"));
        let what = format!("{method} {path} {status}");
        let response = &self.root["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
        assert!(response.is_object(), "{what} is not described: {body}");
        if let Some(content) = response["content"].as_object() {
            let (wanted, content) = content.iter().next().expect("a media type");
            assert_eq!(media_type, Some(wanted.as_str()), "{what}");
            if wanted.ends_with("json") {
                self.hold(&content["schema"], body, &what).unwrap_or_else(|wrong| panic!("{wrong}\n{body:#}"));
            }
        } else {
            assert!(body.is_null(), "{what} has no content");
        }
        self.given.insert(what);
    }

    /// The types of all events that webhooks are told.
    pub fn webhooks(&self) -> BTreeSet<String> {
        self.root["webhooks"].as_object().expect("webhooks").keys().cloned().collect()
    }

    /// Fails unless this event is as the document has it. Returns its type.
    pub fn check_webhook(&self, event: &Value) -> String {
        let name = event["type"].as_str().expect("a type");
        let content = &self.root["webhooks"][name]["post"]["requestBody"]["content"]["application/json"];
        assert!(content["schema"].is_object(), "{name} is not described: {event}");
        self.hold(&content["schema"], event, name).unwrap_or_else(|wrong| panic!("{wrong}\n{event:#}"));
        name.to_owned()
    }

    fn hold(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        for (word, rule) in schema.as_object().ok_or_else(|| format!("{at}: no schema"))? {
            let good = match word.as_str() {
                "description" | "format" | "pattern" | "default" | "properties" => true,
                "$ref" => {
                    let name = rule.as_str().and_then(|r| r.strip_prefix("#/components/schemas/")).expect("a name");
                    return self.hold(&self.root["components"]["schemas"][name], value, at);
                }
                "type" => match rule {
                    Value::Array(types) => types.iter().any(|one| is(one, value)),
                    one => is(one, value),
                },
                "enum" => rule.as_array().is_some_and(|words| words.contains(value)),
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number")),
                "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number")),
                "anyOf" => rule.as_array().is_some_and(|any| any.iter().any(|one| self.hold(one, value, at).is_ok())),
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.hold(rule, item, &format!("{at}[{n}]"))?;
                    }
                    true
                }
                "required" => {
                    let names = rule.as_array().expect("names").iter().filter_map(Value::as_str);
                    names.into_iter().all(|name| value.get(name).is_some())
                }
                "additionalProperties" => {
                    let known = schema["properties"].as_object();
                    for (name, member) in value.as_object().into_iter().flatten() {
                        match known.and_then(|known| known.get(name)) {
                            Some(schema) => self.hold(schema, member, &format!("{at}.{name}"))?,
                            None if rule == true => {}
                            None => return Err(format!("{at}.{name} is not described")),
                        }
                    }
                    true
                }
                other => panic!("{at}: {other} is not understood"),
            };
            if !good {
                return Err(format!("{at}: {word} {rule} does not hold for {value}"));
            }
        }
        Ok(())
    }
}

/// Is it of that type?
fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

/// Is this a path of that template?
fn matches(template: &str, path: &str) -> bool {
    let (wanted, found): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(wanted, found): (&&str, &&str)| wanted == found || wanted.starts_with('{');
    wanted.len() == found.len() && wanted.iter().zip(&found).all(fits)
}
