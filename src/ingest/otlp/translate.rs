//! The walk over a request: resources, scopes, metrics, points; every point becomes samples.
//!
//! ```text
//! ExportMetricsServiceRequest { repeated ResourceMetrics resource_metrics = 1; }
//! ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
//! Resource        { repeated KeyValue attributes = 1; }
//! ScopeMetrics    { InstrumentationScope scope = 1; repeated Metric metrics = 2; string schema_url = 3; }
//! Metric          { string name = 1; string description = 2; string unit = 3;
//!                   oneof { Gauge gauge = 5; Sum sum = 7; Histogram histogram = 9;
//!                           ExponentialHistogram exponential_histogram = 10; Summary summary = 11; } }
//! Gauge, Summary  { repeated … data_points = 1; }
//! Histogram, ExponentialHistogram { repeated … data_points = 1; AggregationTemporality aggregation_temporality = 2; }
//! Sum             { repeated … data_points = 1; AggregationTemporality aggregation_temporality = 2; bool is_monotonic = 3; }
//! ```
//!
//! Fields of a message may come in any order, so what the parts have in common is looked for first, in a pass that steps over
//! them.

use std::time::Duration;

use storage::{Metadata, MetricType};

use super::super::columns::{Columns, RefusedSeries};
use super::super::decode_error::DecodeError;
use super::super::label_forms::METRIC_NAME;
use super::super::protobuf::{Cursor, LENGTH, tag};
use super::any_value::utf8;
use super::exemplars::Exemplars;
use super::fault::Fault;
use super::labels::{LabelSet, Labeller, Resource, attributes};
use super::metric::{CUMULATIVE, DELTA, DataKind, Metric, POINT, Range};
use super::names::{MetricNamer, unit_name};
use super::native::{self, STALE_NAN};
use super::points::{self, ExplicitPoint, Moment};
use crate::config::OtlpSettings;

const PART: u32 = tag(1, LENGTH);
const PARTS: u32 = tag(2, LENGTH);

const TARGET_INFO: &str = "target_info";
/// Samples of `target_info` that one request may have beside the last of each resource. They fill the time between the points of
/// a resource, so a hostile request with a point in 1970 could have millions.
const TARGET_INFO_SAMPLES_MAX: usize = 1 << 16;

/// Bound of the labels that a request of so many bytes may spell out: the labels of a resource stand once in it, and go to every
/// bucket of every histogram.
fn arena_bytes_max(body_bytes: usize) -> usize {
    (64 * body_bytes).clamp(4 << 20, 256 << 20)
}

/// Stages a whole request. Points that cannot be stored are listed in `columns.refused`. `lookback` is that of queries:
/// `target_info` has samples close enough for it.
pub fn decode(body: &[u8], settings: &OtlpSettings, lookback: Duration, columns: &mut Columns) -> Result<(), DecodeError> {
    if u32::try_from(body.len()).is_err() {
        return Err(DecodeError::TooLarge { what: "OTLP request", limit_bytes: u32::MAX as usize });
    }
    let interval_ns = u64::try_from(lookback.as_nanos() / 2).unwrap_or(u64::MAX).max(1);
    let mut translation = Translation {
        settings,
        namer: MetricNamer { escape: settings.strategy.escapes(), suffixes: settings.strategy.adds_suffixes() },
        labeller: Labeller::new(settings),
        columns,
        arena_max: arena_bytes_max(body.len()),
        interval_ns,
        info_samples: 0,
        points: 0,
        text: String::new(),
        name: String::new(),
    };
    let mut request = Cursor::new(body);
    while !request.is_empty() {
        match request.tag()? {
            PART => translation.resource_metrics(request.message()?)?,
            other => request.skip(other)?,
        }
    }
    Ok(())
}

struct Translation<'t, 'a> {
    settings: &'t OtlpSettings,
    namer: MetricNamer,
    labeller: Labeller<'t, 'a>,
    columns: &'t mut Columns,
    arena_max: usize,
    /// Between two samples of `target_info`.
    interval_ns: u64,
    info_samples: usize,
    /// Points seen so far, refused ones too.
    points: usize,
    /// Scratch: a bound or quantile, and a series' name.
    text: String,
    name: String,
}

/// What the points of a metric share.
struct Context<'c, 'a> {
    resource: &'c Resource<'a>,
    scope: &'c LabelSet<'a>,
    /// The metric's Prometheus name.
    name: &'c str,
    is_delta: bool,
}

impl<'a> Translation<'_, 'a> {
    fn resource_metrics(&mut self, whole: Cursor<'a>) -> Result<(), DecodeError> {
        let mut found = Vec::new();
        let mut problem = None;
        let mut parts = whole;
        while !parts.is_empty() {
            match parts.tag()? {
                PART => match attributes(parts.message()?, PART) {
                    Ok(attributes) => found = attributes,
                    Err(Fault::Refused(reason)) => problem = Some(reason),
                    Err(Fault::Broken(error)) => return Err(error),
                },
                other => parts.skip(other)?,
            }
        }
        let resource = match problem.map_or_else(|| self.labeller.resource(found), |reason| Err(Fault::Refused(reason))) {
            Ok(resource) => resource,
            Err(Fault::Broken(error)) => return Err(error),
            Err(Fault::Refused(reason)) => return self.refuse_parts(whole, PARTS, PARTS, &reason),
        };
        let mut range = Range { first_ns: u64::MAX, last_ns: 0 };
        let mut parts = whole;
        while !parts.is_empty() {
            match parts.tag()? {
                PARTS => self.scope_metrics(parts.message()?, &resource, &mut range)?,
                other => parts.skip(other)?,
            }
        }
        if range.first_ns == u64::MAX {
            return Ok(());
        }
        self.tolerate(0, |this| this.target_info(&resource, range))
    }

    fn scope_metrics(&mut self, whole: Cursor<'a>, resource: &Resource<'a>, range: &mut Range) -> Result<(), DecodeError> {
        const SCHEMA_URL: u32 = tag(3, LENGTH);
        let (mut scope, mut schema_url) = (Cursor::new(&[]), "");
        let mut parts = whole;
        while !parts.is_empty() {
            match parts.tag()? {
                PART => scope = parts.message()?,
                SCHEMA_URL => schema_url = utf8(&mut parts)?,
                other => parts.skip(other)?,
            }
        }
        let labels = match self.labeller.scope(scope, schema_url) {
            Ok(labels) => labels,
            Err(Fault::Broken(error)) => return Err(error),
            Err(Fault::Refused(reason)) => return self.refuse_parts(whole, PARTS, 0, &reason),
        };
        let mut parts = whole;
        while !parts.is_empty() {
            match parts.tag()? {
                PARTS => self.metric(parts.message()?, resource, &labels, range)?,
                other => parts.skip(other)?,
            }
        }
        Ok(())
    }

    /// Refuses all points of the metrics under a field, or, with `inner`, of those under a field of the parts under it.
    fn refuse_parts(&mut self, mut whole: Cursor<'a>, field: u32, inner: u32, reason: &str) -> Result<(), DecodeError> {
        while !whole.is_empty() {
            let found = whole.tag()?;
            if found != field {
                whole.skip(found)?;
                continue;
            }
            let part = whole.message()?;
            if inner != 0 {
                self.refuse_parts(part, inner, 0, reason)?;
                continue;
            }
            let count = Metric::read(part)?.point_count()?;
            self.refuse(count, reason.to_string());
            self.points += count;
        }
        Ok(())
    }

    fn metric(&mut self, whole: Cursor<'a>, resource: &Resource<'a>, scope: &LabelSet<'a>, range: &mut Range) -> Result<(), DecodeError> {
        let metric = Metric::read(whole)?;
        let count = metric.point_count()?;
        metric.widen(range)?;
        let name = match self.check(&metric) {
            Ok(name) => name,
            Err(reason) => {
                self.refuse(count, reason);
                self.points += count;
                return Ok(());
            }
        };
        if count == 0 {
            return Ok(());
        }
        self.columns.push_metadata(Metadata {
            metric: name.clone(),
            metric_type: metric.prometheus_type(),
            help: metric.description.to_string(),
            unit: unit_name(metric.unit),
        });
        let context = Context { resource, scope, name: &name, is_delta: metric.temporality == DELTA };
        let mut data = metric.data;
        while !data.is_empty() {
            match data.tag()? {
                POINT => {
                    let point = data.message()?;
                    self.tolerate(1, |this| this.point(metric.kind, point, &context))?;
                    self.points += 1;
                }
                other => data.skip(other)?,
            }
        }
        Ok(())
    }

    /// The metric's Prometheus name, or why its points cannot be stored.
    fn check(&self, metric: &Metric) -> Result<String, String> {
        if metric.kind == DataKind::None {
            let name = metric.name;
            return Err(format!("could not get aggregation temporality for {name} as it has unsupported metric type Empty"));
        }
        let is_valid = match metric.temporality {
            CUMULATIVE => true,
            DELTA => self.settings.accept_delta,
            _ => false,
        };
        if metric.kind.has_temporality() && !is_valid {
            return Err(format!("invalid temporality and type combination for metric {:?}", metric.name));
        }
        self.namer.build(metric.name, metric.unit, metric.name_kind())
    }

    /// What is refused for its own sake is listed; what is broken ends the request.
    fn tolerate(&mut self, points: usize, stage: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), DecodeError> {
        match stage(self) {
            Ok(()) => Ok(()),
            Err(Fault::Broken(error)) => Err(error),
            Err(Fault::Refused(reason)) => {
                self.refuse(points, reason);
                Ok(())
            }
        }
    }

    fn refuse(&mut self, samples: usize, reason: String) {
        self.columns.refuse(RefusedSeries { position: self.points, samples, histograms: 0, reason });
    }

    fn point(&mut self, kind: DataKind, point: Cursor<'a>, context: &Context<'_, 'a>) -> Result<(), Fault> {
        let labels = self.labeller.point(attributes(point, kind.attributes())?, context.resource, context.scope)?;
        match kind {
            DataKind::Gauge | DataKind::Sum => {
                let (moment, value) = points::number(point)?;
                self.stage(context.name, "", &labels, None, moment, value)?;
                // Upstream keeps no exemplars of gauges.
                if kind == DataKind::Sum { self.all_exemplars(Exemplars::of(point, 5, moment.timestamp_ms)) } else { Ok(()) }
            }
            DataKind::Histogram if self.settings.convert_histograms_to_nhcb => {
                let read = points::explicit(point)?;
                let histogram = native::from_explicit(&read, context.is_delta).map_err(Fault::Refused)?;
                self.stage_histogram(context.name, &labels, read.moment, &histogram)?;
                self.all_exemplars(Exemplars::of(point, 8, read.moment.timestamp_ms))
            }
            DataKind::Histogram => {
                let read = points::explicit(point)?;
                self.classic(context.name, &labels, &read, Exemplars::of(point, 8, read.moment.timestamp_ms))
            }
            DataKind::Exponential => {
                let read = points::exponential(point)?;
                let histogram = native::from_exponential(&read, context.is_delta).map_err(Fault::Refused)?;
                self.stage_histogram(context.name, &labels, read.moment, &histogram)?;
                self.all_exemplars(Exemplars::of(point, 11, read.moment.timestamp_ms))
            }
            DataKind::Summary => self.summary(context.name, &labels, point),
            DataKind::None => Ok(()),
        }
    }

    /// `_sum`, `_count` and one `_bucket` for each bound; an exemplar goes to the bucket that counts it.
    fn classic(&mut self, name: &str, labels: &LabelSet, point: &ExplicitPoint, mut exemplars: Exemplars) -> Result<(), Fault> {
        let ExplicitPoint { moment, count, .. } = *point;
        if let Some(sum) = point.sum {
            self.stage(name, "_sum", labels, None, moment, sum)?;
        }
        self.stage(name, "_count", labels, None, moment, count as f64)?;
        let mut exemplar = exemplars.next()?;
        let mut cumulative = 0u64;
        for (&bound, &count) in point.bounds.iter().zip(&point.counts) {
            cumulative = cumulative.wrapping_add(count);
            self.stage(name, "_bucket", labels, Some(("le", bound)), moment, cumulative as f64)?;
            while let Some(found) = exemplar.take_if(|exemplar| exemplar.value <= bound) {
                self.columns.push_exemplar(&found);
                exemplar = exemplars.next()?;
            }
        }
        self.stage(name, "_bucket", labels, Some(("le", f64::INFINITY)), moment, count as f64)?;
        while let Some(found) = exemplar {
            self.columns.push_exemplar(&found);
            exemplar = exemplars.next()?;
        }
        Ok(())
    }

    fn summary(&mut self, name: &str, labels: &LabelSet, point: Cursor) -> Result<(), Fault> {
        let read = points::summary(point)?;
        self.stage(name, "_sum", labels, None, read.moment, read.sum)?;
        self.stage(name, "_count", labels, None, read.moment, read.count as f64)?;
        for (quantile, value) in read.quantiles {
            self.stage(name, "", labels, Some(("quantile", quantile)), read.moment, value)?;
        }
        Ok(())
    }

    fn all_exemplars(&mut self, mut exemplars: Exemplars) -> Result<(), Fault> {
        while let Some(exemplar) = exemplars.next()? {
            self.columns.push_exemplar(&exemplar);
        }
        Ok(())
    }

    /// One sample for each half lookback from the first point on, and one at the last.
    fn target_info(&mut self, resource: &Resource<'a>, range: Range) -> Result<(), Fault> {
        let Some(labels) = self.labeller.target_info(resource)? else { return Ok(()) };
        self.columns.push_metadata(Metadata {
            metric: TARGET_INFO.to_string(),
            metric_type: MetricType::Gauge,
            help: "Target metadata".to_string(),
            unit: String::new(),
        });
        self.begin(TARGET_INFO, "", &labels, None)?;
        let mut at = range.first_ns;
        while at < range.last_ns && self.info_samples < TARGET_INFO_SAMPLES_MAX {
            self.columns.push_sample(points::milliseconds(at), 1.0);
            self.info_samples += 1;
            at = at.saturating_add(self.interval_ns);
        }
        self.columns.push_sample(points::milliseconds(range.last_ns), 1.0);
        Ok(())
    }

    /// One sample of a series of its own.
    fn stage(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &LabelSet,
        extra: Option<(&str, f64)>,
        moment: Moment,
        value: f64,
    ) -> Result<(), Fault> {
        self.begin(name, suffix, labels, extra)?;
        let value = if moment.is_stale { f64::from_bits(STALE_NAN) } else { value };
        self.columns.push_sample(moment.timestamp_ms, value);
        Ok(())
    }

    /// Refused by the rules that every stored histogram satisfies.
    fn stage_histogram(&mut self, name: &str, labels: &LabelSet, moment: Moment, histogram: &storage::Histogram) -> Result<(), Fault> {
        histogram.validate().map_err(|problem| Fault::Refused(problem.to_string()))?;
        self.begin(name, "", labels, None)?;
        self.columns.push_histogram(moment.timestamp_ms, histogram);
        Ok(())
    }

    /// Opens a series with these labels and, as another label, a bound or quantile.
    fn begin(&mut self, name: &str, suffix: &str, labels: &LabelSet, extra: Option<(&str, f64)>) -> Result<(), DecodeError> {
        if self.columns.arena_mark() > self.arena_max {
            return Err(DecodeError::TooLarge { what: "the labels of the request, spelled out,", limit_bytes: self.arena_max });
        }
        let mark = self.columns.arena_mark();
        self.name.clear();
        self.name.push_str(name);
        self.name.push_str(suffix);
        self.columns.push_pair(METRIC_NAME.as_bytes(), self.name.as_bytes());
        let extra_name = extra.map_or("", |(name, _)| name);
        for (name, value) in labels.iter().filter(|(name, _)| *name != extra_name) {
            self.columns.push_pair(name.as_bytes(), value.as_bytes());
        }
        if let Some((name, value)) = extra {
            write_bound(&mut self.text, value);
            self.columns.push_pair(name.as_bytes(), self.text.as_bytes());
        }
        self.columns.begin_series_from_arena(mark);
        Ok(())
    }
}

/// Never with an exponent: `0.0000001`, `+Inf`.
fn write_bound(out: &mut String, value: f64) {
    use std::fmt::Write;
    out.clear();
    let written = if value.is_infinite() { out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }) } else { write!(out, "{value}") };
    // Writing to a String cannot fail.
    written.unwrap_or_default();
}
