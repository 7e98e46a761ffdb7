//! Remote read: a real Prometheus answers queries with Tern's data, and both kinds of answers hold every bit.

use serde_json::json;
use tern_jepsen::client::{Answer, Client, RemoteWriteVersion};
use tern_jepsen::cluster::{Cluster, RunDirectory};
use tern_jepsen::peers;
use tern_jepsen::remote_read::{
    CONTENT_TYPE, CONTENT_TYPE_STREAMED, Frame, Match, Query, SAMPLES, STREAMED_XOR_CHUNKS, Series, decode_frames, decode_samples,
    encode_request, series_of_frames,
};
use tern_jepsen::remote_write::{TimeSeries, encode_v1};

use crate::native_histograms::{Histogram, SCRAPES, STEP_S, exponential, request_v1};
use crate::support::*;

async fn read(client: &Client, queries: &[Query<'_>], accepted: &[u64]) -> anyhow::Result<Answer> {
    let headers = [("content-type", CONTENT_TYPE), ("content-encoding", "snappy"), ("x-prometheus-remote-read-version", "0.1.0")];
    Ok(client.post("/api/v1/read", &headers, encode_request(queries, accepted)).await?)
}

/// The same queries in both kinds; what they hold must be the same.
async fn read_both(client: &Client, queries: &[Query<'_>]) -> anyhow::Result<Vec<Vec<Series>>> {
    let plain = read(client, queries, &[]).await?;
    expect_status(&plain, 200);
    assert_eq!((plain.header("content-type"), plain.header("content-encoding")), (Some(CONTENT_TYPE), Some("snappy")));
    let plain = decode_samples(&plain.body)?;
    let streamed = read(client, queries, &[STREAMED_XOR_CHUNKS, SAMPLES]).await?;
    expect_status(&streamed, 200);
    assert_eq!(streamed.header("content-type"), Some(CONTENT_TYPE_STREAMED));
    let frames = decode_frames(&streamed.body)?;
    for (index, series) in plain.iter().enumerate() {
        assert_eq!(series, &series_of_frames(&frames, index as u64)?, "query {index}");
    }
    Ok(plain)
}

/// `series_count` series of a sample every 15 s with values that metrics have.
async fn write_series(client: &Client, name: &str, series_count: usize, samples: usize, end_ms: i64) -> anyhow::Result<Vec<Series>> {
    let all: Vec<Series> = (0..series_count)
        .map(|number| {
            let step = |at: usize| (end_ms - (samples - 1 - at) as i64 * 15_000, (at * number) as f64 / 8.0 + 0.1);
            Series {
                labels: labels(&[("__name__", name), ("number", &format!("{number:03}"))]),
                samples: (0..samples).map(step).collect(),
                ..Series::default()
            }
        })
        .collect();
    let body = encode_v1(all.iter().map(|series| TimeSeries { labels: &series.labels, samples: &series.samples }));
    expect_status(&client.remote_write(RemoteWriteVersion::V1, body).await?, 204);
    Ok(all)
}

#[tokio::test]
async fn every_selection_comes_sorted_and_whole_in_both_kinds() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let end_ms = recent_second() * 1000;
    let one = write_series(&cluster.client(1), "one", 40, 500, end_ms).await?;
    let two = write_series(&cluster.client(2), "two", 3, 7, end_ms).await?;
    expect_status(&cluster.client(1).post("/debug/flush", &[], "").await?, 204);
    let range = |start_ms, matchers| Query { start_ms, end_ms, matchers };
    let queries = [
        range(0, vec![(Match::Equal, "__name__", "one")]),
        range(0, vec![(Match::Regex, "__name__", "o.*|t.o"), (Match::NotEqual, "number", "001"), (Match::NotRegex, "number", "03.")]),
        range(end_ms - 30_000, vec![(Match::Equal, "__name__", "two")]),
        range(0, vec![(Match::Equal, "__name__", "absent")]),
    ];
    for (node, client) in cluster.clients() {
        let found = read_both(&client, &queries).await?;
        assert_eq!(found[0], one, "node {node}");
        let is_wanted = |series: &&Series| series.labels[1].1 != "001" && !series.labels[1].1.starts_with("03");
        let wanted: Vec<Series> = one.iter().chain(&two).filter(is_wanted).cloned().collect();
        assert_eq!(found[1], wanted, "node {node}");
        assert_eq!(found[2].len(), 3);
        assert!(found[2].iter().zip(&two).all(|(found, all)| found.samples == all.samples[4..]), "both ends are inclusive");
        assert!(found[3].is_empty());
    }
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_or_too_much_is_refused_in_plain_text() -> TestResult {
    let _turn = turn().await;
    let arguments = ["--bulk-read-samples-max", "1000", "--external-labels", "region=eu"];
    let cluster = Cluster::start_with(TERN, 1, &arguments).await?;
    let client = cluster.client(1);
    let end_ms = recent_second() * 1000;
    write_series(&client, "bounded", 2, 600, end_ms).await?;
    let matchers = vec![(Match::Equal, "__name__", "bounded"), (Match::Equal, "region", "eu")];
    let query = [Query { start_ms: 0, end_ms, matchers }];
    let too_many = read(&client, &query, &[]).await?;
    expect_status(&too_many, 400);
    assert_eq!(too_many.text(), "exceeded sample limit (1000)\n");
    let streamed = decode_frames(&read(&client, &query, &[STREAMED_XOR_CHUNKS]).await?.body)?;
    let series = series_of_frames(&streamed, 0)?;
    assert_eq!(series.iter().map(|series| series.samples.len()).sum::<usize>(), 1200, "streams are not bounded");
    assert_eq!(series[0].labels, labels(&[("__name__", "bounded"), ("number", "000"), ("region", "eu")]), "external labels are added");
    let unknown = read(&client, &query, &[7]).await?;
    expect_status(&unknown, 400);
    assert!(unknown.text().starts_with("server does not support any of the requested response types"), "{}", unknown.text());
    let pattern = [Query { start_ms: 0, end_ms, matchers: vec![(Match::Regex, "a", "(")] }];
    expect_status(&read(&client, &pattern, &[]).await?, 400);
    for body in [b"no snappy".to_vec(), vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0], vec![]] {
        let answer = client.post("/api/v1/read", &[("content-type", CONTENT_TYPE)], body).await?;
        assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
    }
    cluster.finish()?;
    Ok(())
}

/// The elements of an instant query's answer; their order is no part of the answer.
async fn sorted_instant(client: &Client, expression: &str, time_ms: i64) -> anyhow::Result<Vec<String>> {
    let data = client.instant(expression, time_ms as f64 / 1000.0).await?;
    let mut elements: Vec<String> = data["result"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    elements.sort();
    Ok(elements)
}

/// `end_ms`, or the last second before the multiple of two hours that lies within `length_ms` before it: Prometheus cuts chunks there.
fn before_block_boundary(end_ms: i64, length_ms: i64) -> i64 {
    const BLOCK_RANGE_MS: i64 = 2 * 60 * 60 * 1000;
    let boundary = end_ms - end_ms.rem_euclid(BLOCK_RANGE_MS);
    if end_ms - length_ms < boundary { boundary - 1000 } else { end_ms }
}

/// One Prometheus holds the samples itself, another has none and reads them from Tern.
#[tokio::test]
async fn prometheus_queries_tern_and_chunks_are_those_of_prometheus() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let tern = cluster.client(1);
    let mut directories = [RunDirectory::create()?, RunDirectory::create()?];
    let holder = peers::prometheus(directories[0].path(), "global: { scrape_interval: 1m }\n").await?;
    // Fewer samples than a chunk holds and all within one block range of Prometheus's, so that both have the same one chunk.
    let end_ms = before_block_boundary(recent_second() * 1000, 100 * 15_000);
    write_series(&holder.client(), "shared", 5, 100, end_ms).await?;
    write_series(&tern, "shared", 5, 100, end_ms).await?;

    let query = [Query { start_ms: 0, end_ms, matchers: vec![(Match::Equal, "__name__", "shared")] }];
    let frames = |answer: &Answer| -> anyhow::Result<Vec<Frame>> {
        expect_status(answer, 200);
        decode_frames(&answer.body)
    };
    let of_prometheus = frames(&read(&holder.client(), &query, &[STREAMED_XOR_CHUNKS]).await?)?;
    let of_tern = frames(&read(&tern, &query, &[STREAMED_XOR_CHUNKS]).await?)?;
    assert_eq!(of_prometheus.len(), 5);
    for (theirs, ours) in of_prometheus.iter().zip(&of_tern) {
        assert_eq!(theirs.chunks.len(), 1, "one chunk");
        assert_eq!((&ours.labels, &ours.chunks), (&theirs.labels, &theirs.chunks), "byte for byte");
    }
    assert_eq!(of_tern, of_prometheus);
    let plain = [read(&tern, &query, &[]).await?, read(&holder.client(), &query, &[]).await?].map(|answer| decode_samples(&answer.body));
    let [ours, theirs] = plain;
    assert_eq!(ours?, theirs?);

    let address = cluster.node(1)?.http.address();
    let configuration = format!("remote_read: [{{ url: \"http://{address}/api/v1/read\", read_recent: true }}]\n");
    let reader = peers::prometheus(directories[1].path(), &configuration).await?;
    // Ranges that end between samples: Prometheus 2 takes in a sample at the left edge, Prometheus 3 does not.
    for expression in ["shared", "sum(shared)", "sum_over_time(shared{number=~\"00[1-3]\"}[1190s])", "count(shared)", "rate(shared[290s])"]
    {
        let expected = sorted_instant(&tern, expression, end_ms).await?;
        assert!(!expected.is_empty(), "{expression} finds nothing");
        assert_eq!(sorted_instant(&reader.client(), expression, end_ms).await?, expected, "{expression}");
    }
    cluster.finish()?;
    directories.iter_mut().for_each(RunDirectory::succeeded);
    Ok(())
}

#[tokio::test]
async fn a_node_without_replicas_reads_them_from_others() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 3, &["--cluster-replication-factor", "1"]).await?;
    let end_ms = recent_second() * 1000;
    let all = write_series(&cluster.client(1), "spread", 60, 50, end_ms).await?;
    let query = [Query { start_ms: 0, end_ms, matchers: vec![(Match::Equal, "__name__", "spread")] }];
    for (node, client) in cluster.clients() {
        assert_eq!(read_both(&client, &query).await?, std::slice::from_ref(&all), "node {node}");
    }
    let federated = cluster.client(2).get("/federate", &[("match[]", "spread")]).await?;
    expect_status(&federated, 200);
    assert_eq!(federated.text().lines().count(), 61);
    assert_eq!(cluster.client(3).number("count(spread)", end_ms as f64 / 1000.0).await?, Some(60.0));
    expect_status(&cluster.client(3).ingest(&json!([element("after", &[], recent_second(), 1)])).await?, 204);
    cluster.finish()?;
    Ok(())
}

/// Scrapes of a counter of native histograms that falls once, so that a chunk ends there.
fn histograms(start_s: i64) -> Vec<Histogram> {
    (0..SCRAPES).map(|scrape| Histogram { timestamp: (start_s + scrape * STEP_S) * 1000, ..exponential(scrape % 12, start_s) }).collect()
}

/// A Prometheus holds the same histograms. Debian's, a Prometheus 2, does not take histograms in when it reads from others, so
/// it cannot be the reader as well.
#[tokio::test]
async fn histograms_in_chunks_are_those_of_prometheus() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let tern = cluster.client(1);
    let mut directory = RunDirectory::create()?;
    let flags = ["--enable-feature=native-histograms"];
    let holder = peers::prometheus_with(directory.path(), "global: { scrape_interval: 1m }\n", &flags).await?;
    let length_s = SCRAPES * STEP_S;
    let end_ms = before_block_boundary(recent_second() * 1000, length_s * 1000);
    let start_s = end_ms / 1000 - (SCRAPES - 1) * STEP_S;
    for instance in 0..3 {
        for client in [&holder.client(), &tern] {
            let body = request_v1("shared_histogram", instance, histograms(start_s))?;
            expect_status(&client.remote_write(RemoteWriteVersion::V1, body).await?, 204);
        }
    }
    let query = [Query { start_ms: 0, end_ms, matchers: vec![(Match::Equal, "__name__", "shared_histogram")] }];
    let mut chunks = Vec::new();
    let mut samples = Vec::new();
    for client in [&holder.client(), &tern] {
        let frames = decode_frames(&read(client, &query, &[STREAMED_XOR_CHUNKS]).await?.body)?;
        samples.push(series_of_frames(&frames, 0)?);
        // The flags of a chunk that begins with a counter reset: those of Debian's Prometheus 2 do not say so, unlike those of 3.
        let mut flags = Vec::new();
        let mut without_flags = frames;
        for chunk in without_flags.iter_mut().flat_map(|frame| &mut frame.chunks) {
            flags.push(std::mem::take(&mut chunk.data[2]));
        }
        chunks.push((without_flags, flags));
    }
    assert_eq!(samples[0].len(), 3);
    assert!(samples[0].iter().all(|series| series.histograms.len() == SCRAPES as usize), "{:?}", samples[0]);
    assert_eq!(samples[1], samples[0], "what the chunks hold");
    assert_eq!(chunks[1].0, chunks[0].0, "byte for byte");
    assert_eq!(chunks[1].1, [0, 0x80].repeat(3), "each series falls once");
    let plain = decode_samples(&read(&tern, &query, &[]).await?.body)?;
    // Debian's Prometheus 2 leaves histograms out of plain answers, so only the streamed ones can be compared with it.
    assert_eq!(plain[0], samples[0], "plain");
    cluster.finish()?;
    directory.succeeded();
    Ok(())
}
