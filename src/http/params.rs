//! Parameters of a request: those of the URL and, for a POSTed form, those of the body, as one ordered list. Go merges
//! them the same way, the body's first.

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
}

impl Params {
    /// The parameters of a URL's query alone.
    pub fn from_query(query: &str) -> Params {
        let mut params = Params::default();
        params.extend(query.as_bytes());
        params
    }

    fn extend(&mut self, encoded: &[u8]) {
        self.pairs.extend(decode_form(encoded));
    }

    /// The first value of a parameter; an empty value counts as absent, as upstream.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.get(name)
            .map(|text| parse_time(text).ok_or_else(|| Failure::parameter(name, format!("cannot parse {text:?} to a valid timestamp"))))
            .transpose()
    }

    pub fn required_time(&self, name: &str) -> Result<i64, Failure> {
        let empty = || Failure::parameter(name, "cannot parse \"\" to a valid timestamp");
        self.time(name)?.ok_or_else(empty)
    }

    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.get(name)
            .map(|text| parse_duration(text).ok_or_else(|| Failure::parameter(name, format!("cannot parse {text:?} to a valid duration"))))
            .transpose()
    }

    /// `limit=`: absent or 0 is no limit.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(limit) if limit >= 0 => Ok(usize::try_from(limit).ok().filter(|&limit| limit > 0)),
            Ok(_) => Err(Failure::parameter(name, "limit must be non-negative")),
            Err(_) => Err(Failure::parameter(name, format!("cannot parse {text:?} to a valid number"))),
        }
    }
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
        if head.method == Method::POST && is_form {
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

/// `a=1&b=%20` → pairs. Bytes that are not UTF-8 are replaced, they can then match nothing.
fn decode_form(encoded: &[u8]) -> Vec<(String, String)> {
    encoded
        .split(|&byte| byte == b'&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let equals = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
            (decode_component(&part[..equals]), decode_component(part.get(equals + 1..).unwrap_or(b"")))
        })
        .collect()
}

fn decode_component(encoded: &[u8]) -> String {
    let spaced: Vec<u8> = encoded.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_encoding::percent_decode(&spaced).decode_utf8_lossy().into_owned()
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
    fn wrong_values_are_named() {
        let params = Params::from_query("time=soon&step=x&limit=-1&empty=");
        assert_eq!(params.time("time").expect_err("wrong").text, "invalid parameter \"time\": cannot parse \"soon\" to a valid timestamp");
        assert_eq!(
            params.duration_ms("step").expect_err("wrong").text,
            "invalid parameter \"step\": cannot parse \"x\" to a valid duration"
        );
        assert!(params.limit("limit").is_err());
        assert_eq!(params.get("empty"), None);
        assert!(params.required_time("start").is_err());
    }
}
