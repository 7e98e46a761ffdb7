//! Conditions that a proxy adds to requests: no answer holds a series that does not meet them.

use serde_json::json;

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
    let two = [("query", "m"), ("extra_filters[]", "{a=\"1\"}"), ("extra_filters[]", "{b=\"1\"}")];
    expect_status(&client.get("/api/v1/query", &two).await?, 400);
    cluster.finish()?;
    Ok(())
}
