//! Every expression of Prometheus's own query tests parses, prints, and reads back as itself.
//!
//! The test data is not part of this repository; without it the test has nothing to do.

use std::path::{Path, PathBuf};

use promql::{ParserOptions, parse};

fn test_data() -> Option<PathBuf> {
    let named = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    let candidates = named.into_iter().chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")]);
    candidates.filter(|directory| directory.is_dir()).next()
}

/// The expression of an `eval` line and whether its evaluation is said to fail.
fn expression(line: &str) -> Option<(&str, bool)> {
    let rest = line.strip_prefix("eval")?;
    let (mode, rest) = rest.split_once(char::is_whitespace)?;
    let fails = mode == "_fail";
    let rest = rest.trim_start();
    if let Some(rest) = rest.strip_prefix("instant") {
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix("at ") {
            Some(rest) => rest.trim_start().split_once(char::is_whitespace)?.1,
            None => rest,
        };
        return Some((rest.trim(), fails));
    }
    let rest = rest.strip_prefix("range from ")?;
    let rest = rest.split_once(" step ")?.1.trim_start();
    Some((rest.split_once(char::is_whitespace)?.1.trim(), fails))
}

#[test]
fn every_expression_parses_and_reads_back() {
    let Some(directory) = test_data() else {
        return;
    };
    let (mut parsed, mut refused) = (0, Vec::new());
    for entry in std::fs::read_dir(directory).expect("list test data") {
        let path = entry.expect("list test data").path();
        let text = std::fs::read_to_string(&path).expect("read test data");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((query, mut fails)) = expression(line) else {
                continue;
            };
            fails |= lines[at + 1..].iter().take_while(|line| !line.is_empty()).any(|line| line.starts_with("expect fail"));
            match parse(query, ParserOptions::experimental()) {
                Ok(expr) => {
                    parsed += 1;
                    let printed = expr.to_string();
                    let again = parse(&printed, ParserOptions::experimental());
                    assert_eq!(again.map(|again| again.to_string()), Ok(printed), "{}:{}", path.display(), at + 1);
                }
                Err(_) if fails => refused.push(query.to_owned()),
                Err(error) => panic!("{}:{}: {query}: {error}", path.display(), at + 1),
            }
        }
    }
    println!("{parsed} parsed, {} refused: {refused:#?}", refused.len());
    assert!(parsed > 0, "test data without expressions");
}
