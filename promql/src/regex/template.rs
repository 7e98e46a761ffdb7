//! Replacement templates as Go's `regexp.Expand` reads them.

use regex_automata::util::captures::Captures;

/// `template` with the groups of a match of `value` put in; of groups that share a name the first that took part.
pub(super) fn expand(template: &str, value: &str, groups: &Captures, names: &[(String, usize)]) -> String {
    let mut expanded = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = behind;
        } else if let Some((name, behind)) = group_name(rest) {
            let of_name = || {
                let mut candidates = names.iter().filter(|(known, _)| known == name);
                candidates.find_map(|&(_, index)| groups.get_group(index))
            };
            let span = group_number(name).map_or_else(of_name, |index| groups.get_group(index));
            expanded.push_str(span.and_then(|span| value.get(span.range())).unwrap_or(""));
            rest = behind;
        } else {
            // No name follows: the dollar sign stands for itself.
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

/// The name behind a dollar sign, and what follows it.
fn group_name(text: &str) -> Option<(&str, &str)> {
    let unbraced = text.strip_prefix('{');
    let from = unbraced.unwrap_or(text);
    let in_name = |character: char| character == '_' || character.is_alphanumeric();
    let end = from.find(|character| !in_name(character)).unwrap_or(from.len());
    let (name, behind) = from.split_at(end);
    let behind = if unbraced.is_some() { behind.strip_prefix('}')? } else { behind };
    (!name.is_empty()).then_some((name, behind))
}

/// The number that a name is; a leading zero makes it a name.
fn group_number(name: &str) -> Option<usize> {
    let plain = name == "0" || !name.starts_with('0');
    (plain && name.len() <= 8 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}
