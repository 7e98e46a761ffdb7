//! The frames of a part's answer: some series or groups each, and a last one with notes or with the reason of failure.
//!
//! A frame is its version, its kind, and entries up to its end. See `wire` for how entries look.

use super::aggregate::groups::Accumulator;
use super::column::Column;
use super::error::QueryError;
use super::notes::Notes;
use super::wire::{Malformed, Reader, Wire, Writer};
use crate::labels::Labels;
use crate::operator::AggregateOp;
use crate::source::SourceError;

const VERSION: u8 = 1;
const COLUMNS: u8 = 1;
const GROUPS: u8 = 2;
const END: u8 = 3;
const FAILED: u8 = 4;

/// A frame is sent when it holds this much.
const FRAME_BYTES: usize = 256 * 1024;

/// A frame that was read.
#[derive(Debug)]
pub enum Frame {
    Columns(Vec<Column>),
    Groups(Vec<(Labels, Accumulator)>),
    /// The last one.
    End(Notes),
    /// The last one, too.
    Failed(QueryError),
}

impl From<Malformed> for QueryError {
    fn from(malformed: Malformed) -> QueryError {
        SourceError::Failed(malformed.to_string()).into()
    }
}

impl Frame {
    /// Reads a frame about a grid of `steps` steps. Groups are those of `op`.
    pub fn read(bytes: &[u8], steps: usize, op: Option<AggregateOp>) -> Result<Frame, Malformed> {
        let mut from = Reader::new(bytes);
        if from.byte()? != VERSION {
            return Err(Malformed("another version"));
        }
        let frame = match (from.byte()?, op) {
            (COLUMNS, _) => Frame::Columns(entries(&mut from, |from| Column::take(steps, from))?),
            (GROUPS, Some(op)) => Frame::Groups(entries(&mut from, |from| Ok((Labels::take(from)?, Accumulator::take(op, steps, from)?)))?),
            (END, _) => Frame::End(Notes::take(steps, &mut from)?),
            (FAILED, _) => Frame::Failed(QueryError::take(&mut from)?),
            _ => return Err(Malformed("an unexpected kind of frame")),
        };
        from.end()?;
        Ok(frame)
    }
}

fn entries<T>(from: &mut Reader, take: impl Fn(&mut Reader) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
    let mut entries = Vec::new();
    while !from.is_at_end() {
        entries.push(take(from)?);
    }
    Ok(entries)
}

/// Where finished frames go. Errs when nobody listens any more.
pub type Send<'s> = &'s (dyn Fn(Vec<u8>) -> Result<(), QueryError> + Sync);

/// Collects entries of one kind and sends them a frame at a time.
pub struct FrameWriter<'s> {
    kind: u8,
    out: Writer,
    send: Send<'s>,
}

impl<'s> FrameWriter<'s> {
    pub fn columns(send: Send<'s>) -> FrameWriter<'s> {
        FrameWriter { kind: COLUMNS, out: Writer::default(), send }
    }

    pub fn groups(send: Send<'s>) -> FrameWriter<'s> {
        FrameWriter { kind: GROUPS, out: Writer::default(), send }
    }

    pub fn column(&mut self, column: &Column) -> Result<(), QueryError> {
        self.begin();
        column.put(&mut self.out);
        self.flush_from(FRAME_BYTES)
    }

    pub fn group(&mut self, labels: &Labels, state: &Accumulator) -> Result<(), QueryError> {
        self.begin();
        labels.put(&mut self.out);
        state.put(&mut self.out);
        self.flush_from(FRAME_BYTES)
    }

    /// Sends what is left.
    pub fn finish(mut self) -> Result<(), QueryError> {
        self.flush_from(1)
    }

    fn begin(&mut self) {
        if self.out.bytes.is_empty() {
            self.out = frame(self.kind);
        }
    }

    fn flush_from(&mut self, bytes: usize) -> Result<(), QueryError> {
        if self.out.bytes.len() < bytes {
            return Ok(());
        }
        (self.send)(std::mem::take(&mut self.out).bytes)
    }
}

/// The last frame of an answer.
pub fn last(outcome: &Result<Notes, QueryError>) -> Vec<u8> {
    let mut out = match outcome {
        Ok(_) => frame(END),
        Err(_) => frame(FAILED),
    };
    match outcome {
        Ok(notes) => notes.put(&mut out),
        Err(error) => error.put(&mut out),
    }
    out.bytes
}

fn frame(kind: u8) -> Writer {
    Writer { bytes: vec![VERSION, kind] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::SampleValue;

    #[test]
    fn columns_and_the_end_come_back() {
        let mut column = Column::empty(Labels::from_pairs([("a", "1")]), 3);
        column.set(1, Some(SampleValue::Float(2.5)));
        let frames = std::sync::Mutex::new(Vec::new());
        let send = |frame| {
            frames.lock().unwrap().push(frame);
            Ok(())
        };
        let mut writer = FrameWriter::columns(&send);
        writer.column(&column).unwrap();
        writer.finish().unwrap();
        let frames = frames.into_inner().unwrap();
        let Ok(Frame::Columns(back)) = Frame::read(&frames[0], 3, None) else { panic!("columns") };
        assert_eq!((back[0].labels.clone(), back[0].floats[1]), (column.labels, 2.5));
        assert_eq!(Frame::read(&frames[0], 4, None).unwrap_err(), Malformed("cut short"));
        let failure = QueryError::execution("no");
        let Ok(Frame::Failed(back)) = Frame::read(&last(&Err(failure.clone())), 3, None) else { panic!("failure") };
        assert_eq!(back, failure);
    }
}
