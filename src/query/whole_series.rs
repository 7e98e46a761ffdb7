//! Reads whole series of the cluster, by labels: all shards and all selectors united, each series once.
//!
//! It is opened in two stages. Waiting for a place and for freshness is asynchronous and happens once ([`Runner::whole_series`]);
//! selecting and reading block, and happen on the thread that writes the answer ([`WholeSeries::select`]).

use std::sync::Arc;
use std::time::Instant;

use promql::matcher::Matcher;
use promql::source::SourceError;
use tokio::sync::OwnedSemaphorePermit;

use super::convert::{matchers_to_disk, matchers_to_wire};
use super::failure::QueryFailure;
use super::ordered::{OrderedCursor, StoredSeries};
use super::remote::RemoteCursor;
use super::runner::Runner;
use super::session::Gate;
use super::source::ClusterSource;
use crate::config::Consistency;

/// A read that has been let in.
pub struct WholeSeries {
    source: ClusterSource,
    pub warnings: Vec<String>,
    /// Given back when the read ends.
    _place: OwnedSemaphorePermit,
}

impl Runner {
    /// Waits for a place at `gate` and for the freshness that is asked for.
    pub async fn whole_series(&self, gate: &Gate, consistency: Consistency, deadline: Instant) -> Result<WholeSeries, QueryFailure> {
        let place = gate.enter(deadline).await?;
        let (replicas, warnings) = self.freshen(consistency, deadline).await?;
        Ok(WholeSeries { source: self.source(replicas, consistency, deadline), warnings, _place: place })
    }
}

impl WholeSeries {
    /// The series of any of the selectors that have samples between the two times, which are inclusive. Blocks.
    pub fn select(&self, selectors: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Result<SeriesStream, SourceError> {
        let source = &self.source;
        let start_ms = start_ms.max(source.oldest_ms);
        let mut cursors = Vec::new();
        for selector in selectors.iter().filter(|_| start_ms <= end_ms) {
            let matchers = matchers_to_disk(selector)?;
            for shard in 0..source.replicas.shards() {
                cursors.push(match source.replicas.local(shard) {
                    Some(replica) => {
                        let metrics = Arc::clone(&source.metrics);
                        Cursor::Local(Box::new(OrderedCursor::open(replica, &matchers, start_ms, end_ms, metrics)?))
                    }
                    None => {
                        let selection = source.selection(shard, matchers_to_wire(selector), start_ms, end_ms);
                        Cursor::Remote(RemoteCursor::open_by_labels(&source.peers, &source.runtime, selection))
                    }
                });
            }
        }
        SeriesStream::over(cursors, source.deadline)
    }
}

/// The selected series of one shard, by labels.
enum Cursor {
    Local(Box<OrderedCursor>),
    Remote(RemoteCursor),
}

impl Cursor {
    fn next(&mut self) -> Result<Option<StoredSeries>, SourceError> {
        match self {
            Cursor::Local(cursor) => cursor.next(),
            Cursor::Remote(cursor) => cursor.next_stored(),
        }
    }
}

/// Gives out the series of several cursors by labels.
pub struct SeriesStream {
    /// Each with the series that it gives out next; those that have none are gone.
    heads: Vec<(StoredSeries, Cursor)>,
    deadline: Instant,
}

impl SeriesStream {
    fn over(cursors: Vec<Cursor>, deadline: Instant) -> Result<SeriesStream, SourceError> {
        let mut heads = Vec::with_capacity(cursors.len());
        for mut cursor in cursors {
            if let Some(first) = cursor.next()? {
                heads.push((first, cursor));
            }
        }
        Ok(SeriesStream { heads, deadline })
    }

    /// The next series. Blocks.
    pub fn next(&mut self) -> Result<Option<StoredSeries>, SourceError> {
        if Instant::now() > self.deadline {
            return Err(SourceError::Timeout("the read took longer than it may (bulk_read.timeout)".to_string()));
        }
        let Some(first) = self.position_of_first() else { return Ok(None) };
        let series = self.advance(first)?;
        // The same series through another selector.
        while let Some(next) = self.position_of_first().filter(|&next| self.heads[next].0.labels == series.labels) {
            self.advance(next)?;
        }
        Ok(Some(series))
    }

    fn position_of_first(&self) -> Option<usize> {
        let labels = self.heads.iter().map(|(series, _)| &series.labels).enumerate();
        labels.min_by(|left, right| left.1.cmp(right.1)).map(|(position, _)| position)
    }

    /// Takes the series at the front of one cursor.
    fn advance(&mut self, position: usize) -> Result<StoredSeries, SourceError> {
        let (series, cursor) = &mut self.heads[position];
        match cursor.next()? {
            Some(next) => Ok(std::mem::replace(series, next)),
            None => Ok(self.heads.swap_remove(position).0),
        }
    }
}
