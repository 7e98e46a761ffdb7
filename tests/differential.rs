//! Prometheus 2.42 and three nodes of Tern get the same samples by remote write and answer the same queries, templates and random ones; what they
//! answer must be the same, but for what Prometheus 3 has changed ([`rules`]).
//!
//! `TERN_DIFFERENTIAL_SEED` repeats or varies the random queries, `TERN_DIFFERENTIAL_QUERIES` says how many.

mod answer;
mod data;
mod random;
mod rules;
mod templates;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tern_jepsen::client::{Client, RemoteWriteVersion};
use tern_jepsen::cluster::RunDirectory;
use tern_jepsen::peers;
use tern_jepsen::remote_write::{encode_v1, encode_v2};

use self::answer::Answer;
use self::random::Expressions;
use crate::support::*;

/// Random queries when nobody says otherwise.
const RANDOM_QUERIES: u64 = 1000;
/// Span of the samples of one write request.
const WRITE_SPAN_MS: i64 = 300_000;
/// Evaluations are this much past a whole second. See [`data`].
const QUERY_FRACTION_MS: i64 = 100;
/// Failures that are shown in full.
const FAILURES_SHOWN_MAX: usize = 40;

/// A query and when it is evaluated.
struct Query {
    text: String,
    times: Times,
}

#[derive(Clone, Copy)]
enum Times {
    At(i64),
    Range { start_ms: i64, end_ms: i64, step_seconds: i64 },
}

/// What came of all queries.
#[derive(Default)]
struct Account {
    queries: usize,
    equal: usize,
    /// Equal ones that were errors in both, and those that had series.
    equal_errors: usize,
    equal_with_series: usize,
    excused: BTreeMap<&'static str, (usize, &'static str)>,
    failures: Vec<String>,
}

#[tokio::test]
async fn prometheus_and_tern_answer_the_same() -> TestResult {
    if peers::installed("prometheus").is_none() {
        eprintln!("\n*** SKIPPED: prometheus is not installed. apt-get install prometheus ***\n");
        return Ok(());
    }
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let mut directory = RunDirectory::create()?;
    let prometheus = peers::prometheus(directory.path(), "global: {}\n").await?;
    let end_second = recent_second() - 600;
    write_everywhere(&data::all(end_second), &cluster.client(1), &prometheus.client()).await?;

    let mut account = Account::default();
    let (nodes, reference) = (cluster.clients(), prometheus.client());
    for (number, query) in all_queries(end_second).iter().enumerate() {
        let (_, node) = &nodes[number % nodes.len()];
        account.compare(query, &ask(&reference, query).await?, &ask(node, query).await?);
    }
    println!("{}", account.report());
    assert!(account.queries >= 500 && account.equal_with_series * 2 > account.queries, "too little was asked: see above");
    assert!(account.failures.is_empty(), "{} of {} queries differ: see above", account.failures.len(), account.queries);
    cluster.finish()?;
    directory.succeeded();
    Ok(())
}

/// In the order of time, as a sender would: Prometheus takes no sample older than the last of its series.
async fn write_everywhere(series: &[data::Series], tern: &Client, prometheus: &Client) -> TestResult {
    let newest = |one: &data::Series| one.samples.last().map_or(i64::MIN, |sample| sample.0);
    let oldest = |one: &data::Series| one.samples.first().map_or(i64::MAX, |sample| sample.0);
    let end_ms = series.iter().map(newest).max().unwrap_or(0);
    let mut from_ms = series.iter().map(oldest).min().unwrap_or(0);
    while from_ms <= end_ms {
        let to_ms = from_ms + WRITE_SPAN_MS;
        let body = || encode_v1(data::slice(series, from_ms, to_ms));
        expect_status(&prometheus.remote_write(RemoteWriteVersion::V1, body()).await?, 204);
        let to_tern = match (from_ms / WRITE_SPAN_MS) % 2 {
            0 => tern.remote_write(RemoteWriteVersion::V1, body()).await?,
            _ => tern.remote_write(RemoteWriteVersion::V2, encode_v2(data::slice(series, from_ms, to_ms))).await?,
        };
        expect_status(&to_tern, 204);
        from_ms = to_ms;
    }
    Ok(())
}

fn all_queries(end_second: i64) -> Vec<Query> {
    let end_ms = (end_second - 60) * 1000 + QUERY_FRACTION_MS;
    let at = format!("{:.1}", (end_ms - 400_000) as f64 / 1000.0);
    let range = |minutes: i64, step_seconds| Times::Range { start_ms: end_ms - minutes * 60_000, end_ms, step_seconds };
    let mut queries = Vec::new();
    for text in templates::queries(&at) {
        queries.push(Query { text: text.clone(), times: Times::At(end_ms) });
        queries.push(Query { text, times: range(10, 10) });
    }
    let (seed, count) = (from_environment("TERN_DIFFERENTIAL_SEED", 1), from_environment("TERN_DIFFERENTIAL_QUERIES", RANDOM_QUERIES));
    println!("{} queries from templates; {count} random ones with TERN_DIFFERENTIAL_SEED={seed}", queries.len());
    let mut expressions = Expressions::new(seed, &at);
    for number in 0..count {
        let times = match number % 4 {
            0 => Times::At(end_ms),
            1 => Times::At(end_ms - 1_207_000),
            2 => range(10, 17),
            _ => range(35, 60),
        };
        queries.push(Query { text: expressions.query(), times });
    }
    queries
}

fn from_environment(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn ask(client: &Client, query: &Query) -> anyhow::Result<Answer> {
    let seconds = |time_ms: i64| format!("{:.3}", time_ms as f64 / 1000.0);
    let answer = match query.times {
        Times::At(time_ms) => client.get("/api/v1/query", &[("query", &query.text), ("time", &seconds(time_ms))]).await?,
        Times::Range { start_ms, end_ms, step_seconds } => {
            let (start, end, step) = (seconds(start_ms), seconds(end_ms), step_seconds.to_string());
            let parameters = [("query", query.text.as_str()), ("start", &start), ("end", &end), ("step", &step)];
            client.get("/api/v1/query_range", &parameters).await?
        }
    };
    Answer::read(&answer)
}

impl Account {
    fn compare(&mut self, query: &Query, old: &Answer, new: &Answer) {
        self.queries += 1;
        // At one time the order of sorting functions is theirs; a range is always in the order of its labels. The order of several
        // groups of `topk` is nobody's.
        let sorts = ["sort", "topk(", "bottomk("].iter().any(|word| query.text.starts_with(word));
        let ordered = sorts || matches!(query.times, Times::Range { .. });
        if old.agrees(new) && (!ordered || old.has_order_of(new)) {
            self.equal += 1;
            self.equal_errors += usize::from(matches!(old, Answer::Error { .. }));
            self.equal_with_series += usize::from(old.series_count() > 0);
        } else if let Some(rule) = rules::excuse(&query.text, old, new) {
            self.excused.entry(rule.name).or_insert((0, rule.reason)).0 += 1;
        } else {
            self.failures.push(difference(query, old, new));
        }
    }

    fn report(&self) -> String {
        let mut report = String::new();
        for failure in self.failures.iter().take(FAILURES_SHOWN_MAX) {
            let _ = writeln!(report, "{failure}\n");
        }
        let _ = writeln!(
            report,
            "{} queries: {} equal ({} with series, {} errors in both), {} failures",
            self.queries,
            self.equal,
            self.equal_with_series,
            self.equal_errors,
            self.failures.len()
        );
        for (name, (count, reason)) in &self.excused {
            let _ = writeln!(report, "{count} differ by the rule {name}: {reason}");
        }
        report
    }
}

fn difference(query: &Query, old: &Answer, new: &Answer) -> String {
    let times = match query.times {
        Times::At(time_ms) => format!("at {time_ms} ms"),
        Times::Range { start_ms, end_ms, step_seconds } => format!("from {start_ms} to {end_ms} ms, step {step_seconds} s"),
    };
    format!("{} ({times})\n  Prometheus: {:.900}\n  Tern:       {:.900}", query.text, format!("{old:?}"), format!("{new:?}"))
}
