//! Label sets.

use super::bytes::{Malformed, Reader, Wire, Writer};
use crate::labels::{Label, Labels};

impl Wire for Labels {
    fn put(&self, out: &mut Writer) {
        out.number(self.len() as u64);
        for label in self {
            out.text(&label.name);
            out.text(&label.value);
        }
    }

    fn take(from: &mut Reader) -> Result<Labels, Malformed> {
        let mut labels: Vec<Label> = Vec::new();
        for _ in 0..from.length()? {
            let (name, value) = (from.text()?, from.text()?);
            if value.is_empty() || labels.last().is_some_and(|last| &*last.name >= name) {
                return Err(Malformed("labels out of order or empty"));
            }
            labels.push(Label::new(name, value));
        }
        Ok(Labels::from_sorted(labels))
    }
}
