//! The batch format on scrapes of the same series.

use tern_storage::batch::{BatchBuilder, BatchReader, Columns, ConflictPolicy};

use crate::best_of;
use crate::series::Class;

const TARGETS: u32 = 14;

/// Builds, encodes and decodes batches of 14 scraped targets (about 10 000 samples).
pub fn report(all: &[(Class, Vec<f64>)]) {
    println!("\nbatches, bytes and ns a sample");
    measure("scrapes", all, 1, 1);
    measure("every 3rd series", all, 3, 1);
    measure("20 samples a series", all, 1, 20);
}

fn measure(name: &str, all: &[(Class, Vec<f64>)], stride: usize, depth: usize) {
    let mut samples = Vec::new();
    let targets = if depth == 1 { TARGETS } else { 1 };
    for target in 0..targets {
        for (number, (_, values)) in all.iter().enumerate().step_by(stride) {
            for index in 0..depth {
                let timestamp_ms = 1_764_000_000_000 + i64::from(target) * 137 + index as i64 * 15_000;
                samples.push((target * all.len() as u32 + number as u32, timestamp_ms, values[100 + index + target as usize]));
            }
        }
    }
    let mut builder = BatchBuilder::new(ConflictPolicy::Reject);
    let push_ns = best_of(samples.len(), || {
        builder.clear();
        for &(series, timestamp_ms, value) in &samples {
            builder.push(series, timestamp_ms, value);
        }
    });
    let mut bytes = Vec::new();
    let encode_ns = best_of(samples.len(), || bytes = builder.encode());
    let mut columns = Columns::default();
    let decode_ns = best_of(samples.len(), || {
        let reader = BatchReader::parse(&bytes).expect("our own batch");
        reader.decode_into(&mut columns).expect("our own batch");
        std::hint::black_box(&columns);
    });
    println!(
        "{name:>20} {:>6} samples: {:.2} bytes, push {:.1}, encode {:.1}, decode {:.1} ns",
        samples.len(),
        bytes.len() as f64 / samples.len() as f64,
        push_ns,
        encode_ns,
        decode_ns
    );
}
