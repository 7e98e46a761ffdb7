//! One metric of a request, its points not looked at yet. Its message stands in [`super::translate`].

use storage::MetricType;

use super::super::decode_error::DecodeError;
use super::super::protobuf::{Cursor, LENGTH, VARINT, tag};
use super::any_value::utf8;
use super::names::NameKind;
use super::points;

/// Where the points of every kind of data stand.
pub const POINT: u32 = tag(1, LENGTH);

pub const DELTA: u64 = 1;
pub const CUMULATIVE: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    None,
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl DataKind {
    /// Where the attributes of a point stand.
    pub fn attributes(self) -> u32 {
        match self {
            DataKind::Gauge | DataKind::Sum | DataKind::Summary | DataKind::None => tag(7, LENGTH),
            DataKind::Histogram => tag(9, LENGTH),
            DataKind::Exponential => tag(1, LENGTH),
        }
    }

    pub fn has_temporality(self) -> bool {
        matches!(self, DataKind::Sum | DataKind::Histogram | DataKind::Exponential)
    }
}

/// The first and the last time of a resource's points.
#[derive(Clone, Copy)]
pub struct Range {
    pub first_ns: u64,
    pub last_ns: u64,
}

/// A metric whose points have not been looked at.
pub struct Metric<'a> {
    pub name: &'a str,
    pub description: &'a str,
    pub unit: &'a str,
    pub kind: DataKind,
    /// The gauge, sum, histogram or summary.
    pub data: Cursor<'a>,
    /// [`DELTA`], [`CUMULATIVE`] or neither.
    pub temporality: u64,
    is_monotonic: bool,
}

impl<'a> Metric<'a> {
    pub fn read(mut metric: Cursor<'a>) -> Result<Metric<'a>, DecodeError> {
        const NAME: u32 = tag(1, LENGTH);
        const DESCRIPTION: u32 = tag(2, LENGTH);
        const UNIT: u32 = tag(3, LENGTH);
        const GAUGE: u32 = tag(5, LENGTH);
        const SUM: u32 = tag(7, LENGTH);
        const HISTOGRAM: u32 = tag(9, LENGTH);
        const EXPONENTIAL: u32 = tag(10, LENGTH);
        const SUMMARY: u32 = tag(11, LENGTH);
        let (mut name, mut description, mut unit) = ("", "", "");
        let (mut kind, mut data) = (DataKind::None, Cursor::new(&[]));
        while !metric.is_empty() {
            let found = metric.tag()?;
            kind = match found {
                NAME => {
                    name = utf8(&mut metric)?;
                    continue;
                }
                DESCRIPTION => {
                    description = utf8(&mut metric)?;
                    continue;
                }
                UNIT => {
                    unit = utf8(&mut metric)?;
                    continue;
                }
                GAUGE => DataKind::Gauge,
                SUM => DataKind::Sum,
                HISTOGRAM => DataKind::Histogram,
                EXPONENTIAL => DataKind::Exponential,
                SUMMARY => DataKind::Summary,
                other => {
                    metric.skip(other)?;
                    continue;
                }
            };
            data = metric.message()?;
        }
        let mut read = Metric { name, description, unit, kind, data, temporality: 0, is_monotonic: false };
        read.read_aggregation()?;
        Ok(read)
    }

    fn read_aggregation(&mut self) -> Result<(), DecodeError> {
        const TEMPORALITY: u32 = tag(2, VARINT);
        const MONOTONIC: u32 = tag(3, VARINT);
        let mut data = self.data;
        while !data.is_empty() {
            match data.tag()? {
                TEMPORALITY => self.temporality = data.varint()?,
                MONOTONIC => self.is_monotonic = data.varint()? != 0,
                other => data.skip(other)?,
            }
        }
        Ok(())
    }

    pub fn point_count(&self) -> Result<usize, DecodeError> {
        let mut count = 0;
        self.each_point(|_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Takes the times of all points into a range, also of those that cannot be stored.
    pub fn widen(&self, range: &mut Range) -> Result<(), DecodeError> {
        self.each_point(|mut point| {
            let mut time = 0;
            while !point.is_empty() {
                match point.tag()? {
                    points::TIME => time = point.fixed64()?,
                    other => point.skip(other)?,
                }
            }
            *range = Range { first_ns: range.first_ns.min(time), last_ns: range.last_ns.max(time) };
            Ok(())
        })
    }

    fn each_point(&self, mut visit: impl FnMut(Cursor<'a>) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        let mut data = self.data;
        while !data.is_empty() {
            match data.tag()? {
                POINT => visit(data.message()?)?,
                other => data.skip(other)?,
            }
        }
        Ok(())
    }

    pub fn name_kind(&self) -> NameKind {
        match self.kind {
            DataKind::Gauge => NameKind::Gauge,
            DataKind::Sum if self.is_monotonic => NameKind::Counter,
            _ => NameKind::Other,
        }
    }

    /// Metrics of delta temporality have no type that would fit them.
    pub fn prometheus_type(&self) -> MetricType {
        match self.kind {
            DataKind::Gauge => MetricType::Gauge,
            DataKind::Summary => MetricType::Summary,
            DataKind::None => MetricType::Unknown,
            _ if self.temporality == DELTA => MetricType::Unknown,
            DataKind::Sum if self.is_monotonic => MetricType::Counter,
            DataKind::Sum => MetricType::Gauge,
            DataKind::Histogram | DataKind::Exponential => MetricType::Histogram,
        }
    }
}
