//! Texts of settings as values. Each error says what a good value looks like.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use crate::time_text::parse_duration_words;

pub fn duration(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_words(text).ok_or("not a duration; write e.g. 500ms, 30s, 2m or 15d")?;
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

pub fn duration_above_zero(text: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    if value.is_zero() { Err("must be above zero".to_string()) } else { Ok(value) }
}

pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write true or false".to_string()),
    }
}

/// Bytes: `1048576`, `64KiB`, `32MiB`, `2GiB`.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let problem = || "not a size; write bytes or e.g. 64KiB, 32MiB, 2GiB".to_string();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| problem())?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).ok_or_else(problem)
}

pub fn size_above_zero(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        0 => Err("must be above zero".to_string()),
        size => Ok(size),
    }
}

pub fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".to_string())
}

pub fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a whole number from 0 up".to_string())
}

pub fn count_above_zero(text: &str) -> Result<usize, String> {
    match count(text)? {
        0 => Err("must be 1 or more".to_string()),
        value => Ok(value),
    }
}

/// A file; none where the text is empty.
pub fn optional_path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// An address to listen on; host names are resolved once, at the start.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let problem = "not an address; write HOST:PORT, e.g. 127.0.0.1:9201";
    let mut found = text.to_socket_addrs().map_err(|error| format!("{problem} ({error})"))?;
    found.next().ok_or_else(|| problem.to_string())
}

/// An address other nodes dial; the name is kept, so that it may move.
pub fn dial_address(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if good { Ok(text.to_string()) } else { Err("not an address; write HOST:PORT, e.g. 10.0.0.1:9301".to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("32MiB"), Ok(32 << 20));
        assert_eq!(parse_size("64 KiB"), Ok(64 << 10));
        for wrong in ["", "MiB", "1MB", "-1", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        assert!(socket_address("127.0.0.1:9201").is_ok());
        assert!(socket_address("127.0.0.1").is_err());
        assert!(dial_address("node-2.example:9301").is_ok());
        assert!(dial_address(":9301").is_err());
        assert!(dial_address("host:0").is_err());
    }
}
