//! `/federate`: the newest samples as a page that another system scrapes.

use serde_json::json;
use tern_jepsen::cluster::Cluster;

use crate::support::*;

#[tokio::test]
async fn the_newest_sample_of_each_series_is_on_the_page() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--external-labels", "region=eu,job=none"]).await?;
    let client = cluster.client(1);
    let at = recent_second();
    let body = json!([
        element("up", &[("job", "b"), ("instance", "i:1")], at - 15, 0),
        element("up", &[("job", "b"), ("instance", "i:1")], at, 1),
        element("up", &[("path", "/\"x\\\n")], at, 0.25),
        element("http.requests", &[("status.code", "200")], at, 7),
        element("old", &[], at - 400, 1),
        element("unselected", &[], at, 1),
    ]);
    expect_status(&client.ingest(&body).await?, 204);
    let selectors = [("match[]", "{__name__=~\"up|http.*|old\"}"), ("match[]", "up{job=\"b\"}")];
    let page = client.get("/federate", &selectors).await?;
    expect_status(&page, 200);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores"));
    let ms = at * 1000;
    let expected = [
        "# TYPE http_requests untyped".to_string(),
        format!("http_requests{{status_code=\"200\",instance=\"\",job=\"none\",region=\"eu\"}} 7 {ms}"),
        "# TYPE up untyped".to_string(),
        format!("up{{instance=\"i:1\",job=\"b\",region=\"eu\"}} 1 {ms}"),
        format!("up{{path=\"/\\\"x\\\\\\n\",instance=\"\",job=\"none\",region=\"eu\"}} 0.25 {ms}"),
    ];
    assert_eq!(page.text().lines().collect::<Vec<_>>(), expected);

    // Scraped, or imported as here, it gives the same samples under the labels that were added.
    expect_status(&client.post("/api/v1/import/prometheus", &[("content-type", "text/plain")], page.text()).await?, 204);
    assert_eq!(client.number("up{region=\"eu\",instance=\"i:1\"}", at as f64).await?, Some(1.0));

    let bad = client.get("/federate", &[("match[]", "up{")]).await?;
    expect_status(&bad, 400);
    assert!(!bad.text().starts_with('{'), "plain text: {}", bad.text());
    let none = client.get("/federate", &[("match[]", "absent")]).await?;
    assert_eq!((none.status, none.text().as_str()), (200, ""));
    cluster.finish()?;
    Ok(())
}
