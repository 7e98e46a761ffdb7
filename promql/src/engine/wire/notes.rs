//! Annotations and counts of samples.

use super::super::notes::Notes;
use super::bytes::{Malformed, Reader, Wire, Writer};
use crate::annotations::Annotation;

impl Notes {
    pub fn put(&self, out: &mut Writer) {
        out.number(self.annotations.iter().len() as u64);
        self.annotations.iter().for_each(|annotation| annotation.put(out));
        self.samples_per_step.iter().chain(&self.read_per_step).for_each(|samples| out.number(*samples));
    }

    /// Notes about a grid of `steps` steps.
    pub fn take(steps: usize, from: &mut Reader) -> Result<Notes, Malformed> {
        let mut notes = Notes::default();
        for annotation in from.list::<Annotation>()? {
            notes.annotations.add(annotation);
        }
        notes.samples_per_step = counts(steps, from)?;
        notes.read_per_step = counts(steps, from)?;
        Ok(notes)
    }
}

/// One a step, each so small that a sum over all shards stays within its type.
fn counts(steps: usize, from: &mut Reader) -> Result<Vec<u64>, Malformed> {
    let count = |_| from.number().and_then(|samples| if samples > 1 << 48 { Err(Malformed("too many samples")) } else { Ok(samples) });
    (0..steps).map(count).collect()
}
