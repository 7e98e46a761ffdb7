//! Annotations and counts of samples.

use super::super::notes::Notes;
use super::bytes::{Malformed, Reader, Wire, Writer};
use crate::annotations::Annotation;

impl Notes {
    pub fn put(&self, out: &mut Writer) {
        out.number(self.annotations.iter().len() as u64);
        self.annotations.iter().for_each(|annotation| annotation.put(out));
        self.samples_per_step.iter().for_each(|samples| out.number(*samples));
    }

    /// Notes about a grid of `steps` steps.
    pub fn take(steps: usize, from: &mut Reader) -> Result<Notes, Malformed> {
        let mut notes = Notes::default();
        for annotation in from.list::<Annotation>()? {
            notes.annotations.add(annotation);
        }
        for _ in 0..steps {
            // So many that a sum over all shards stays within its type.
            let samples = from.number()?;
            if samples > 1 << 48 {
                return Err(Malformed("too many samples"));
            }
            notes.samples_per_step.push(samples);
        }
        Ok(notes)
    }
}
