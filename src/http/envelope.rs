//! The success envelope of the Prometheus API: `{"status":"success","data":…,"warnings":[…],"infos":[…]}`, written
//! straight into the answer's stream.

use std::io::{self, Write};

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::failure::{Failure, Kind};
use super::stream::{self, Encoding};

/// Remarks of one kind beyond this many are only counted.
const REMARKS_MAX: usize = 10;

/// So few values are written sooner than another thread wakes up.
const VALUES_IN_PLACE: usize = 256;

/// What is said beside the data.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// Answers with `data` as `write_data` writes it: on a blocking thread, unless there are so few `values` (numbers or texts) that
/// the way there would take longer.
pub async fn success<W>(encoding: Encoding, remarks: Remarks, values: usize, write_data: W) -> Response
where
    W: FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
{
    let write = move |out: &mut dyn Write| {
        out.write_all(b"{\"status\":\"success\",\"data\":")?;
        write_data(out)?;
        write_remarks(out, "warnings", "warning", &remarks.warnings)?;
        write_remarks(out, "infos", "info", &remarks.infos)?;
        out.write_all(b"}")
    };
    if values > VALUES_IN_PLACE {
        return stream::respond(head(), encoding, write).await;
    }
    let mut body = Vec::new();
    match write(&mut body) {
        Ok(()) => stream::respond_bytes(head(), encoding, body.into()).await,
        Err(error) => Failure::new(Kind::Internal, error.to_string()).into_response(),
    }
}

/// The same for small data that are at hand.
pub fn small(data: &serde_json::Value) -> Response {
    let mut response = head();
    *response.body_mut() = format!("{{\"status\":\"success\",\"data\":{data}}}").into();
    response
}

fn head() -> Response {
    [(header::CONTENT_TYPE, "application/json")].into_response()
}

fn write_remarks(out: &mut dyn Write, field: &str, kind: &str, remarks: &[String]) -> io::Result<()> {
    if remarks.is_empty() {
        return Ok(());
    }
    write!(out, ",\"{field}\":[")?;
    for (at, remark) in remarks.iter().take(REMARKS_MAX).enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, remark)?;
    }
    if let Some(more) = remarks.len().checked_sub(REMARKS_MAX).filter(|&more| more > 0) {
        write!(out, ",\"{more} more {kind} annotations omitted\"")?;
    }
    out.write_all(b"]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn remarks_beyond_ten_are_counted() {
        let remarks = Remarks { warnings: (0..12).map(|at| format!("w{at}")).collect(), infos: vec![] };
        for values in [0, VALUES_IN_PLACE + 1] {
            let response = success(Encoding::Identity, remarks.clone(), values, |out| out.write_all(b"[]")).await;
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            let body = response.into_body().collect().await.expect("whole").to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["status"], "success");
            assert_eq!(body["warnings"].as_array().map(Vec::len), Some(11));
            assert_eq!(body["warnings"][10], "2 more warning annotations omitted");
            assert!(body.get("infos").is_none());
        }
    }
}
