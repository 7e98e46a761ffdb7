//! One node alone: it starts with nothing but a folder and an address, and keeps what it has acknowledged.

use serde_json::json;
use tern_jepsen::client::RemoteWriteVersion;
use tern_jepsen::remote_write::{TimeSeries, encode_v1};

use crate::support::*;

#[tokio::test]
async fn a_node_starts_with_a_folder_and_an_address_alone() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    expect_status(&client.get("/-/healthy", &[]).await?, 200);
    let at = recent_second();
    expect_status(&client.ingest(&json!([element("alone", &[("service", "auth")], at, 12.5)])).await?, 204);
    assert_eq!(client.number(r#"alone{service="auth"}"#, at as f64).await?, Some(12.5));
    let own_metrics = client.get("/metrics", &[]).await?;
    expect_status(&own_metrics, 200);
    assert!(own_metrics.text().contains("# TYPE tern_"), "no metrics of its own: {:.300}", own_metrics.text());
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_data_after_sigterm_and_after_kill() -> TestResult {
    let _turn = turn().await;
    let mut cluster = one_node().await?;
    let at = recent_second();
    let series = labels(&[("__name__", "kept"), ("job", "restart")]);
    for round in 0..3_i64 {
        let samples: Vec<(i64, f64)> =
            (0..100).map(|step| ((at - 60 + round * 10) * 1000 + step * 100, (round * 100 + step) as f64)).collect();
        let body = encode_v1([TimeSeries { labels: &series, samples: &samples }]);
        expect_status(&cluster.client(1).remote_write(RemoteWriteVersion::V1, body).await?, 204);
        if round == 0 {
            cluster.terminate(1).await?;
        } else {
            cluster.kill(1)?;
        }
        cluster.start_node(1)?;
        cluster.wait_ready().await?;
        let kept = cluster.client(1).samples(r#"kept{job="restart"}[5m]"#, at as f64).await?;
        assert_eq!(kept.len(), 1);
        let values: Vec<f64> = kept[0].samples.iter().map(|sample| sample.1).collect();
        let expected: Vec<f64> = (0..(round + 1) * 100).map(|value| value as f64).collect();
        assert_eq!(values, expected, "after restart {round}");
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn data_sealed_to_disk_is_still_there_after_kill() -> TestResult {
    let _turn = turn().await;
    let mut cluster = one_node().await?;
    let at = recent_second();
    let write = |cluster: &tern_jepsen::cluster::Cluster, value: f64, time: i64| {
        let (client, body) = (cluster.client(1), json!([element("sealed", &[], time, value)]));
        async move { client.ingest(&body).await }
    };
    expect_status(&write(&cluster, 1.0, at - 20).await?, 204);
    expect_status(&cluster.client(1).post("/debug/flush", &[], "").await?, 204);
    expect_status(&write(&cluster, 2.0, at - 10).await?, 204);
    cluster.kill(1)?;
    cluster.start_node(1)?;
    cluster.wait_ready().await?;
    let kept = cluster.client(1).samples("sealed[5m]", at as f64).await?;
    let samples: Vec<_> = kept.iter().flat_map(|series| series.samples.clone()).collect();
    assert_eq!(samples, [((at - 20) * 1000, 1.0), ((at - 10) * 1000, 2.0)]);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn samples_out_of_order_and_repeated_are_sorted_and_kept_once() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    for offset in [30, 10, 20, 10, 0] {
        expect_status(&client.ingest(&json!([element("mixed", &[], at - offset, offset)])).await?, 204);
    }
    let series = client.samples("mixed[5m]", at as f64).await?;
    let expected: Vec<(i64, f64)> = [30, 20, 10, 0].map(|offset| ((at - offset) * 1000, offset as f64)).to_vec();
    assert_eq!(series[0].samples, expected);
    // The native API: the last write of a timestamp wins.
    expect_status(&client.ingest(&json!([element("mixed", &[], at - 20, 99)])).await?, 204);
    assert_eq!(client.number("mixed", (at - 20) as f64).await?, Some(99.0));
    cluster.finish()?;
    Ok(())
}
