//! What holds for every call of the Prometheus API: packing, cross-origin scripts, forms, ends of queries, lifecycle.

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use serde_json::{Value, json};
use tern_jepsen::client::Client;
use tern_jepsen::cluster::Cluster;
use tern_jepsen::wait;

use crate::support::*;

/// Sends and shows what is on the wire: nothing is unpacked.
struct Plain {
    http: reqwest::Client,
    base: String,
}

impl Plain {
    fn new(cluster: &Cluster) -> anyhow::Result<Plain> {
        let http = reqwest::Client::builder().no_proxy().no_gzip().build()?;
        Ok(Plain { http, base: format!("http://{}", cluster.node(1)?.http.address()) })
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<reqwest::Response> {
        let request = self.http.get(format!("{}{path}", self.base));
        Ok(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await?)
    }
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

async fn load(client: &Client, series: usize, at: i64) -> TestResult {
    let one = |number: usize| (0..10).map(move |step| (number, step));
    let elements: Vec<Value> = (0..series)
        .flat_map(one)
        .map(|(number, step)| element("heavy", &[("n", &number.to_string())], at - 600 + step * 60, (number as i64 * 7 + step * 13) % 101))
        .collect();
    expect_status(&client.ingest(&Value::Array(elements)).await?, 204);
    Ok(())
}

#[tokio::test]
async fn answers_are_packed_as_the_client_likes() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    load(&cluster.client(1), 300, recent_second()).await?;
    let plain = Plain::new(&cluster)?;
    for path in ["/api/v1/series?match[]=heavy", "/api/v1/status/flags", "/metrics"] {
        let whole = plain.get(path, &[]).await?;
        assert_eq!(header(&whole, "content-encoding"), [""; 0], "{path}");
        assert!(header(&whole, "vary").contains(&"Accept-Encoding"), "{path}: {:?}", whole.headers());
        let length = whole.bytes().await?.len();
        for (accepted, used) in [("gzip", "gzip"), ("br, deflate, gzip", "deflate"), ("zstd", "zstd")] {
            let packed = plain.get(path, &[("accept-encoding", accepted)]).await?;
            assert_eq!(header(&packed, "content-encoding"), [used], "{path}");
            let body = packed.bytes().await?;
            let mut unpacked = Vec::new();
            match used {
                "gzip" => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked)?),
                "deflate" => drop(flate2::read::ZlibDecoder::new(&body[..]).read_to_end(&mut unpacked)?),
                _ => unpacked = zstd::decode_all(&body[..])?,
            }
            assert!(body.len() < unpacked.len() && unpacked.len().abs_diff(length) < 2000, "{path} {used}: {} {length}", unpacked.len());
        }
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn scripts_of_allowed_pages_may_read_answers() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--web-cors-origin", r"https?://(a|b)\.example"]).await?;
    let plain = Plain::new(&cluster)?;
    for path in [
        "/api/v1/query?query=1",
        "/api/v1/query?query=)",
        "/api/v1/status/buildinfo",
        "/api/v1/labels",
        "/federate?match[]=up",
        "/api/v1/export?match[]=up",
    ] {
        let answer = plain.get(path, &[("origin", "https://a.example")]).await?;
        assert_eq!(header(&answer, "access-control-allow-origin"), ["https://a.example"], "{path}");
        assert_eq!(header(&answer, "access-control-expose-headers"), ["Date"], "{path}");
        assert!(header(&answer, "vary").contains(&"Origin"), "{path}");
        let other = plain.get(path, &[("origin", "https://a.example.org")]).await?;
        assert_eq!(header(&other, "access-control-allow-origin"), [""; 0], "{path}");
    }
    let asked = plain.http.request(reqwest::Method::OPTIONS, format!("{}/api/v1/query", plain.base));
    let answer = asked.header("origin", "http://b.example").send().await?;
    assert_eq!(answer.status(), 204);
    assert_eq!(header(&answer, "access-control-allow-methods"), ["GET, POST, OPTIONS"]);
    assert_eq!(header(&answer, "access-control-allow-origin"), ["http://b.example"]);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_query_that_would_take_too_much_memory_is_refused() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--query-memory-bytes", "100KiB"]).await?;
    let (client, at) = (cluster.client(1), recent_second());
    load(&client, 1000, at).await?;
    let (start, end) = ((at - 10_000).to_string(), at.to_string());
    let range = |query| [("query", query), ("start", start.as_str()), ("end", end.as_str()), ("step", "1")];
    let refused = client.get("/api/v1/query_range", &range("heavy")).await?;
    expect_status(&refused, 422);
    assert!(refused.text().contains("query processing would take too much memory in query execution"), "{}", refused.text());
    assert!(refused.text().contains("\"errorType\":\"execution\""), "{}", refused.text());
    expect_status(&client.get("/api/v1/query", &[("query", "sum(count_over_time(heavy[3h]))"), ("time", &end)]).await?, 200);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_query_ends_soon_after_its_client_has_gone() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let (client, at) = (cluster.client(1), recent_second());
    load(&client, 4000, at).await?;
    let plain = Plain::new(&cluster)?;
    let (start, end) = ((at - 10_000).to_string(), at.to_string());
    let parameters = [("query", "sum(quantile_over_time(0.9, heavy[3h]))"), ("start", &start), ("end", &end), ("step", "1")];
    let request = plain.http.get(format!("{}/api/v1/query_range", plain.base)).query(&parameters);
    let asking = tokio::spawn(request.send());
    let active = || async {
        let data = client.get("/api/v1/status/active_queries", &[]).await.map(|answer| answer.data());
        data.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    };
    let limit = Duration::from_secs(20);
    let running = wait::until("the query to run", limit, || async {
        let list = active().await?;
        list.get(0).cloned().ok_or_else(|| format!("{list}"))
    });
    let running = running.await?;
    assert_eq!(running["query"], parameters[0].1);
    assert_eq!((running["start"].as_i64(), running["step"].as_i64()), (Some((at - 10_000) * 1000), Some(1000)));
    assert!(running["remote_addr"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{running}");
    asking.abort();
    wait::until("the query to end", limit, || async {
        let list = active().await?;
        if list == json!([]) { Ok(()) } else { Err(list.to_string()) }
    })
    .await?;
    let metrics = client.get("/metrics", &[]).await?.text();
    assert!(metrics.contains("\ntern_query_canceled_total 1\n"), "it ended by itself, not because its client had gone");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn statistics_limits_and_top_queries() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let (client, at) = (cluster.client(1), recent_second());
    load(&client, 5, at).await?;
    let time = at.to_string();
    let all = client.get("/api/v1/query", &[("query", "sum_over_time(heavy[10m])"), ("time", &time), ("stats", "all")]).await?.data()?;
    let samples = &all["stats"]["samples"];
    assert_eq!((samples["totalQueryableSamples"].as_u64(), samples["samplesRead"].as_u64()), (Some(45), Some(45)), "{samples}");
    assert_eq!(samples["totalQueryableSamplesPerStep"], json!([[at, 45]]));
    let odd = client.get("/api/v1/query", &[("query", "heavy"), ("time", &time), ("stats", "yes"), ("limit", "2")]).await?.json()?;
    assert_eq!(odd["data"]["result"].as_array().map(Vec::len), Some(2));
    let warnings = odd["warnings"].as_array().context("warnings")?;
    assert!(warnings.iter().any(|warning| warning == "results truncated due to limit"), "{odd}");
    assert!(warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains("is deprecated"))), "{odd}");
    let late = client.get("/api/v1/query", &[("query", "heavy"), ("timeout", "0.0001")]).await?;
    expect_status(&late, 503);
    assert_eq!(late.json()?["errorType"], "timeout");
    let top = client.get("/api/v1/status/top_queries", &[("topN", "1")]).await?.data()?;
    assert_eq!(top["topByCount"][0]["query"], "heavy", "{top}");
    assert_eq!(client.get("/api/v1/series/count", &[]).await?.data()?, json!([5]));
    let tsdb = client.get("/api/v1/status/tsdb", &[]).await?.data()?;
    assert_eq!(tsdb["seriesCountByMetricName"], json!([{"name": "heavy", "value": 5}]));
    assert_eq!(tsdb["seriesCountByLabelValuePair"][0], json!({"name": "__name__=heavy", "value": 5}));
    assert_eq!((tsdb["headStats"]["chunkCount"].as_u64(), tsdb["headStats"]["maxTime"].as_i64()), (Some(5), Some((at - 60) * 1000)));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_node_says_that_it_stops_and_stops() -> TestResult {
    let _turn = turn().await;
    let closed = one_node().await?;
    for path in ["/-/quit", "/-/reload"] {
        let refused = closed.client(1).post(path, &[], "").await?;
        expect_status(&refused, 403);
        assert_eq!(refused.text(), "Lifecycle API is not enabled.");
        let linked = closed.client(1).get(path, &[]).await?;
        expect_status(&linked, 405);
        assert_eq!(linked.text(), "Only POST or PUT requests allowed");
    }
    expect_status(&closed.client(1).get("/api/v1/search/label_names", &[]).await?, 500);
    closed.finish()?;

    let cluster = Cluster::start_with(TERN, 1, &["--web-lifecycle", "true", "--features", "search-api"]).await?;
    let client = cluster.client(1);
    expect_status(&client.post("/-/reload", &[], "").await?, 200);
    let plain = Plain::new(&cluster)?;
    let live = plain.get("/api/v1/notifications/live", &[]).await?;
    assert_eq!(header(&live, "content-type"), ["text/event-stream"]);
    let mut events = live.bytes_stream();
    expect_status(&client.post("/-/quit", &[], "").await?, 200);
    let mut heard = String::new();
    while let Some(Ok(bytes)) = events.next().await {
        heard.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(heard.contains("shutting down"), "{heard:?}");
    wait::until("the node to stop", Duration::from_secs(30), || async {
        match client.get("/-/healthy", &[]).await {
            Ok(answer) => Err(format!("it answers {}", answer.status)),
            Err(_) => Ok(()),
        }
    })
    .await?;
    cluster.finish()?;
    Ok(())
}
