//! What this node counts about itself, shown at `/metrics` in Prometheus' text format.
//!
//! Counters on hot paths are plain atomics reached without a lookup; only HTTP's (route, code) pairs sit behind a lock.
//! Figures that other parts already keep (Raft positions, storage sizes) are read when the page is asked for and
//! written by [`Page`] directly.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of things under way; counts down when the guard goes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn enter(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(self)
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Upper bounds in seconds, from a cached lookup to the longest allowed query.
const DURATION_BOUNDS: [f64; 16] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];

/// A classic histogram of durations.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// Not cumulative; the last one is above every bound.
    buckets: [AtomicU64; DURATION_BOUNDS.len() + 1],
    sum_microseconds: AtomicU64,
}

impl DurationHistogram {
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BOUNDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_microseconds.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn observe_since(&self, start: Instant) {
        self.observe(start.elapsed());
    }
}

/// A counter and a histogram for each pair of label values.
#[derive(Debug, Default)]
pub struct HttpFamily {
    series: RwLock<BTreeMap<(String, u16), Arc<DurationHistogram>>>,
}

impl HttpFamily {
    /// `route` must come from the router's table, never from a request's text, so that the number of series is bounded.
    pub fn observe(&self, route: &str, code: u16, duration: Duration) {
        // Looking up by reference needs an owned key in a BTreeMap of tuples; a request affords one small string.
        let key = (route.to_string(), code);
        if let Some(histogram) = self.series.read().get(&key) {
            return histogram.observe(duration);
        }
        self.series.write().entry(key).or_default().observe(duration);
    }
}

/// Everything counted, by the part that counts it.
#[derive(Debug, Default)]
pub struct SelfMetrics {
    pub http: HttpFamily,
    pub http_in_flight: Gauge,
    pub ingest: IngestMetrics,
    pub query: QueryMetrics,
}

#[derive(Debug, Default)]
pub struct IngestMetrics {
    pub in_flight: Gauge,
    pub requests: Counter,
    pub samples_accepted: Counter,
    pub samples_duplicate: Counter,
    pub samples_conflicting: Counter,
    pub samples_out_of_bounds: Counter,
    pub series_created: Counter,
    pub requests_unavailable: Counter,
    pub series_cache_hits: Counter,
    pub series_cache_misses: Counter,
    pub unknown_series_retries: Counter,
    pub batch_bytes: Counter,
    /// Decompress and decode.
    pub parse: DurationHistogram,
    /// Series ids, batches.
    pub route: DurationHistogram,
    /// Until every shard has answered.
    pub commit: DurationHistogram,
}

#[derive(Debug, Default)]
pub struct QueryMetrics {
    pub in_flight: Gauge,
    pub queries: Counter,
    pub failed: Counter,
    pub canceled: Counter,
    pub slow: Counter,
    pub samples_read: Counter,
    pub waiting: DurationHistogram,
    pub barrier: DurationHistogram,
    pub select: DurationHistogram,
    pub evaluate: DurationHistogram,
}

/// A page of metrics, as text of the exposition format or as a list of families.
#[derive(Default)]
pub struct Page {
    families: Vec<Family>,
}

/// Samples of one name (of a histogram: the names that belong to it).
pub struct Family {
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    pub help: &'static str,
    pub series: Vec<Figures>,
}

/// What one set of labels has: a number, or a histogram's.
pub struct Figures {
    /// What stands between the braces, without them; values are escaped.
    pub labels: String,
    pub value: Figure,
}

pub enum Figure {
    Number(f64),
    Histogram {
        /// Upper bound (the last is infinite) and cumulative count.
        buckets: Vec<(f64, u64)>,
        sum: f64,
    },
}

impl Page {
    pub fn family(&mut self, name: &str, kind: &'static str, help: &'static str) {
        self.families.push(Family { name: name.to_string(), kind, help, series: Vec::new() });
    }

    /// A sample of the family begun last, whose name it has. `labels` is what stands between the braces, without them;
    /// values must already be escaped.
    pub fn sample(&mut self, name: &str, labels: &str, value: f64) {
        self.push(name, labels, Figure::Number(value));
    }

    pub fn counter(&mut self, name: &str, help: &'static str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, "", value as f64);
    }

    pub fn gauge(&mut self, name: &str, help: &'static str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    pub fn histogram(&mut self, name: &str, help: &'static str, histogram: &DurationHistogram) {
        self.family(name, "histogram", help);
        self.histogram_series(name, "", histogram);
    }

    fn histogram_series(&mut self, name: &str, labels: &str, histogram: &DurationHistogram) {
        let mut cumulative = 0;
        let bounds = DURATION_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.zip(&histogram.buckets).map(|(bound, bucket)| {
            cumulative += bucket.load(Ordering::Relaxed);
            (bound, cumulative)
        });
        let buckets = buckets.collect();
        let sum = histogram.sum_microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        self.push(name, labels, Figure::Histogram { buckets, sum });
    }

    fn push(&mut self, name: &str, labels: &str, value: Figure) {
        debug_assert_eq!(self.families.last().map(|family| family.name.as_str()), Some(name));
        if let Some(family) = self.families.last_mut() {
            family.series.push(Figures { labels: labels.to_string(), value });
        }
    }

    pub fn into_families(self) -> Vec<Family> {
        self.families
    }

    pub fn into_text(self) -> String {
        let mut text = String::new();
        for Family { name, kind, help, series } in &self.families {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            series.iter().for_each(|figures| figures.write_text(name, &mut text));
        }
        text
    }
}

impl Figures {
    fn write_text(&self, name: &str, text: &mut String) {
        let labels = &self.labels;
        match &self.value {
            Figure::Number(value) => write_line(text, name, labels, *value),
            Figure::Histogram { buckets, sum } => {
                let comma = if labels.is_empty() { "" } else { "," };
                for (bound, cumulative) in buckets {
                    let bound = crate::number::value_text(*bound);
                    write_line(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), *cumulative as f64);
                }
                write_line(text, &format!("{name}_sum"), labels, *sum);
                let count = buckets.last().map_or(0, |(_, cumulative)| *cumulative);
                write_line(text, &format!("{name}_count"), labels, count as f64);
            }
        }
    }
}

fn write_line(text: &mut String, name: &str, labels: &str, value: f64) {
    text.push_str(name);
    if !labels.is_empty() {
        let _ = write!(text, "{{{labels}}}");
    }
    let _ = writeln!(text, " {}", crate::number::value_text(value));
}

impl SelfMetrics {
    pub fn write(&self, page: &mut Page) {
        self.write_http(page);
        self.ingest.write(page);
        self.query.write(page);
    }

    fn write_http(&self, page: &mut Page) {
        page.gauge("tern_http_requests_in_flight", "HTTP requests being answered.", self.http_in_flight.get() as f64);
        let name = "tern_http_request_duration_seconds";
        page.family(name, "histogram", "HTTP requests by route and status code.");
        for ((route, code), histogram) in self.http.series.read().iter() {
            page.histogram_series(name, &format!("route=\"{route}\",code=\"{code}\""), histogram);
        }
    }
}

impl IngestMetrics {
    fn write(&self, page: &mut Page) {
        page.gauge("tern_ingest_requests_in_flight", "Write requests under way.", self.in_flight.get() as f64);
        page.counter("tern_ingest_requests_total", "Write requests received.", self.requests.get());
        let name = "tern_ingest_samples_total";
        page.family(name, "counter", "Samples by what became of them.");
        let outcomes = [
            ("accepted", &self.samples_accepted),
            ("duplicate", &self.samples_duplicate),
            ("conflicting", &self.samples_conflicting),
            ("out_of_bounds", &self.samples_out_of_bounds),
        ];
        for (outcome, counter) in outcomes {
            page.sample(name, &format!("outcome=\"{outcome}\""), counter.get() as f64);
        }
        page.counter("tern_ingest_series_created_total", "Series first seen in writes through this node.", self.series_created.get());
        page.counter("tern_ingest_unavailable_total", "Write requests answered 503.", self.requests_unavailable.get());
        page.counter("tern_ingest_series_cache_hits_total", "Series found by their raw labels.", self.series_cache_hits.get());
        page.counter(
            "tern_ingest_series_cache_misses_total",
            "Series whose labels had to be sorted and hashed.",
            self.series_cache_misses.get(),
        );
        page.counter("tern_ingest_unknown_series_retries_total", "Batches sent again with labels.", self.unknown_series_retries.get());
        page.counter("tern_ingest_batch_bytes_total", "Bytes of encoded batches.", self.batch_bytes.get());
        page.histogram("tern_ingest_parse_seconds", "Decompressing and decoding one write.", &self.parse);
        page.histogram("tern_ingest_route_seconds", "Finding series ids and encoding batches of one write.", &self.route);
        page.histogram("tern_ingest_commit_seconds", "Waiting for the shards' answers to one write.", &self.commit);
    }
}

impl QueryMetrics {
    fn write(&self, page: &mut Page) {
        page.gauge("tern_query_in_flight", "Queries under way.", self.in_flight.get() as f64);
        page.counter("tern_query_total", "Queries received.", self.queries.get());
        page.counter("tern_query_failed_total", "Queries that ended with an error.", self.failed.get());
        page.counter("tern_query_canceled_total", "Queries whose client went away.", self.canceled.get());
        page.counter("tern_query_slow_total", "Queries slower than query.slow_log.", self.slow.get());
        page.counter("tern_query_samples_read_total", "Samples read from shards for queries.", self.samples_read.get());
        page.histogram("tern_query_waiting_seconds", "Waiting for a place among query.concurrency.", &self.waiting);
        page.histogram("tern_query_barrier_seconds", "Read barrier of strong queries.", &self.barrier);
        page.histogram("tern_query_select_seconds", "Selecting series of one selector.", &self.select);
        page.histogram("tern_query_evaluate_seconds", "Evaluation, reading samples included.", &self.evaluate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_buckets_are_cumulative_on_the_page() {
        let histogram = DurationHistogram::default();
        histogram.observe(Duration::from_micros(400));
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(500));
        let mut page = Page::default();
        page.histogram("x_seconds", "Help.", &histogram);
        let text = page.into_text();
        assert!(text.contains("x_seconds_bucket{le=\"0.0005\"} 1\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"0.005\"} 2\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("x_seconds_count 3\n"), "{text}");
    }

    #[test]
    fn http_series_carry_route_and_code() {
        let metrics = SelfMetrics::default();
        metrics.http.observe("/api/v1/query", 200, Duration::from_millis(1));
        let mut page = Page::default();
        metrics.write(&mut page);
        assert!(page.into_text().contains("_count{route=\"/api/v1/query\",code=\"200\"} 1\n"));
    }

    #[test]
    fn a_gauge_counts_what_is_under_way() {
        let gauge = Gauge::default();
        let guard = gauge.enter();
        assert_eq!(gauge.get(), 1);
        drop(guard);
        assert_eq!(gauge.get(), 0);
    }
}
