//! One PromQL query from its text to its value: parse, wait for a place, freshen the replicas, evaluate on a blocking thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promql::ParserOptions;
use promql::ast::Expr;
use promql::engine::{Engine, EngineOptions, QueryOptions, QueryOutput, StatsDetail};
use promql::matcher::Matcher;
use promql::subplan::QueryText;
use raft::Node;
use tokio::runtime::Handle;

use super::active::{ActiveQueries, Entry};
use super::conditions::Conditions;
use super::failure::QueryFailure;
use super::history::QueryHistory;
use super::name_use::NameUse;
use super::replicas::Replicas;
use super::session::{self, Cancel, Gate};
use super::source::ClusterSource;
pub use super::times::Times;
use crate::clock;
use crate::config::{Consistency, Features, QuerySettings};
use crate::peers::Peers;
use crate::self_metrics::SelfMetrics;

/// A query that has been parsed.
pub struct Query {
    pub text: String,
    pub expression: Expr,
    /// What every selector of it must meet too.
    pub conditions: Conditions,
    pub times: Times,
    pub consistency: Consistency,
    pub timeout: Option<Duration>,
    pub lookback_ms: Option<i64>,
    pub stats: StatsDetail,
    /// Who asks, for the list of running queries.
    pub asker: Option<SocketAddr>,
}

/// What a query answers, and how long each stage took.
pub struct Answer {
    pub output: QueryOutput,
    /// About consistency; the output's annotations come on top.
    pub warnings: Vec<String>,
    pub waited: Duration,
    pub freshened: Duration,
    pub evaluated: Duration,
}

/// Runs queries; one a node.
pub struct Runner {
    engine: Arc<Engine>,
    parser: ParserOptions,
    node: Arc<Node>,
    peers: Peers,
    gate: Gate,
    active: Arc<ActiveQueries>,
    history: QueryHistory,
    names: NameUse,
    settings: QuerySettings,
    retention: Duration,
    metrics: Arc<SelfMetrics>,
}

impl Runner {
    pub fn new(
        node: Arc<Node>,
        peers: Peers,
        settings: QuerySettings,
        features: Features,
        retention: Duration,
        metrics: Arc<SelfMetrics>,
    ) -> Runner {
        let options = EngineOptions {
            samples_max: settings.samples_max,
            memory_bytes_max: settings.memory_bytes,
            timeout: settings.timeout,
            lookback_ms: settings.lookback.as_millis() as i64,
            delayed_name_removal: features.delayed_name_removal,
            ..EngineOptions::default()
        };
        Runner {
            engine: Arc::new(Engine::new(options)),
            parser: parser_options(&settings, features),
            gate: Gate::new(settings.concurrency, Arc::clone(&metrics)),
            active: Arc::default(),
            history: QueryHistory::new(settings.history),
            names: NameUse::default(),
            node,
            peers,
            settings,
            retention,
            metrics,
        }
    }

    /// Reads a query's text.
    pub fn parse(&self, text: &str) -> Result<Expr, QueryFailure> {
        promql::parse(text, self.parser).map_err(|error| QueryFailure::BadQuery(error.to_string()))
    }

    /// Reads a selector as `match[]=` holds it.
    pub fn parse_selector(&self, text: &str) -> Result<Vec<Matcher>, QueryFailure> {
        let matchers = promql::parser::parse_metric_selector(text, self.parser);
        matchers.map_err(|error| QueryFailure::BadQuery(error.to_string()))
    }

    pub async fn run(&self, query: Query) -> Result<Answer, QueryFailure> {
        self.metrics.query.queries.add(1);
        let _in_flight = self.metrics.query.in_flight.enter();
        let text: Arc<str> = query.text.as_str().into();
        let range_seconds = query.times.range_seconds();
        self.names.record(&query.expression, clock::now_ms());
        let entry = self.active.enter(Arc::clone(&text), query.times, query.asker);
        let start = Instant::now();
        let cancel = Cancel::new();
        let canceled = CountCanceled { metrics: &self.metrics, is_done: false };
        let result = self.run_stages(query, &cancel, entry).await;
        cancel.done();
        canceled.done();
        if let Err(failure) = &result {
            self.metrics.query.failed.add(1);
            tracing::debug!(%text, %failure, "query failed");
        }
        self.history.add(&text, range_seconds, start.elapsed());
        self.log_if_slow(&text, start.elapsed(), &result);
        result
    }

    async fn run_stages(&self, query: Query, cancel: &Cancel, entry: Entry) -> Result<Answer, QueryFailure> {
        let deadline = session::deadline(query.timeout, self.settings.timeout);
        let start = Instant::now();
        let place = self.gate.enter(deadline).await?;
        let waited = start.elapsed();
        let (replicas, warnings) = self.freshen(query.consistency, deadline).await?;
        let freshened = start.elapsed() - waited;
        let text = Some(QueryText { text: query.text.as_str().into(), parser: self.parser });
        let options = QueryOptions {
            lookback_ms: query.lookback_ms,
            cancel: Some(cancel.flag()),
            deadline: Some(deadline),
            stats: query.stats,
            text,
        };
        let mut source = self.source(replicas, query.consistency, deadline);
        source.conditions = query.conditions.clone();
        let engine = Arc::clone(&self.engine);
        let job = tokio::task::spawn_blocking(move || {
            // The places are given back when the work ends, not when the client stops waiting.
            let _places = (place, entry);
            evaluate(&engine, &source, &query, &options)
        });
        let output = job.await.map_err(|error| QueryFailure::Internal(format!("evaluate a query: {error}")))??;
        let evaluated = start.elapsed() - waited - freshened;
        self.metrics.query.evaluate.observe(evaluated);
        Ok(Answer { output, warnings, waited, freshened, evaluated })
    }

    /// See [`Replicas::freshen`]; takes no longer than the query itself may.
    pub async fn freshen(&self, consistency: Consistency, deadline: Instant) -> Result<(Replicas, Vec<String>), QueryFailure> {
        let timeout = self.settings.barrier_timeout.min(deadline.saturating_duration_since(Instant::now()));
        let fresh = Replicas::freshen(&self.node, consistency, timeout, &self.metrics).await;
        // A barrier that had no time left says nothing about the majority.
        fresh.map_err(|failure| if Instant::now() < deadline { failure } else { timed_out() })
    }

    /// The data a query sees.
    pub fn source(&self, replicas: Replicas, consistency: Consistency, deadline: Instant) -> ClusterSource {
        ClusterSource {
            replicas,
            peers: self.peers.clone(),
            runtime: Handle::current(),
            metrics: Arc::clone(&self.metrics),
            consistency,
            oldest_ms: clock::now_ms().saturating_sub(self.retention.as_millis() as i64),
            deadline,
            conditions: Conditions::default(),
        }
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub fn active(&self) -> &ActiveQueries {
        &self.active
    }

    pub fn history(&self) -> &QueryHistory {
        &self.history
    }

    pub fn names(&self) -> &NameUse {
        &self.names
    }

    /// The language as this node speaks it.
    pub fn parser(&self) -> ParserOptions {
        self.parser
    }

    pub fn settings(&self) -> &QuerySettings {
        &self.settings
    }

    fn log_if_slow(&self, text: &str, took: Duration, result: &Result<Answer, QueryFailure>) {
        if self.settings.slow_log.is_zero() || took < self.settings.slow_log {
            return;
        }
        self.metrics.query.slow.add(1);
        match result {
            Ok(answer) => tracing::warn!(
                query = text, ?took, waited = ?answer.waited, barrier = ?answer.freshened, evaluated = ?answer.evaluated,
                samples = answer.output.stats.total_samples, "slow query"
            ),
            Err(failure) => tracing::warn!(query = text, ?took, %failure, "slow query"),
        }
    }
}

fn timed_out() -> QueryFailure {
    QueryFailure::Timeout("query timed out in query preparation".to_string())
}

fn parser_options(settings: &QuerySettings, features: Features) -> ParserOptions {
    ParserOptions {
        experimental_functions: features.experimental_functions,
        duration_expressions: features.duration_expressions,
        extended_range_selectors: features.extended_range_selectors,
        fill_modifiers: features.fill_modifiers,
        text_bytes_max: settings.text_bytes,
        ..ParserOptions::default()
    }
}

fn evaluate(engine: &Engine, source: &ClusterSource, query: &Query, options: &QueryOptions) -> Result<QueryOutput, QueryFailure> {
    let output = match query.times {
        Times::At(time_ms) => engine.instant(source, &query.expression, time_ms, options),
        Times::Range { start_ms, end_ms, step_ms } => engine.range(source, &query.expression, start_ms, end_ms, step_ms, options),
    };
    Ok(output?)
}

/// Counts a query whose future was dropped.
struct CountCanceled<'a> {
    metrics: &'a SelfMetrics,
    is_done: bool,
}

impl CountCanceled<'_> {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for CountCanceled<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.metrics.query.canceled.add(1);
        }
    }
}
