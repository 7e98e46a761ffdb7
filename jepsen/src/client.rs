//! A client of one address (a node or the load balancer).
//!
//! It returns what came over the wire, status and all, since most tests are about exactly that. No retries: those are the business of
//! whoever wants to know about failures.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::history::{Outcome, Sample};
use crate::remote_write::{CONTENT_TYPE_V1, CONTENT_TYPE_V2};

/// Longest wait for one answer. Above the server's own write deadline, so that the server's word is heard.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for a connection: an address that drops packets shall not look like one that thinks.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which remote write specification a body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteWriteVersion {
    V1,
    V2,
}

/// An HTTP answer, complete.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("status {}, parse as JSON: {:.300}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `data` of the Prometheus envelope; an error unless the status is 200 and the envelope says success.
    pub fn data(&self) -> anyhow::Result<Value> {
        let mut envelope = self.json()?;
        ensure!(self.status == 200 && envelope["status"] == "success", "status {}: {:.500}", self.status, self.text());
        Ok(envelope["data"].take())
    }
}

/// What a write with this answer, or without one, tells about its samples.
pub fn outcome_of(result: &Result<Answer, reqwest::Error>) -> Outcome {
    match result {
        Ok(answer) if (200..300).contains(&answer.status) => Outcome::Ok,
        Ok(answer) if (400..500).contains(&answer.status) && answer.status != 408 && answer.status != 429 => Outcome::Fail,
        // Never connected, so never sent.
        Err(error) if error.is_connect() => Outcome::Fail,
        // 5xx and 429 may come after some shards have committed; a cut connection or a time-out says nothing.
        Ok(_) | Err(_) => Outcome::Info,
    }
}

/// A series of a range vector answer: its labels and samples.
#[derive(Clone, Debug)]
pub struct RangeSeries {
    pub labels: Value,
    pub samples: Vec<Sample>,
}

/// Speaks HTTP to one address.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// `address` is `ip:port`.
    pub fn new(address: &str) -> Client {
        Client::with_timeout(address, REQUEST_TIMEOUT)
    }

    /// A client that waits no longer than this for an answer.
    pub fn with_timeout(address: &str, timeout: Duration) -> Client {
        let http =
            reqwest::Client::builder().no_proxy().timeout(timeout).connect_timeout(timeout.min(CONNECT_TIMEOUT)).tcp_nodelay(true).build();
        Client { http: http.expect("a client without TLS and proxies has nothing that can fail"), base: format!("http://{address}") }
    }

    /// A client that trusts an authority and shows credentials. `base` is a URL without a path.
    pub fn secure(base: &str, authority_pem: Option<&str>, authorization: Option<&str>) -> anyhow::Result<Client> {
        let mut builder = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).tcp_nodelay(true);
        if let Some(pem) = authority_pem {
            builder = builder.add_root_certificate(reqwest::Certificate::from_pem(pem.as_bytes())?);
        }
        if let Some(authorization) = authorization {
            let value = reqwest::header::HeaderValue::from_str(authorization)?;
            builder = builder.default_headers([(reqwest::header::AUTHORIZATION, value)].into_iter().collect());
        }
        Ok(Client { http: builder.build()?, base: base.to_owned() })
    }

    /// Any method.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        receive(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer, reqwest::Error> {
        receive(self.http.get(format!("{}{path}", self.base)).query(parameters)).await
    }

    /// Any method, with parameters in the address and a body.
    pub async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        receive(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Result<Answer, reqwest::Error> {
        let request = self.http.post(format!("{}{path}", self.base)).body(body);
        receive(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// Parameters as a form's fields.
    pub async fn send_form(&self, method: &str, path: &str, parameters: &[(&str, &str)]) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or(reqwest::Method::POST);
        receive(self.http.request(method, format!("{}{path}", self.base)).form(parameters)).await
    }

    /// `POST /ingest/metrics` with a JSON body.
    pub async fn ingest(&self, metrics: &Value) -> Result<Answer, reqwest::Error> {
        self.post("/ingest/metrics", &[("content-type", "application/json")], metrics.to_string()).await
    }

    /// `POST /api/v1/write` with a body of [`crate::remote_write`].
    pub async fn remote_write(&self, version: RemoteWriteVersion, body: Vec<u8>) -> Result<Answer, reqwest::Error> {
        let (content_type, number) = match version {
            RemoteWriteVersion::V1 => (CONTENT_TYPE_V1, "0.1.0"),
            RemoteWriteVersion::V2 => (CONTENT_TYPE_V2, "2.0.0"),
        };
        let headers = [("content-type", content_type), ("content-encoding", "snappy"), ("x-prometheus-remote-write-version", number)];
        self.post("/api/v1/write", &headers, body).await
    }

    /// `data` of an instant query at a time in Unix seconds.
    pub async fn instant(&self, query: &str, time_seconds: f64) -> anyhow::Result<Value> {
        let time = time_seconds.to_string();
        self.get("/api/v1/query", &[("query", query), ("time", &time)]).await?.data()
    }

    /// The raw samples of every series that `query` (a range selector) covers at a time.
    pub async fn samples(&self, query: &str, time_seconds: f64) -> anyhow::Result<Vec<RangeSeries>> {
        let data = self.instant(query, time_seconds).await?;
        ensure!(data["resultType"] == "matrix", "expected a matrix, got {}", data["resultType"]);
        let series = data["result"].as_array().context("result is not a list")?;
        series.iter().map(|one| Ok(RangeSeries { labels: one["metric"].clone(), samples: parse_samples(&one["values"])? })).collect()
    }

    /// The only value of an instant query's vector or scalar answer; `None` when it is an empty vector.
    pub async fn number(&self, query: &str, time_seconds: f64) -> anyhow::Result<Option<f64>> {
        let data = self.instant(query, time_seconds).await?;
        if data["resultType"] == "scalar" {
            return Ok(Some(parse_sample(&data["result"])?.1));
        }
        let series = data["result"].as_array().context("result is not a list")?;
        ensure!(series.len() <= 1, "{query} has {} results", series.len());
        series.first().map(|one| Ok(parse_sample(&one["value"])?.1)).transpose()
    }
}

async fn receive(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await?.into() })
}

/// Parses `[[seconds, "value"], …]`.
pub fn parse_samples(values: &Value) -> anyhow::Result<Vec<Sample>> {
    values.as_array().context("values is not a list")?.iter().map(parse_sample).collect()
}

/// Parses `[seconds, "value"]`.
pub fn parse_sample(pair: &Value) -> anyhow::Result<Sample> {
    let seconds = pair[0].as_f64().with_context(|| format!("no timestamp in {pair}"))?;
    let value = pair[1].as_str().with_context(|| format!("no value in {pair}"))?;
    Ok(((seconds * 1000.0).round() as i64, parse_value(value)?))
}

fn parse_value(text: &str) -> anyhow::Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        number => number.parse().with_context(|| format!("parse value {number:?}")),
    }
}
