//! A second yardstick: values as VictoriaMetrics keeps them, as far as its documentation and blog tell. Decimal mantissas
//! of one exponent a block; constant, or constant differences, or varints of differences (gauges) or of
//! differences of differences (counters), compressed by zstd where that saves a tenth. Without its
//! block headers, and with full-precision doubles cut to twelve decimals as it would, so in its favour.

use tern_storage::decimal;
use tern_storage::varint;

/// Bytes that the values of one block take.
pub fn bytes(values: &[f64]) -> usize {
    let mantissas = mantissas(values);
    let differences: Vec<i64> = mantissas.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let first = varint::len(varint::zigzag(mantissas[0]));
    if differences.iter().all(|&difference| difference == differences[0]) {
        return if differences[0] == 0 { first } else { first + varint::len(varint::zigzag(differences[0])) };
    }
    if is_gauge(&mantissas) {
        return first + packed(&differences);
    }
    let seconds: Vec<i64> = differences.windows(2).map(|pair| pair[1] - pair[0]).collect();
    first + varint::len(varint::zigzag(differences[0])) + packed(&seconds)
}

fn mantissas(values: &[f64]) -> Vec<i64> {
    let exponent = values.iter().map(|&value| decimal::smallest(value).map_or(12, |(exponent, _)| exponent)).max().unwrap_or(0);
    values.iter().map(|&value| (value * decimal::power(exponent)).round() as i64).collect()
}

fn is_gauge(mantissas: &[i64]) -> bool {
    let drops = mantissas.windows(2).filter(|pair| pair[1] < pair[0]).count();
    mantissas[0] < 0 || drops > mantissas.len() / 8
}

fn packed(numbers: &[i64]) -> usize {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|&number| varint::put_signed(&mut bytes, number));
    let level = match numbers.len() {
        0..=64 => 1,
        65..=256 => 2,
        257..=1024 => 3,
        1025..=4096 => 4,
        _ => 5,
    };
    let compressed = zstd::bulk::compress(&bytes, level).expect("compress into memory").len();
    if compressed * 10 > bytes.len() * 9 { bytes.len() } else { compressed }
}
