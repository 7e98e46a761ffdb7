//! A column of integers as runs: series numbers that count up, timestamps that repeat.
//!
//! A run is `varint(zigzag(start - expected) << 2 | kind)` and, by kind, nothing (one element),
//! `varint(length - 2)` (a run with the column's own step) or `signed(step) varint(length - 4)` (a run with
//! another step, such as the timestamps of a back-fill). `expected` continues the run before. A start too
//! far away to be shifted follows in full.

use super::Columns;
use crate::error::Result;
use crate::varint::{self, Cursor};

const KIND_ONE: u64 = 0;
const KIND_RUN: u64 = 1;
const KIND_STEPPED: u64 = 2;
const KIND_FAR: u64 = 3;

/// A run with a foreign step must be this long to be worth naming the step.
const STEPPED_LENGTH_MIN: usize = 4;

/// An integer of a column.
pub(super) trait Element: Copy {
    /// As the widest integer.
    fn widen(self) -> i64;
    /// Back from the widest integer; bits that do not fit are dropped.
    fn narrow(wide: i64) -> Self;
}

impl Element for u32 {
    fn widen(self) -> i64 {
        i64::from(self)
    }
    fn narrow(wide: i64) -> Self {
        wide as u32
    }
}

impl Element for i64 {
    fn widen(self) -> i64 {
        self
    }
    fn narrow(wide: i64) -> Self {
        wide
    }
}

/// Appends `column` to `out` as runs whose elements usually lie `step` apart.
pub(super) fn encode<T: Element>(column: &[T], step: i64, out: &mut Vec<u8>) {
    let mut expected = 0i64;
    let mut rest = column;
    while let [first, ..] = rest {
        let start = first.widen();
        let (length, run_step) = longest_run(rest, step);
        let delta = start.wrapping_sub(expected);
        let far = varint::zigzag(delta) >> 62 != 0;
        let length = if far { 1 } else { length };
        if far {
            varint::put(out, KIND_FAR);
            out.extend_from_slice(&start.to_le_bytes());
        } else if length == 1 {
            varint::put(out, varint::zigzag(delta) << 2 | KIND_ONE);
        } else if run_step == step {
            varint::put(out, varint::zigzag(delta) << 2 | KIND_RUN);
            varint::put(out, length as u64 - 2);
        } else {
            varint::put(out, varint::zigzag(delta) << 2 | KIND_STEPPED);
            varint::put_signed(out, run_step);
            varint::put(out, (length - STEPPED_LENGTH_MIN) as u64);
        }
        expected = rest[length - 1].widen().wrapping_add(step);
        rest = &rest[length..];
    }
}

/// Length and step of the run that `rest` begins with.
fn longest_run<T: Element>(rest: &[T], step: i64) -> (usize, i64) {
    let length = run_length(rest, step);
    if length > 1 || rest.len() < STEPPED_LENGTH_MIN {
        return (length, step);
    }
    let other_step = rest[1].widen().wrapping_sub(rest[0].widen());
    match run_length(&rest[..STEPPED_LENGTH_MIN], other_step) {
        STEPPED_LENGTH_MIN => (run_length(rest, other_step), other_step),
        _ => (1, step),
    }
}

fn run_length<T: Element>(rest: &[T], step: i64) -> usize {
    1 + rest.windows(2).take_while(|pair| pair[1].widen().wrapping_sub(pair[0].widen()) == step).count()
}

/// Appends exactly `count` elements to `column`. The caller has bounded `count`.
pub(super) fn decode<T: Element>(bytes: &[u8], count: usize, step: i64, column: &mut Vec<T>) -> Result<()> {
    let mut cursor = Cursor::new(bytes, Columns::FORMAT);
    let mut expected = 0i64;
    let mut remaining = count;
    column.reserve(count);
    while remaining > 0 {
        let head = cursor.varint()?;
        let near = expected.wrapping_add(varint::unzigzag(head >> 2));
        let (start, run_step, length) = match head & 3 {
            KIND_ONE => (near, step, 1),
            KIND_RUN => (near, step, cursor.count(remaining)? + 2),
            KIND_STEPPED => (near, cursor.signed()?, cursor.count(remaining)? + STEPPED_LENGTH_MIN),
            _ => (i64::from_le_bytes(cursor.array()?), step, 1),
        };
        remaining = remaining.checked_sub(length).ok_or_else(|| cursor.corrupt("a run is longer than its column"))?;
        push_run(start, run_step, length, column);
        expected = start.wrapping_add(run_step.wrapping_mul(length as i64 - 1)).wrapping_add(step);
    }
    if cursor.is_empty() { Ok(()) } else { Err(cursor.corrupt("a column has runs left over")) }
}

#[inline]
fn push_run<T: Element>(start: i64, step: i64, length: usize, column: &mut Vec<T>) {
    if length == 1 {
        return column.push(T::narrow(start));
    }
    column.extend((0..length as i64).map(|position| T::narrow(start.wrapping_add(step.wrapping_mul(position)))));
}
