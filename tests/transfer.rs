//! Data in and out: what is exported and imported again is the same to the last bit, in bounded memory and at any length.

use std::io::Write;

use tern_jepsen::client::{Client, RemoteWriteVersion};
use tern_jepsen::remote_write::{TimeSeries, encode_v1};

use crate::support::*;

const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

async fn export(client: &Client, selector: &str) -> anyhow::Result<String> {
    let answer = client.get("/api/v1/export", &[("match[]", selector)]).await?;
    expect_status(&answer, 200);
    Ok(answer.text())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("in memory")
}

#[tokio::test]
async fn an_export_imported_elsewhere_exports_the_same() -> TestResult {
    let _turn = turn().await;
    let (from, to) = (one_node().await?, three_nodes().await?);
    let at = recent_second() * 1000;
    let odd = [0.1 + 0.2, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, 1e21, 123_456.789];
    let odd = odd.into_iter().chain([STALE_NAN, NORMAL_NAN, 0x7ff8_0000_0000_0000, 0xfff8_0000_0000_beef].map(f64::from_bits));
    let odd: Vec<(i64, f64)> = odd.enumerate().map(|(index, value)| (at - 60_000 + index as i64, value)).collect();
    let long: Vec<(i64, f64)> = (0..120_000).map(|step| (at - 120_000 + step, (step as f64).sqrt())).collect();
    let names = [labels(&[("__name__", "odd"), ("text", "\"\\\n\u{1}é")]), labels(&[("__name__", "long")])];
    let body = encode_v1([TimeSeries { labels: &names[0], samples: &odd }, TimeSeries { labels: &names[1], samples: &long }]);
    expect_status(&from.client(1).remote_write(RemoteWriteVersion::V1, body).await?, 204);

    let exported = export(&from.client(1), "{__name__=~\"odd|long\"}").await?;
    assert_eq!(exported.lines().count(), 4, "a long series is split over lines");
    let answer = to.client(1).post("/api/v1/import", &[("content-encoding", "gzip")], gzip(&exported)).await?;
    expect_status(&answer, 204);
    assert_eq!(export(&to.client(2), "{__name__=~\"odd|long\"}").await?, exported);

    let fields = [("match[]", "odd"), ("format", "text,__timestamp__:unix_ms,__value__")];
    let csv = from.client(1).get("/api/v1/export/csv", &fields).await?;
    expect_status(&csv, 200);
    let format = "/api/v1/import/csv?format=1:label:text,2:time:unix_ms,3:metric:odd_csv";
    expect_status(&to.client(3).post(format, &[], csv.body).await?, 204);
    let renamed = export(&from.client(1), "odd").await?.replace("\"odd\"", "\"odd_csv\"");
    assert_eq!(export(&to.client(1), "odd_csv").await?, renamed);
    from.finish()?;
    to.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_body_larger_than_any_bound_passes_through() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second() * 1000;
    let times: Vec<String> = (0..1000).map(|step| (at - 1_000_000 + step * 1000).to_string()).collect();
    let times = times.join(",");
    // 40 MB plain, more than ingest.body_bytes takes at once.
    let line = |series: usize| {
        let values: Vec<String> = (0..1000).map(|step| format!("{}.123456789012", series * 1000 + step)).collect();
        let values = values.join(",");
        format!("{{\"metric\":{{\"__name__\":\"large\",\"series\":\"{series}\"}},\"values\":[{values}],\"timestamps\":[{times}]}}\n")
    };
    let body: String = (0..1200).map(line).collect();
    assert!(body.len() > 32 << 20, "{} bytes", body.len());
    expect_status(&client.post("/api/v1/import?extra_label=source=backfill", &[], body).await?, 204);
    let at = at as f64 / 1000.0;
    assert_eq!(client.number("sum(count_over_time(large{source=\"backfill\"}[20m]))", at).await?, Some(1_200_000.0));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_imported_is_named_with_its_line() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let good = format!("{{\"metric\":{{\"__name__\":\"good\"}},\"values\":[1],\"timestamps\":[{}]}}\n", at * 1000);
    let cases = [
        ("/api/v1/import", format!("{good}{{\"metric\":1}}\n"), "line 2: "),
        ("/api/v1/import", format!("{good}{}", good.replace(":[1]", ":[1,2]")), "line 2: 2 values but 1 timestamps"),
        ("/api/v1/import", "x".repeat(11 << 20), "line of the body is larger than the limit"),
        ("/api/v1/import/csv?format=1:metric:m", "1\nx\n".to_string(), "line 2: column 1: \"x\" is not a number"),
        ("/api/v1/import/csv", "1\n".to_string(), "format: "),
        ("/api/v1/import?extra_label=wrong", good.clone(), "extra_label \"wrong\""),
        ("/api/v1/import/prometheus/metrics/instance/a", "up 1\n".to_string(), "the path must be"),
    ];
    for (path, body, expected) in cases {
        let answer = client.post(path, &[], body).await?;
        assert!(answer.status == 400 || answer.status == 413, "{path}: {} {:.300}", answer.status, answer.text());
        let error = answer.json()?["error"].as_str().unwrap_or_default().to_string();
        assert!(error.contains(expected), "{path}: {error}");
    }
    assert_eq!(client.number("good", at as f64).await?, None, "nothing of a refused block is written");
    let cut = gzip(&good);
    let answer = client.post("/api/v1/import", &[("content-encoding", "gzip")], cut[..cut.len() - 4].to_vec()).await?;
    expect_status(&answer, 400);
    expect_status(&client.post("/api/v1/import", &[], good).await?, 204);
    assert_eq!(client.number("good", at as f64).await?, Some(1.0));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_push_gateways_path_labels_what_is_pushed() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let text = format!("pushed{{job=\"own\",a=\"\\\"\"}} 5\npushed_at 6 {}\n", (at - 5) * 1000);
    let base = "/api/v1/import/prometheus/metrics/job@base64/YS9i/instance/x%2Fy";
    let answer = client.post(&format!("{base}?timestamp={}&extra_label=team=t", at * 1000), &[], text).await?;
    expect_status(&answer, 204);
    let labels = "job=\"a/b\",instance=\"x/y\",team=\"t\"";
    assert_eq!(client.number(&format!("timestamp(pushed{{a=\"\\\"\",{labels}}})"), at as f64).await?, Some(at as f64));
    assert_eq!(client.number(&format!("timestamp(pushed_at{{{labels}}})"), at as f64).await?, Some((at - 5) as f64));
    cluster.finish()?;
    Ok(())
}
