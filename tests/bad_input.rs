//! Whatever is sent: a clear refusal, nothing half written, and a server that goes on.

use serde_json::{Value, json};
use tern_jepsen::client::Client;

use crate::support::*;

async fn count_of(client: &Client, at: i64) -> anyhow::Result<Option<f64>> {
    client.number(r#"count({__name__=~".+"})"#, at as f64).await
}

#[tokio::test]
async fn a_bad_element_is_named_and_nothing_of_its_request_is_written() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let good = element("good", &[("a", "b")], at, 1);
    let bad_elements: [(&str, Value); 8] = [
        ("no name", json!({"labels": {}, "timestamp": at, "value": 1})),
        ("empty name", json!({"name": "", "timestamp": at, "value": 1})),
        ("no value", json!({"name": "x", "timestamp": at})),
        ("value is text", json!({"name": "x", "timestamp": at, "value": "many"})),
        ("timestamp is text", json!({"name": "x", "timestamp": "yesterday", "value": 1})),
        ("label is a number", json!({"name": "x", "labels": {"a": 1}, "timestamp": at, "value": 1})),
        ("far future", json!({"name": "x", "timestamp": at + 86_400, "value": 1})),
        ("no object", json!(7)),
    ];
    for (what, bad) in bad_elements {
        let answer = client.ingest(&json!([good, good, bad])).await?;
        expect_status(&answer, 400);
        let error = answer.json()?;
        let text = error["error"].as_str().unwrap_or_default();
        assert!(text.contains('2'), "{what}: the error does not name element 2: {error}");
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{what}: no hint: {error}");
        assert_eq!(count_of(&client, at).await?, None, "{what}: something was written");
    }
    expect_status(&client.ingest(&json!([good])).await?, 204);
    assert_eq!(count_of(&client, at).await?, Some(1.0));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn broken_bodies_and_queries_leave_the_server_well() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let json_type = [("content-type", "application/json")];
    for body in ["", "{", "[", "[{]", "null", "[1,", "\u{0}\u{1}", "[[[[[[[[[["] {
        let answer = client.post("/ingest/metrics", &json_type, body).await?;
        assert!((400..500).contains(&answer.status), "{body:?}: {} {:.200}", answer.status, answer.text());
    }
    // Nesting that would end a recursive parser without a limit.
    let deep_json = "[".repeat(100_000);
    assert_eq!(client.post("/ingest/metrics", &json_type, deep_json).await?.status, 400);
    let deep_query = format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = client.post("/api/v1/query", &form, format!("query={deep_query}")).await?;
    assert!((400..500).contains(&answer.status), "{}: {:.200}", answer.status, answer.text());
    // A header that claims far more than the body holds, with nothing behind it.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let snappy = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
    assert!((400..500).contains(&client.post("/api/v1/write", &snappy, bomb.to_vec()).await?.status));
    assert_eq!(client.get("/no/such/path", &[]).await?.status, 404);
    expect_status(&client.get("/-/ready", &[]).await?, 200);
    cluster.finish()?;
    Ok(())
}
