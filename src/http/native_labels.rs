//! The `labels=` parameter of the native API: `{service:auth}`, JSON, or PromQL matchers, bare and quoted values alike.

use promql::matcher::{MatchOp, Matcher};

/// Reads a selector's conditions; the error says what was expected where.
pub fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if let Ok(object) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        return object.into_iter().map(|(name, value)| matcher(MatchOp::Equal, &name, &json_text(&value)?)).collect();
    }
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let mut rest = inner.trim_start();
    let mut matchers = Vec::new();
    while !rest.is_empty() {
        let (found, tail) = one(rest)?;
        matchers.push(found);
        rest = match tail.strip_prefix(',') {
            Some(tail) => tail.trim_start(),
            None if tail.is_empty() => tail,
            None => return Err(format!("expected , before {tail:?}")),
        };
    }
    Ok(matchers)
}

fn one(text: &str) -> Result<(Matcher, &str), String> {
    let (name, rest) = token(text, |c| "=!:".contains(c))?;
    let rest = rest.trim_start();
    const OPERATORS: [(&str, MatchOp); 6] = [
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("!=", MatchOp::NotEqual),
        ("==", MatchOp::Equal),
        ("=", MatchOp::Equal),
        (":", MatchOp::Equal),
    ];
    let found = OPERATORS.iter().find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?)));
    let (op, rest) = found.ok_or_else(|| format!("expected one of : = != =~ !~ after {name:?}"))?;
    let (value, rest) = token(rest.trim_start(), |c| c == ',')?;
    Ok((matcher(op, &name, &value)?, rest.trim_start()))
}

/// A quoted text with backslash escapes, or a bare one up to a character that ends it.
fn token(text: &str, ends: impl Fn(char) -> bool) -> Result<(String, &str), String> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = text.find(ends).unwrap_or(text.len());
        return Ok((text[..end].trim().to_string(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            c if c == quote => return Ok((value, text[at + 1..].trim_start())),
            c => value.push(c),
        }
    }
    Err(format!("the quote that begins {text:?} does not end"))
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Result<Matcher, String> {
    if name.is_empty() {
        return Err(format!("a label's name is missing before {value:?}"));
    }
    Matcher::new(op, name, value).map_err(|error| error.to_string())
}

fn json_text(value: &serde_json::Value) -> Result<String, String> {
    match value {
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        serde_json::Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(format!("a label's value must be text, not {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse(text).map_or_else(
            |error| format!("error: {error}"),
            |matchers| matchers.iter().map(|m| format!("{}{}{:?}", m.name, m.op, m.value)).collect::<Vec<_>>().join(" "),
        )
    }

    #[test]
    fn every_documented_form_is_understood() {
        assert_eq!(shown("{service:auth}"), "service=\"auth\"");
        assert_eq!(shown("{service:auth, env:prod}"), "service=\"auth\" env=\"prod\"");
        assert_eq!(shown("service:auth"), "service=\"auth\"");
        assert_eq!(shown(r#"{"service":"auth","port":80}"#), "port=\"80\" service=\"auth\"");
        assert_eq!(shown(r#"{service="auth",env=~"p.*"}"#), "service=\"auth\" env=~\"p.*\"");
        assert_eq!(shown("{service='a,b',env!=dev}"), "service=\"a,b\" env!=\"dev\"");
        assert_eq!(shown(r#"{path!~"/x|/y\"z"}"#), "path!~\"/x|/y\\\"z\"");
        assert_eq!(shown("{instance:127.0.0.1:9100}"), "instance=\"127.0.0.1:9100\"");
        assert_eq!(shown("{}"), "");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(shown("{service}").contains("expected one of"));
        assert!(shown("{a='x}").contains("does not end"));
        assert!(shown("{a='x' b='y'}").contains("expected ,"));
        assert!(shown("{a=~'('}").starts_with("error"));
        assert!(shown("{=x}").contains("name is missing"));
    }
}
