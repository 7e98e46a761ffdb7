//! CSV rows by a description of their columns, as VictoriaMetrics' `/api/v1/import/csv` takes them:
//! `format=2:metric:ask,3:metric:bid,1:label:ticker,4:time:unix_s`. Columns count from 1; those that are not named are
//! stepped over. A row gives one sample for each metric column that is not empty. Without a time column, or with an empty one,
//! the time is now. Fields may stand in quotes, in which `""` is one; separators and line breaks may stand between them.

use std::borrow::Cow;

use storage::histogram::ordinary;

use super::columns::Columns;
use super::csv_time::TimeForm;
use super::decode_error::DecodeError;
use super::label_forms::METRIC_NAME;
use crate::sample_text::parse_sample_text;

/// More columns than anyone names.
const COLUMNS_MAX: usize = 1024;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Metric(String),
    Label(String),
    Time(TimeForm),
}

/// The columns that mean something, by their position from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFormat {
    columns: Vec<(usize, Column)>,
}

impl RowFormat {
    /// Errors say what is wrong with the description.
    pub fn parse(text: &str) -> Result<RowFormat, String> {
        let mut columns: Vec<(usize, Column)> = Vec::new();
        // A layout may hold commas: what does not begin a description goes on.
        let mut parts: Vec<String> = Vec::new();
        for part in text.split(',') {
            match parts.last_mut() {
                Some(last) if !begins_description(part) => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => parts.push(part.to_string()),
            }
        }
        for part in &parts {
            let problem = || format!("{part:?} is not POSITION:metric:NAME, POSITION:label:NAME or POSITION:time:FORM");
            let mut fields = part.trim().splitn(3, ':');
            let position =
                fields.next().and_then(|position| position.parse::<usize>().ok()).filter(|position| (1..=COLUMNS_MAX).contains(position));
            let position = position.ok_or_else(problem)? - 1;
            let kind = fields.next().ok_or_else(problem)?;
            let meaning = fields.next().filter(|meaning| !meaning.is_empty()).ok_or_else(problem)?;
            let column = match kind {
                "metric" => Column::Metric(meaning.to_string()),
                "label" => Column::Label(meaning.to_string()),
                "time" => Column::Time(
                    TimeForm::parse(meaning)
                        .ok_or_else(|| format!("time form {meaning:?} is not unix_s, unix_ms, unix_ns, rfc3339 or custom:LAYOUT"))?,
                ),
                _ => return Err(problem()),
            };
            if columns.iter().any(|(taken, _)| *taken == position) {
                return Err(format!("column {} is described twice", position + 1));
            }
            columns.push((position, column));
        }
        if columns.iter().filter(|(_, column)| matches!(column, Column::Time(_))).count() > 1 {
            return Err("more than one time column".to_string());
        }
        if columns.iter().all(|(_, column)| !matches!(column, Column::Metric(_))) {
            return Err("no metric column".to_string());
        }
        Ok(RowFormat { columns })
    }
}

/// `3:label:…`
fn begins_description(text: &str) -> bool {
    let position = text.trim_start().split_once(':').filter(|(position, _)| position.bytes().all(|byte| byte.is_ascii_digit()));
    position.is_some_and(|(_, rest)| ["metric:", "label:", "time:"].iter().any(|kind| rest.starts_with(kind)))
}

/// Stages some rows; `first_line` is the number of the first line, for errors. After an error nothing that was staged may be used.
pub fn decode(rows: &[u8], first_line: usize, format: &RowFormat, now_ms: i64, columns: &mut Columns) -> Result<(), DecodeError> {
    let text = std::str::from_utf8(rows).map_err(|error| {
        let line = first_line + rows[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        DecodeError::Text { line, reason: "invalid UTF-8".to_string() }
    })?;
    let mut line = first_line;
    let mut rest = text;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        fields.clear();
        let refuse = |reason: String| DecodeError::Text { line, reason };
        let after = split_row(rest, &mut fields).map_err(|reason| refuse(reason.to_string()))?;
        let is_blank = matches!(fields.as_slice(), [only] if only.trim().is_empty());
        if !is_blank {
            stage(&fields, format, now_ms, columns).map_err(refuse)?;
        }
        line += rest[..rest.len() - after.len()].bytes().filter(|&byte| byte == b'\n').count();
        rest = after;
    }
    Ok(())
}

/// One sample for each metric of the row.
fn stage(fields: &[Cow<str>], format: &RowFormat, now_ms: i64, columns: &mut Columns) -> Result<(), String> {
    let field = |position: usize| fields.get(position).map(|field| &**field).ok_or_else(|| format!("column {} is missing", position + 1));
    let mut timestamp_ms = now_ms;
    for (position, column) in &format.columns {
        let Column::Time(form) = column else { continue };
        let text = field(*position)?.trim();
        if !text.is_empty() {
            timestamp_ms = form.read(text).ok_or_else(|| format!("column {}: {text:?} is not a time of its form", position + 1))?;
        }
    }
    for (position, column) in &format.columns {
        let Column::Metric(name) = column else { continue };
        let text = field(*position)?.trim();
        if text.is_empty() {
            continue;
        }
        let value = parse_sample_text(text).ok_or_else(|| format!("column {}: {text:?} is not a number", position + 1))?;
        let mark = columns.arena_mark();
        columns.push_pair(METRIC_NAME.as_bytes(), name.as_bytes());
        for (position, column) in &format.columns {
            if let Column::Label(label) = column {
                columns.push_pair(label.as_bytes(), field(*position)?.as_bytes());
            }
        }
        columns.begin_series_from_arena(mark);
        columns.push_sample(timestamp_ms, ordinary(value));
    }
    Ok(())
}

/// Splits off the first row's fields; answers what follows its line break.
fn split_row<'a>(text: &'a str, fields: &mut Vec<Cow<'a, str>>) -> Result<&'a str, &'static str> {
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find([',', '\n']).unwrap_or(rest.len());
                let field = &rest[..end];
                let field = if rest[end..].starts_with(',') { field } else { field.strip_suffix('\r').unwrap_or(field) };
                (Cow::Borrowed(field), &rest[end..])
            }
        };
        if fields.len() == COLUMNS_MAX {
            return Err("more than 1024 columns");
        }
        fields.push(field);
        match after.as_bytes() {
            [] => return Ok(""),
            [b',', ..] => rest = &after[1..],
            [b'\n', ..] => return Ok(&after[1..]),
            [b'\r', b'\n', ..] => return Ok(&after[2..]),
            [b'\r'] => return Ok(""),
            _ => return Err("text behind a closing quotation mark"),
        }
    }
}

/// The content up to the closing quotation mark, and what follows that.
fn quoted_field(quoted: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let mut from = 0;
    loop {
        let mark = from + quoted[from..].find('"').ok_or("unterminated quoted field")?;
        let after = &quoted[mark + 1..];
        if after.starts_with('"') {
            from = mark + 2;
            continue;
        }
        let content = &quoted[..mark];
        let content = if from > 0 { Cow::Owned(content.replace("\"\"", "\"")) } else { Cow::Borrowed(content) };
        return Ok((content, after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_123;

    fn staged(format: &str, text: &str) -> Result<Vec<String>, String> {
        let format = RowFormat::parse(format)?;
        let mut columns = Columns::new();
        decode(text.as_bytes(), 1, &format, NOW, &mut columns).map_err(|error| error.to_string())?;
        let of_series = |series| {
            let mut labels = Vec::new();
            columns.labels(text.as_bytes(), series, &mut labels).expect("valid labels");
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}@{}", labels.join("|"), columns.values[series], columns.timestamps[series])
        };
        Ok((0..columns.series_count()).map(of_series).collect())
    }

    #[test]
    fn rows_become_samples() {
        let format = "2:metric:ask,3:metric:bid,1:label:ticker,5:time:unix_s";
        assert_eq!(
            staged(format, "GOOG,1.23,4.56,NYSE,1700000000\r\nMSFT,,3.2,,\n\n").expect("valid"),
            [
                "__name__=ask|ticker=GOOG 1.23@1700000000000".to_string(),
                "__name__=bid|ticker=GOOG 4.56@1700000000000".to_string(),
                format!("__name__=bid|ticker=MSFT 3.2@{NOW}"),
            ]
        );
    }

    #[test]
    fn quoted_fields_hold_anything() {
        let rows = "\"a,\"\"b\"\"\nc\",1\n\"\",2\n";
        assert_eq!(
            staged("1:label:x,2:metric:m", rows).expect("valid"),
            [format!("__name__=m|x=a,\"b\"\nc 1@{NOW}"), format!("__name__=m|x= 2@{NOW}")]
        );
    }

    #[test]
    fn a_layout_may_hold_commas() {
        let format = RowFormat::parse("1:time:custom:Jan _2, 2006,2:metric:m").expect("valid");
        assert_eq!(format.columns.len(), 2);
    }

    #[test]
    fn errors_name_the_line_and_the_column() {
        let cases = [
            ("1:metric:m", "1\nx\n", "line 2: column 1: \"x\" is not a number"),
            ("1:metric:m,3:label:a", "1,2\n", "line 1: column 3 is missing"),
            ("1:metric:m,2:time:unix_s", "1,soon\n", "line 1: column 2: \"soon\" is not a time of its form"),
            ("1:label:a,2:metric:m", "\"a\nb\",1\n\"x", "line 3: unterminated quoted field"),
            ("1:metric:m", "\"1\"2\n", "line 1: text behind a closing quotation mark"),
            ("", "", "\"\" is not POSITION"),
            ("0:metric:m", "", "\"0:metric:m\" is not POSITION"),
            ("1:value:m", "", "\"1:value:m\" is not POSITION"),
            ("1:label:m", "", "no metric column"),
            ("1:metric:m,1:label:a", "", "column 1 is described twice"),
            ("1:metric:m,2:time:when", "", "time form \"when\" is not"),
            ("1:metric:m,2:time:unix_s,3:time:unix_s", "", "more than one time column"),
        ];
        for (format, text, expected) in cases {
            let error = staged(format, text).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_no_panic(text in "[a1,\"\n\r é]{0,40}", bytes: Vec<u8>) {
            let _ = staged("1:metric:m,2:label:a", &text);
            let format = RowFormat::parse("1:metric:m").expect("valid");
            let _ = decode(&bytes, 1, &format, NOW, &mut Columns::new());
        }
    }
}
