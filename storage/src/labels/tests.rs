//! Canonical bytes against the plain meaning of a label set: a sorted map without empty values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn canonical(labels: &[(&str, &str)]) -> Result<Vec<u8>, LabelError> {
    let mut out = vec![7];
    let outcome = canonicalize(&mut labels.to_vec(), &mut out);
    if outcome.is_err() {
        assert_eq!(out, [7], "a refused label set leaves no bytes");
    }
    outcome.map(|()| out.split_off(1))
}

proptest! {
    #[test]
    fn bytes_mean_the_sorted_map(labels in prop::collection::btree_map("[a-zé_]{1,9}", "[a-z0-9ü ]{0,200}", 1..20), seed: u64) {
        let expected: BTreeMap<_, _> = labels.iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut shuffled: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let shift = seed as usize % shuffled.len();
        shuffled.rotate_left(shift);
        match canonical(&shuffled) {
            Err(error) => prop_assert!(expected.is_empty() && error == LabelError::Empty),
            Ok(bytes) => {
                prop_assert!(validate(&bytes).is_ok());
                let read: Vec<_> = iter(&bytes).collect();
                let wanted: Vec<_> = expected.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                prop_assert_eq!(read, wanted);
            }
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes: Vec<u8>) {
        let count = iter(&bytes).count();
        if validate(&bytes).is_ok() {
            let mut labels: Vec<_> = iter(&bytes).collect();
            prop_assert_eq!(labels.len(), count);
            let mut again = Vec::new();
            canonicalize(&mut labels, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn refusals_name_the_label() {
    let long_name = "n".repeat(NAME_BYTES_MAX + 1);
    let long_value = "v".repeat(VALUE_BYTES_MAX + 1);
    let names: Vec<String> = (0..=LABELS_MAX).map(|number| format!("l{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(canonical(&[]), Err(LabelError::Empty));
    assert_eq!(canonical(&[("a", "")]), Err(LabelError::Empty));
    assert_eq!(canonical(&[("a", "1"), ("b", "2"), ("a", "3")]), Err(LabelError::Duplicate { name: "a".into() }));
    assert!(canonical(&[("", "x")]).unwrap_err().to_string().contains("\"x\""));
    assert!(canonical(&[(&long_name, "x")]).unwrap_err().to_string().contains("1025 bytes"));
    assert!(canonical(&[("job", &long_value)]).unwrap_err().to_string().contains("label \"job\""));
    assert!(matches!(canonical(&many), Err(LabelError::TooMany { count: 257, max: 256 })));
    assert!(canonical(&many[..LABELS_MAX]).is_ok());
}

#[test]
fn a_long_value_of_wide_characters_is_quoted_on_a_boundary() {
    let name = "ü".repeat(600);
    assert!(matches!(canonical(&[(&name, "x")]), Err(LabelError::NameTooLong { bytes: 1200, .. })));
}

#[test]
fn the_hash_depends_on_key_and_labels() {
    let one = canonical(&[("__name__", "up"), ("job", "a")]).unwrap();
    let two = canonical(&[("__name__", "up"), ("job", "b")]).unwrap();
    let key = HashKey([1; 16]);
    assert_eq!(hash(&key, &one), hash(&key, &one));
    assert_ne!(hash(&key, &one), hash(&key, &two));
    assert_ne!(hash(&key, &one), hash(&HashKey([2; 16]), &one));
    assert_eq!(get(&one, "job"), Some("a"));
    assert_eq!(get(&one, "instance"), None);
}

#[test]
fn shards_are_even_and_in_range() {
    let key = HashKey([3; 16]);
    let mut counts = [0u32; 7];
    for number in 0..70_000u32 {
        counts[shard_of(hash(&key, &number.to_le_bytes()), 7) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    assert_eq!(shard_of(u128::MAX, 7), 6);
    assert_eq!(shard_of(0, 7), 0);
}
