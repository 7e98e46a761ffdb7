//! Remote write as its receivers are judged: which requests are taken, which are refused with which status, and what is said to have
//! been written. The cases are those of the public compliance suite for receivers, in our own words.

use tern_jepsen::client::{Answer, Client, RemoteWriteVersion};
use tern_jepsen::remote_write::{CONTENT_TYPE_V1, CONTENT_TYPE_V2, TimeSeries, encode_v1, encode_v2};

use crate::support::*;

const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const VALUES: [f64; 5] = [1.0, STALE_NAN, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

type Labels = Vec<(String, String)>;

/// Labels in the order given: receivers must not rely on the sender's.
fn given(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Writes one sample to each series with version 2.0.
async fn write_v2(client: &Client, series: &[Labels], sample: (i64, f64)) -> anyhow::Result<Answer> {
    let samples = [sample];
    let series = series.iter().map(|labels| TimeSeries { labels, samples: &samples });
    Ok(client.remote_write(RemoteWriteVersion::V2, encode_v2(series)).await?)
}

async fn write_v1(client: &Client, series: &[Labels], sample: (i64, f64)) -> anyhow::Result<Answer> {
    let samples = [sample];
    let series = series.iter().map(|labels| TimeSeries { labels, samples: &samples });
    Ok(client.remote_write(RemoteWriteVersion::V1, encode_v1(series)).await?)
}

/// Status and the three counts of an answer to 2.0.
fn outcome(answer: &Answer) -> (u16, [Option<&str>; 3]) {
    let written = |kind: &str| answer.header(&format!("x-prometheus-remote-write-{kind}-written"));
    (answer.status, [written("samples"), written("histograms"), written("exemplars")])
}

#[tokio::test]
async fn every_value_is_taken_and_every_bad_label_set_is_refused() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second() * 1000;
    for (number, value) in VALUES.into_iter().enumerate() {
        let number = number.to_string();
        let case = ("case", number.as_str());
        for (what, labels, status) in [
            ("a name alone", given(&[("__name__", "up"), case]), 204),
            ("several labels", given(&[("__name__", "up"), ("job", "j"), ("instance", "i:1"), case]), 204),
            ("line breaks", given(&[("__name__", "up"), ("job", "test\njob\n"), case]), 204),
            ("dots", given(&[("__name__", "resource.cpu.usage"), ("job.name", "j"), case]), 204),
            ("blanks", given(&[("__name__", "resource cpu usage"), ("job name", "j"), case]), 204),
            ("not sorted", given(&[("zone", "z"), ("__name__", "unsorted"), case, ("a", "b")]), 204),
            ("no name", given(&[("job", "j"), case]), 400),
            ("an empty name", given(&[("__name__", ""), case]), 400),
            ("no label", given(&[]), 400),
            ("a label twice", given(&[("__name__", "up"), ("job", "a"), ("job", "b"), case]), 400),
        ] {
            let answer = write_v2(&client, std::slice::from_ref(&labels), (at, value)).await?;
            let samples = if status == 204 { "1" } else { "0" };
            assert_eq!(outcome(&answer), (status, [Some(samples), Some("0"), Some("0")]), "{what}, {value}: {}", answer.text());
            // 1.0 leaves series with bad labels out and says nothing.
            let answer = write_v1(&client, &[labels], (at, value)).await?;
            assert_eq!(outcome(&answer), (204, [None; 3]), "{what}, {value}: {}", answer.text());
        }
    }
    let sorted = client.number(r#"count(unsorted{a="b",zone="z"})"#, at as f64 / 1000.0).await?;
    assert_eq!(sorted, Some(4.0), "every value but the stale one");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn good_series_beside_bad_ones_are_written() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second();
    let good = |number: &str| given(&[("__name__", "partial"), ("number", number)]);
    let nameless = given(&[("job", "j")]);
    let answer = write_v2(&client, &[nameless, good("1"), good("2"), good("3")], (at * 1000, 1.0)).await?;
    assert_eq!(outcome(&answer), (400, [Some("3"), Some("0"), Some("0")]), "{}", answer.text());
    assert!(answer.text().contains("missing metric name"), "{}", answer.text());
    assert_eq!(client.number("count(partial)", at as f64).await?, Some(3.0));

    // Too far in the future: 2.0 writes what is not, 1.0 nothing.
    let series = good("future");
    let samples = [(at * 1000, 1.0), ((at + 86_400) * 1000, 2.0)];
    let both = || [TimeSeries { labels: &series, samples: &samples }];
    let answer = client.remote_write(RemoteWriteVersion::V1, encode_v1(both())).await?;
    assert_eq!(outcome(&answer), (400, [None; 3]), "{}", answer.text());
    assert_eq!(client.number("count(partial)", at as f64).await?, Some(3.0));
    let answer = client.remote_write(RemoteWriteVersion::V2, encode_v2(both())).await?;
    assert_eq!(outcome(&answer), (400, [Some("1"), Some("0"), Some("0")]), "{}", answer.text());
    assert_eq!(client.number("count(partial)", at as f64).await?, Some(4.0));
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_repeated_sample_is_taken_and_another_value_is_refused() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let at = recent_second() * 1000;
    let series = [given(&[("__name__", "repeated")])];
    for (value, status, samples) in [(1.0, 204, "1"), (1.0, 204, "1"), (2.0, 400, "0"), (1.0, 204, "1")] {
        let answer = write_v2(&client, &series, (at, value)).await?;
        assert_eq!(outcome(&answer), (status, [Some(samples), Some("0"), Some("0")]), "{value}: {}", answer.text());
        assert_eq!(write_v1(&client, &series, (at, value)).await?.status, status, "{value}");
    }
    // Out of order is no fault here.
    assert_eq!(write_v2(&client, &series, (at - 5000, 7.0)).await?.status, 204);
    // A series with nothing in it, and a request with no series.
    let empty = [TimeSeries { labels: &series[0], samples: &[] }];
    let answer = client.remote_write(RemoteWriteVersion::V2, encode_v2(empty)).await?;
    assert_eq!(outcome(&answer), (400, [Some("0"); 3]), "{}", answer.text());
    let answer = client.remote_write(RemoteWriteVersion::V2, encode_v2([])).await?;
    assert_eq!(outcome(&answer), (204, [Some("0"); 3]), "{}", answer.text());
    assert_eq!(client.remote_write(RemoteWriteVersion::V1, encode_v1([])).await?.status, 204);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_remote_write_is_refused_by_its_kind() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let client = cluster.client(1);
    let labels = given(&[("__name__", "up")]);
    let samples = [(recent_second() * 1000, 1.0)];
    let good = encode_v2([TimeSeries { labels: &labels, samples: &samples }]);
    let corrupt = [&[0xff][..], &good[1..]].concat();
    for (content_type, encoding, body, status) in [
        ("application/json", "snappy", &corrupt, 415),
        ("image/png", "snappy", &corrupt, 415),
        ("application/x-protobuf;proto=prometheus.Unknown", "snappy", &good, 415),
        (CONTENT_TYPE_V2, "gzip", &corrupt, 415),
        (CONTENT_TYPE_V2, "deflate", &corrupt, 415),
        (CONTENT_TYPE_V1, "gzip", &good, 415),
        (CONTENT_TYPE_V2, "snappy", &corrupt, 400),
        (CONTENT_TYPE_V1, "snappy", &corrupt, 400),
        (CONTENT_TYPE_V2, "snappy", &Vec::new(), 400),
        (CONTENT_TYPE_V2, "", &good, 204),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let headers = if encoding.is_empty() { &headers[..1] } else { &headers[..] };
        let answer = client.post("/api/v1/write", headers, body.clone()).await?;
        assert_eq!(answer.status, status, "{content_type} {encoding}: {}", answer.text());
        let counts =
            if content_type == CONTENT_TYPE_V2 { [Some(if status == 204 { "1" } else { "0" }), Some("0"), Some("0")] } else { [None; 3] };
        assert_eq!(outcome(&answer).1, counts, "{content_type} {encoding}");
    }
    // Larger than a body may be, and a body that claims to become larger than allowed.
    let headers = [("content-type", CONTENT_TYPE_V1), ("content-encoding", "snappy")];
    let too_large = client.post("/api/v1/write", &headers, vec![0; (32 << 20) + 1]).await;
    assert!(too_large.as_ref().is_err() || too_large.is_ok_and(|answer| answer.status == 413), "a body of more than 32 MiB");
    let claim = vec![0x80, 0x80, 0x80, 0x80, 0x01, 0x00];
    assert_eq!(client.post("/api/v1/write", &headers, claim).await?.status, 400);
    cluster.finish()?;
    Ok(())
}
