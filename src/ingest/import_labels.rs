//! Labels that the address of an import gives to everything in its body: `extra_label=region=eu`, and the push gateway's
//! path `/metrics/job/batch/instance/a`, whose values may be in base64 (`/job@base64/YmF0Y2g`) where a path could not hold them.

use super::label_forms::METRIC_NAME;

/// Why an address names no labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    #[error("extra_label {0:?} is not NAME=VALUE")]
    ExtraLabel(String),
    #[error("the path must be …/metrics/job/JOB, followed by any number of /NAME/VALUE")]
    Path,
    #[error("the value of {0:?} is not base64 of a text (URL alphabet)")]
    Base64(String),
    #[error("label {0:?} is given twice, or is the metric name")]
    Name(String),
}

/// `region=eu`
pub fn extra_label(text: &str) -> Result<(String, String), AddressProblem> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && name != METRIC_NAME => Ok((name.to_string(), value.to_string())),
        _ => Err(AddressProblem::ExtraLabel(text.to_string())),
    }
}

/// `metrics/job/batch/instance/a`, percent signs decoded in each part already.
pub fn grouping_labels(parts: &[String]) -> Result<Vec<(String, String)>, AddressProblem> {
    let Some(("metrics", rest)) = parts.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return Err(AddressProblem::Path);
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let is_job = pairs.first().is_some_and(|[name, _]| name == "job" || name == "job@base64");
    if !odd.is_empty() || !is_job {
        return Err(AddressProblem::Path);
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    for [name, value] in pairs {
        let (name, value) = match name.strip_suffix("@base64") {
            Some(name) => (name, base64_text(value).ok_or_else(|| AddressProblem::Base64(name.to_string()))?),
            None => (name.as_str(), value.clone()),
        };
        if name.is_empty() || name == METRIC_NAME || labels.iter().any(|(given, _)| given == name) {
            return Err(AddressProblem::Name(name.to_string()));
        }
        labels.push((name.to_string(), value));
    }
    Ok(labels)
}

/// Base64 with `-` and `_`, with or without `=` at the end.
fn base64_text(text: &str) -> Option<String> {
    let digits = text.trim_end_matches('=').as_bytes();
    if digits.len() % 4 == 1 {
        return None;
    }
    let (mut held, mut held_bits) = (0u32, 0);
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        held_bits += 6;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push((held >> held_bits) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouping(path: &str) -> Result<Vec<(String, String)>, AddressProblem> {
        grouping_labels(&path.split('/').map(str::to_string).collect::<Vec<_>>())
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_path_names_job_and_other_labels() {
        assert_eq!(grouping("metrics/job/a"), Ok(owned(&[("job", "a")])));
        assert_eq!(grouping("metrics/job/a/instance/b:1"), Ok(owned(&[("job", "a"), ("instance", "b:1")])));
        let encoded = "metrics/job@base64/ZGlyZWN0b3J5L2NsZWFuZXI/path@base64/L3Zhci90bXA=/empty@base64/=";
        assert_eq!(grouping(encoded), Ok(owned(&[("job", "directory/cleaner"), ("path", "/var/tmp"), ("empty", "")])));
        for wrong in ["metrics", "metrics/job", "metrics/instance/a", "other/job/a", "metrics/job/a/instance"] {
            assert_eq!(grouping(wrong), Err(AddressProblem::Path), "{wrong}");
        }
        assert_eq!(grouping("metrics/job@base64/a+b"), Err(AddressProblem::Base64("job".to_string())));
        assert_eq!(grouping("metrics/job@base64/__8"), Err(AddressProblem::Base64("job".to_string())), "no UTF-8");
        assert_eq!(grouping("metrics/job/a/job/b"), Err(AddressProblem::Name("job".to_string())));
        assert_eq!(grouping("metrics/job/a/__name__/b"), Err(AddressProblem::Name("__name__".to_string())));
    }

    #[test]
    fn an_extra_label_is_a_pair() {
        assert_eq!(extra_label("a=b=c"), Ok(("a".to_string(), "b=c".to_string())));
        for wrong in ["a", "=b", "__name__=x", ""] {
            assert!(extra_label(wrong).is_err(), "{wrong}");
        }
    }
}
