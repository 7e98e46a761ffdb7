//! Conditions that a proxy adds to requests: no answer holds a series that does not meet them.

use serde_json::json;
use tern_jepsen::cluster::Cluster;

use crate::support::*;

#[tokio::test]
async fn enforced_conditions_hold_for_every_call() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let body =
        json!([element("m", &[("tenant", "a"), ("only_a", "x")], at, 1.26), element("m", &[("tenant", "b"), ("only_b", "x")], at, 4)]);
    expect_status(&client.ingest(&body).await?, 204);
    let time = at.to_string();
    for condition in [("extra_label", "tenant=a"), ("extra_filters[]", "{tenant=~\"a|c\"}")] {
        for text in ["sum(m)", "sum(sum_over_time(m[5m]) or {tenant=\"b\"})"] {
            let answer = client.get("/api/v1/query", &[("query", text), ("time", &time), condition]).await?.data()?;
            assert_eq!(answer["result"][0]["value"][1], "1.26", "{text}");
        }
        let rounded = [("query", "m"), ("time", time.as_str()), condition, ("round_digits", "1"), ("nocache", "1")];
        assert_eq!(client.get("/api/v1/query", &rounded).await?.data()?["result"][0]["value"][1], "1.3");
        let names = client.get("/api/v1/labels", &[condition]).await?.data()?;
        assert_eq!(names, json!(["__name__", "only_a", "tenant"]));
        assert_eq!(client.get("/api/v1/label/tenant/values", &[condition]).await?.data()?, json!(["a"]));
        let series = client.get("/api/v1/series", &[("match[]", "m"), condition]).await?.data()?;
        assert_eq!(series.as_array().map(Vec::len), Some(1));
        for path in ["/api/v1/export", "/federate"] {
            let page = client.get(path, &[("match[]", "m"), condition]).await?;
            expect_status(&page, 200);
            assert!(page.text().contains("only_a") && !page.text().contains("only_b"), "{path}: {}", page.text());
        }
    }
    for wrong in [("extra_label", "tenant"), ("extra_filters[]", "{"), ("round_digits", "x")] {
        expect_status(&client.get("/api/v1/query", &[("query", "m"), wrong]).await?, 400);
    }
    cluster.finish()?;
    Ok(())
}

/// Of several filters one must be met; a series that meets two of them counts once. Some shards are on other nodes than the one that is asked.
#[tokio::test]
async fn one_of_several_filters_suffices() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start(TERN, 4).await?;
    let client = cluster.client(2);
    let at = recent_second();
    let mut body = Vec::new();
    for number in 0..40 {
        let (tenant, zone) = (["a", "b", "c", "d"][number % 4], ["x", "y"][number % 2]);
        body.push(element("m", &[("tenant", tenant), ("zone", zone), ("number", &number.to_string())], at - 60, number));
        body.push(element("m", &[("tenant", tenant), ("zone", zone), ("number", &number.to_string())], at, number + 60));
    }
    expect_status(&client.ingest(&json!(body)).await?, 204);
    let time = at.to_string();
    // Tenants a and c are in zone x, b and d in y: those of a meet both filters.
    let filters = [("extra_filters[]", "{tenant=~\"a|b\"}"), ("extra_filters[]", "{zone=\"x\"}")];
    for (text, expected) in [
        ("count(m)", "30"),
        ("sum(m)", "2370"),
        ("count(delta(m[5m]) > 0)", "30"),
        ("count(topk(100, m))", "30"),
        ("count(max_over_time(m[2m:1m]))", "30"),
        ("count(m{tenant=\"a\"})", "10"),
        ("count(m{tenant=\"d\"}) or vector(0)", "0"),
        ("sum(absent(m{tenant=\"d\"}))", "1"),
    ] {
        let answer = client.get("/api/v1/query", &[("query", text), ("time", &time), filters[0], filters[1]]).await?.data()?;
        assert_eq!(answer["result"][0]["value"][1], expected, "{text}: {answer}");
    }
    let tenants = client.get("/api/v1/label/tenant/values", &filters).await?.data()?;
    assert_eq!(tenants, json!(["a", "b", "c"]));
    let series = client.get("/api/v1/series", &[("match[]", "m"), filters[0], filters[1]]).await?.data()?;
    assert_eq!(series.as_array().map(Vec::len), Some(30));
    assert_eq!(client.get("/api/v1/series/count", &filters).await?.data()?, json!([30]));
    for path in ["/api/v1/export", "/federate"] {
        let page = client.get(path, &[("match[]", "m"), filters[0], filters[1]]).await?;
        let lines = page.text().lines().filter(|line| line.contains("number")).count();
        assert_eq!(lines, 30, "{path}");
    }
    let with_label = [("query", "count(m)"), ("time", &time), ("extra_label", "number=0"), filters[0], filters[1]];
    assert_eq!(client.get("/api/v1/query", &with_label).await?.data()?["result"][0]["value"][1], "1");
    cluster.finish()?;
    Ok(())
}
