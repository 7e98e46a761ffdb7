//! Series over the steps of a grid.

use std::sync::Arc;

use super::super::column::Column;
use super::bytes::{Malformed, Reader, Wire, Writer};
use super::floats::{put_floats, take_floats};
use crate::histogram::FloatHistogram;
use crate::labels::Labels;

impl Column {
    pub fn put(&self, out: &mut Writer) {
        self.labels.put(out);
        out.flag(self.drop_name);
        put_floats(&self.floats, out);
        let present = || self.histograms.iter().enumerate().filter_map(|(step, histogram)| Some((step, histogram.as_ref()?)));
        out.number(present().count() as u64);
        for (step, histogram) in present() {
            out.number(step as u64);
            histogram.put(out);
        }
    }

    /// A column over `steps` steps.
    pub fn take(steps: usize, from: &mut Reader) -> Result<Column, Malformed> {
        let labels = Labels::take(from)?;
        let drop_name = from.flag()?;
        let floats = take_floats(steps, from)?;
        let mut column = Column { labels, drop_name, floats, histograms: Vec::new() };
        for _ in 0..from.length()? {
            let step = from.number()?;
            let histogram = FloatHistogram::take(from)?;
            if step >= steps as u64 || column.is_present(step as usize) {
                return Err(Malformed("a histogram where none can be"));
            }
            column.set(step as usize, Some(crate::sample::SampleValue::Histogram(Arc::new(histogram))));
        }
        Ok(column)
    }
}
