//! Parameters of a request: those of the URL and, for a POSTed form, those of the body, as one ordered list. Go merges
//! them the same way, the body's first.

use std::num::IntErrorKind;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use http_body_util::{BodyExt, Limited};

use super::failure::Failure;
use crate::time_text::{parse_duration, parse_time};

/// A form holds a query's text and selectors; Go's own limit is 10 MB.
const FORM_BYTES_MAX: usize = 10 << 20;

/// The merged parameters, in the order a form's fields come first.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    /// The first field that could not be read. Go leaves such a field out and lets the handler decide.
    broken: Option<String>,
}

impl Params {
    /// The parameters of a URL's query alone.
    pub fn from_query(query: &str) -> Params {
        let mut params = Params::default();
        params.extend(query.as_bytes());
        params
    }

    /// Appends the fields of `a=1&b=%20`. Bytes that are not UTF-8 are replaced, they can then match nothing.
    fn extend(&mut self, encoded: &[u8]) {
        for field in encoded.split(|&byte| byte == b'&').filter(|field| !field.is_empty()) {
            let equals = field.iter().position(|&byte| byte == b'=').unwrap_or(field.len());
            let (name, value) = (decode_component(&field[..equals]), decode_component(field.get(equals + 1..).unwrap_or(b"")));
            match (name, value) {
                (Ok(name), Ok(value)) => self.pairs.push((name, value)),
                (Err(escape), _) | (_, Err(escape)) => {
                    self.broken.get_or_insert(format!("invalid URL escape {escape:?}"));
                }
            }
        }
    }

    /// Errs when a field could not be read: for the calls that need to see all of them.
    pub fn all_readable(&self) -> Result<(), Failure> {
        match &self.broken {
            Some(cause) => Err(Failure::bad_data(format!("error parsing form values: {cause}"))),
            None => Ok(()),
        }
    }

    /// The first value of a parameter; an empty value counts as absent, as upstream.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A time that may be absent.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.plain_time(name).map_err(|cause| Failure::parameter(name, cause))
    }

    /// The same with the bare cause as its error, for calls that do not name the parameter in front of it.
    pub fn plain_time(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time(text).map(Some).ok_or_else(|| format!("invalid time value for '{name}': {}", not_a_time(text)))
    }

    pub fn required_time(&self, name: &str) -> Result<i64, Failure> {
        let text = self.get(name).unwrap_or("");
        parse_time(text).ok_or_else(|| Failure::parameter(name, not_a_time(text)))
    }

    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.plain_duration_ms(name).map_err(|cause| Failure::parameter(name, cause))
    }

    /// See [`Params::plain_time`].
    pub fn plain_duration_ms(&self, name: &str) -> Result<Option<i64>, String> {
        self.get(name).map(duration_or_cause).transpose()
    }

    pub fn required_duration_ms(&self, name: &str) -> Result<i64, Failure> {
        duration_or_cause(self.get(name).unwrap_or("")).map_err(|cause| Failure::parameter(name, cause))
    }

    /// `limit=`: absent or 0 is no limit.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match parse_whole(text) {
            Ok(limit) if limit >= 0 => Ok(usize::try_from(limit).ok().filter(|&limit| limit > 0)),
            Ok(_) => Err(Failure::parameter(name, "limit must be non-negative")),
            Err(cause) => Err(Failure::parameter(name, cause)),
        }
    }

    /// A yes or no as Go's `strconv.ParseBool` reads it; `None` when absent. The error is the text.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, &str> {
        match self.get(name) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(text) => Err(text),
        }
    }
}

/// A whole number, or what Go's `strconv.Atoi` says about it.
pub fn parse_whole(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {reason}")
    })
}

fn not_a_time(text: &str) -> String {
    format!("cannot parse {text:?} to a valid timestamp")
}

fn duration_or_cause(text: &str) -> Result<i64, String> {
    parse_duration(text).ok_or_else(|| {
        let overflows = text.parse::<f64>().is_ok_and(|seconds| !seconds.is_nan());
        format!("cannot parse {text:?} to a valid duration{}", if overflows { ". It overflows int64" } else { "" })
    })
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Failure;

    async fn from_request(request: Request, _state: &S) -> Result<Params, Failure> {
        let (head, body) = request.into_parts();
        let mut params = Params::default();
        let is_form =
            head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
                value.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        if (head.method == Method::POST || head.method == Method::PUT) && is_form {
            params.extend(&read_form(body).await?);
        }
        params.extend(head.uri.query().unwrap_or("").as_bytes());
        Ok(params)
    }
}

async fn read_form(body: Body) -> Result<bytes::Bytes, Failure> {
    let collected = Limited::new(body, FORM_BYTES_MAX).collect().await;
    collected.map(|body| body.to_bytes()).map_err(|error| Failure::bad_data(format!("error parsing form values: {error}")))
}

/// The error is the escape that is none.
fn decode_component(encoded: &[u8]) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digits = tail.get(..2).and_then(|digits| Some(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?));
                let wrong = || format!("%{}", String::from_utf8_lossy(&tail[..tail.len().min(2)]));
                decoded.push(digits.ok_or_else(wrong)?);
                rest = &tail[2..];
            }
            other => decoded.push(other),
        }
    }
    Ok(String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_and_the_url_merge_with_the_form_first() {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/series?match[]=up&limit=5")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(Body::from("match%5B%5D=%7Bjob%3D%22a+b%22%7D&limit=7"))
            .expect("request");
        let params = Params::from_request(request, &()).await.expect("valid");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["{job=\"a b\"}", "up"]);
        assert_eq!(params.limit("limit").expect("number"), Some(7));
    }

    #[test]
    fn wrong_values_are_named_in_upstreams_words() {
        let params = Params::from_query("time=soon&step=x&far=1e300&limit=-1&many=99999999999999999999&few=a&empty=");
        assert_eq!(
            params.time("time").expect_err("wrong").text,
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"soon\" to a valid timestamp"
        );
        assert_eq!(
            params.required_time("time").expect_err("wrong").text,
            "invalid parameter \"time\": cannot parse \"soon\" to a valid timestamp"
        );
        assert_eq!(
            params.duration_ms("step").expect_err("wrong").text,
            "invalid parameter \"step\": cannot parse \"x\" to a valid duration"
        );
        assert_eq!(
            params.required_duration_ms("far").expect_err("too far").text,
            "invalid parameter \"far\": cannot parse \"1e300\" to a valid duration. It overflows int64"
        );
        let limit = |name| params.limit(name).expect_err("wrong").text;
        assert_eq!(limit("limit"), "invalid parameter \"limit\": limit must be non-negative");
        assert_eq!(limit("few"), "invalid parameter \"few\": strconv.Atoi: parsing \"a\": invalid syntax");
        assert_eq!(limit("many"), "invalid parameter \"many\": strconv.Atoi: parsing \"99999999999999999999\": value out of range");
        assert_eq!(params.get("empty"), None);
        assert!(params.required_time("start").is_err());
    }

    #[test]
    fn a_field_that_cannot_be_read_is_left_out_and_remembered() {
        let params = Params::from_query("a=%4&match[]=up&b=%zz1&c=%e2%82%ac+1");
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (None, None, Some("€ 1")));
        assert_eq!(params.all_readable().expect_err("broken").text, "error parsing form values: invalid URL escape \"%4\"");
        assert!(Params::from_query("a=%41").all_readable().is_ok());
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let params = Params::from_query("a=T&b=0&c=yes");
        assert_eq!((params.flag("a"), params.flag("b"), params.flag("d")), (Ok(Some(true)), Ok(Some(false)), Ok(None)));
        assert_eq!(params.flag("c"), Err("yes"));
    }
}
