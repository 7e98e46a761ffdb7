//! The wire contract of the Prometheus API: envelopes, number formats, status codes and headers, as clients of Prometheus 3 expect them.

use serde_json::{Value, json};
use tern_jepsen::client::{Answer, Client, RemoteWriteVersion};
use tern_jepsen::remote_write::{CONTENT_TYPE_V1, TimeSeries, encode_v1, encode_v2};

use crate::support::*;

async fn query(client: &Client, text: &str, time: &str) -> anyhow::Result<Answer> {
    Ok(client.get("/api/v1/query", &[("query", text), ("time", time)]).await?)
}

#[tokio::test]
async fn numbers_are_printed_as_prometheus_prints_them() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    for (expression, printed) in [
        ("1", "1"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1e21", "1e+21"),
        ("1e20", "100000000000000000000"),
        ("1e-6", "0.000001"),
        ("1e-7", "1e-07"),
        ("1 / 0", "+Inf"),
        ("-1 / 0", "-Inf"),
        ("0 / 0", "NaN"),
        ("-0", "-0"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ] {
        let answer = query(&client, expression, "1435781451.781").await?;
        expect_status(&answer, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let expected = format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1435781451.781,"{printed}"]}}}}"#);
        assert_eq!(answer.text(), expected, "{expression}");
    }
    let whole = query(&client, "1", "1435781451").await?.text();
    assert!(whole.contains(r#""result":[1435781451,"1"]"#), "{whole}");
    let text = query(&client, r#""hello""#, "1").await?.json()?;
    assert_eq!(text["data"], json!({"resultType": "string", "result": [1, "hello"]}));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn every_value_comes_back_bit_by_bit() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let values = [0.1 + 0.2, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 1.0, 123_456.789, f64::MIN_POSITIVE];
    let at = recent_second();
    let samples: Vec<(i64, f64)> = values.iter().enumerate().map(|(index, &value)| ((at - 60 + index as i64) * 1000, value)).collect();
    let series = labels(&[("__name__", "exact")]);
    expect_status(&client.remote_write(RemoteWriteVersion::V1, encode_v1([TimeSeries { labels: &series, samples: &samples }])).await?, 204);
    let back = client.samples("exact[5m]", at as f64).await?;
    let bits = |samples: &[(i64, f64)]| samples.iter().map(|sample| (sample.0, sample.1.to_bits())).collect::<Vec<_>>();
    assert_eq!(bits(&back[0].samples), bits(&samples));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn results_have_the_shapes_of_prometheus() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let body = json!([element("shape", &[("b", "2"), ("a", "1")], at - 60, 1), element("shape", &[("b", "2"), ("a", "1")], at, 2)]);
    expect_status(&client.ingest(&body).await?, 204);
    let metric = json!({"__name__": "shape", "a": "1", "b": "2"});

    let vector = client.instant("shape", at as f64).await?;
    assert_eq!(vector, json!({"resultType": "vector", "result": [{"metric": metric, "value": [at, "2"]}]}));
    let empty = client.instant("nothing_here", at as f64).await?;
    assert_eq!(empty, json!({"resultType": "vector", "result": []}));

    let (start, end) = ((at - 60).to_string(), at.to_string());
    let range = [("query", "shape"), ("start", &start), ("end", &end), ("step", "30")];
    let matrix = client.get("/api/v1/query_range", &range).await?.data()?;
    let values = json!([[at - 60, "1"], [at - 30, "1"], [at, "2"]]);
    assert_eq!(matrix, json!({"resultType": "matrix", "result": [{"metric": metric, "values": values}]}));

    let form = "query=shape&time=".to_owned() + &end;
    let posted = client.post("/api/v1/query", &[("content-type", "application/x-www-form-urlencoded")], form).await?.data()?;
    assert_eq!(posted, vector);

    assert_eq!(client.get("/api/v1/labels", &[]).await?.data()?, json!(["__name__", "a", "b"]));
    assert_eq!(client.get("/api/v1/label/a/values", &[]).await?.data()?, json!(["1"]));
    assert_eq!(client.get("/api/v1/label/absent/values", &[]).await?.data()?, json!([]));
    assert_eq!(client.get("/api/v1/series", &[("match[]", "shape")]).await?.data()?, json!([metric]));
    let build = client.get("/api/v1/status/buildinfo", &[]).await?.data()?;
    assert!(build["version"].as_str().is_some_and(|version| version.starts_with("3.")), "{build}");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn errors_have_the_envelope_of_prometheus() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let bad = |answer: Answer, contains: &'static str| {
        expect_status(&answer, 400);
        let envelope = answer.json().unwrap_or(Value::Null);
        assert_eq!((&envelope["status"], &envelope["errorType"]), (&json!("error"), &json!("bad_data")), "{envelope}");
        let message = envelope["error"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(contains), "{message:?} does not contain {contains:?}");
    };
    bad(query(&client, "sum(", "1").await?, r#"invalid parameter "query": 1:5: parse error"#);
    bad(query(&client, "1", "not-a-time").await?, r#"invalid parameter "time""#);
    let range = |start: &'static str, end: &'static str, step: &'static str| {
        let client = client.clone();
        async move { client.get("/api/v1/query_range", &[("query", "1"), ("start", start), ("end", end), ("step", step)]).await }
    };
    bad(range("10", "5", "1").await?, r#"invalid parameter "end""#);
    bad(range("0", "10", "0").await?, "zero or negative query resolution step widths are not accepted");
    bad(range("0", "100000", "1").await?, "exceeded maximum resolution of 11,000 points per timeseries");
    bad(client.get("/api/v1/series", &[]).await?, "no match[] parameter provided");
    bad(client.get("/api/v1/series", &[("match[]", r#"{a=""}"#)]).await?, "match[] must contain at least one non-empty matcher");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn remote_write_has_the_statuses_and_headers_of_its_specifications() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let series = labels(&[("__name__", "written"), ("job", "contract")]);
    let samples = [((at - 1) * 1000, 1.0), (at * 1000, 2.0)];
    let one = || [TimeSeries { labels: &series, samples: &samples }];
    const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

    let first = client.remote_write(RemoteWriteVersion::V1, encode_v1(one())).await?;
    expect_status(&first, 204);
    assert_eq!(first.header(WRITTEN), None, "1.0 has no such header");
    let second = client.remote_write(RemoteWriteVersion::V2, encode_v2(one())).await?;
    expect_status(&second, 204);
    assert_eq!(second.header(WRITTEN), Some("2"), "{:?}", second.headers);
    assert_eq!(second.header("x-prometheus-remote-write-histograms-written"), Some("0"));
    assert_eq!(second.header("x-prometheus-remote-write-exemplars-written"), Some("0"));
    assert_eq!(client.samples("written[5m]", at as f64).await?[0].samples, samples);

    for (content_type, encoding, status) in [
        ("text/plain", "snappy", 415),
        ("application/x-protobuf;proto=unknown.Message", "snappy", 415),
        (CONTENT_TYPE_V1, "deflate", 415),
        (CONTENT_TYPE_V1, "snappy", 204),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let answer = client.post("/api/v1/write", &headers, encode_v1(one())).await?;
        assert_eq!(answer.status, status, "{content_type} {encoding}: {:.300}", answer.text());
    }
    for garbage in [&b"not snappy at all"[..], &[0xff; 20], &[]] {
        let headers = [("content-type", CONTENT_TYPE_V1), ("content-encoding", "snappy")];
        let answer = client.post("/api/v1/write", &headers, garbage.to_vec()).await?;
        assert!(answer.status == 400, "{garbage:?}: {} {:.300}", answer.status, answer.text());
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn text_exposition_can_be_imported() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let text = format!(
        "# HELP imported_total Things.\n# TYPE imported_total counter\nimported_total{{path=\"/a \\\"b\\\"\"}} 3 {}\nimported_gauge 1.5 {}\n",
        at * 1000,
        at * 1000
    );
    let answer = client.post("/api/v1/import/prometheus", &[("content-type", "text/plain")], text).await?;
    expect_status(&answer, 204);
    assert_eq!(client.number(r#"imported_total{path="/a \"b\""}"#, at as f64).await?, Some(3.0));
    assert_eq!(client.number("imported_gauge", at as f64).await?, Some(1.5));
    cluster.finish()?;
    Ok(())
}
