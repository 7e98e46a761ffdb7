//! `/api/v1/search/{metric_names,label_names,label_values}` (the feature `search-api`): names and values for somebody who
//! types, as lines of JSON: batches of results, then a line that says whether there are more.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use storage::Metadata;

use super::App;
use super::failure::{Failure, Kind};
use super::params::{Params, parse_whole};
use super::request;
use super::stream::{self, Encoding};
use crate::clock;
use crate::query::metadata::{LabelQuestion, Scope};
use crate::query::search::{Filter, Fuzziness};

const LIMIT_DEFAULT: usize = 100;
const BATCH_DEFAULT: usize = 100;
/// Every term is tried on every value.
const TERMS_MAX: usize = 32;
const RANGE_DEFAULT_MS: i64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Rising,
    Falling,
    ByScore,
}

/// What all three calls take.
struct Search {
    filter: Filter,
    order: Order,
    shows_score: bool,
    start_ms: i64,
    end_ms: i64,
    limit: usize,
    batch: usize,
    /// By metric; empty unless asked for.
    metadata: BTreeMap<String, Vec<Metadata>>,
}

/// `GET`, `POST /api/v1/search/metric_names`
pub async fn metric_names(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let mut search = Search::read(&app, &params, "metric_names")?;
    if plain_flag(&params, "include_metadata", false).map_err(Failure::bad_data)? {
        let consistency = request::consistency(&app, &params, &headers)?;
        search.metadata = app.queries.metadata(None, consistency).await?.0;
    }
    search.answer(&app, &headers, &params, LabelQuestion::Values("__name__".to_string()), "name").await
}

/// `GET`, `POST /api/v1/search/label_names`
pub async fn label_names(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let search = Search::read(&app, &params, "label_names")?;
    search.answer(&app, &headers, &params, LabelQuestion::Names, "name").await
}

/// `GET`, `POST /api/v1/search/label_values`
pub async fn label_values(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, Failure> {
    let search = Search::read(&app, &params, "label_values")?;
    let label = params.get("label").ok_or_else(|| Failure::bad_data("missing required parameter \"label\""))?;
    search.answer(&app, &headers, &params, LabelQuestion::Values(label.to_string()), "value").await
}

impl Search {
    fn read(app: &App, params: &Params, endpoint: &str) -> Result<Search, Failure> {
        if !app.settings.features.search {
            return Err(Failure::new(Kind::Disabled, "search API disabled"));
        }
        params.all_readable()?;
        Search::parse(params, clock::now_ms(), app.settings.web.search_limit, endpoint).map_err(Failure::bad_data)
    }

    fn parse(params: &Params, now_ms: i64, limit_max: usize, endpoint: &str) -> Result<Search, String> {
        let start_ms = params.plain_time("start")?.unwrap_or(now_ms - RANGE_DEFAULT_MS);
        let end_ms = params.plain_time("end")?.unwrap_or(now_ms);
        if end_ms < start_ms {
            return Err("end timestamp must not be before start timestamp".to_string());
        }
        let filter = filter(params)?;
        let shows_score = plain_flag(params, "include_score", false)?;
        let order = order(params, endpoint, params.all("search[]").next().is_some())?;
        let limit_default = if limit_max > 0 { LIMIT_DEFAULT.min(limit_max) } else { LIMIT_DEFAULT };
        let limit = positive(params, "limit")?.unwrap_or(limit_default);
        if limit_max > 0 && limit > limit_max {
            return Err(format!("limit {limit} exceeds the configured maximum ({limit_max}, see --web.search.max-limit)"));
        }
        let batch = positive(params, "batch_size")?.unwrap_or(BATCH_DEFAULT);
        Ok(Search { filter, order, shows_score, start_ms, end_ms, limit, batch, metadata: BTreeMap::new() })
    }

    async fn answer(
        self,
        app: &App,
        headers: &HeaderMap,
        params: &Params,
        question: LabelQuestion,
        field: &'static str,
    ) -> Result<Response, Failure> {
        let selectors = request::plain_selectors(app, params).map_err(Failure::bad_data)?;
        let consistency = request::consistency(app, params, headers)?;
        let scope = Scope { selectors, start_ms: self.start_ms, end_ms: self.end_ms, consistency };
        // The first values are the answer only when none is passed over and none comes before them.
        let is_first = self.filter.finds_everything() && self.order != Order::Falling;
        let needed = if is_first { self.limit.saturating_add(1) } else { usize::MAX };
        let found = app.queries.labels(scope, question, needed).await?;
        let head = [(header::CONTENT_TYPE, "application/x-ndjson; charset=utf-8")].into_response();
        let write = move |out: &mut dyn Write| {
            let results = self.choose(found.items);
            self.write(out, &results, &found.warnings, field)
        };
        Ok(stream::respond(head, Encoding::negotiate(headers), write).await)
    }

    /// What is found with its score, in order, one more than wanted at most. `items` are sorted.
    fn choose(&self, items: Vec<Arc<str>>) -> Vec<(Arc<str>, f64)> {
        let scored = |item: Arc<str>| self.filter.score(&item).map(|score| (item, score));
        let wanted = self.limit.saturating_add(1);
        match self.order {
            Order::Rising => items.into_iter().filter_map(scored).take(wanted).collect(),
            Order::Falling => items.into_iter().rev().filter_map(scored).take(wanted).collect(),
            Order::ByScore => {
                let mut results: Vec<_> = items.into_iter().filter_map(scored).collect();
                // Stable: equal scores stay in the order of their texts. Scores are not negative, so their bits sort as they do.
                results.sort_by_key(|(_, score)| Reverse(score.to_bits()));
                results.truncate(wanted);
                results
            }
        }
    }

    /// At least one batch, so that warnings are seen first; each is sent as it is written.
    fn write(&self, out: &mut dyn Write, results: &[(Arc<str>, f64)], warnings: &[String], field: &str) -> io::Result<()> {
        let shown = &results[..results.len().min(self.limit)];
        let has_more = results.len() > self.limit;
        let batches = shown.chunks(self.batch).map(Some).chain(shown.is_empty().then_some(None));
        for (at, batch) in batches.enumerate() {
            let records: Vec<Value> = batch.unwrap_or_default().iter().map(|result| self.record(result, field)).collect();
            let mut line = json!({"results": records});
            if at == 0 && !warnings.is_empty() {
                line["warnings"] = json!(warnings);
            }
            writeln!(out, "{line}")?;
            out.flush()?;
        }
        writeln!(out, "{}", json!({"status": "success", "has_more": has_more}))
    }

    fn record(&self, (text, score): &(Arc<str>, f64), field: &str) -> Value {
        let mut record = json!({field: &**text});
        if self.shows_score {
            record["score"] = json!(score);
        }
        if let Some(metadata) = self.metadata.get(&**text).and_then(|entries| entries.first()) {
            let fields = [("type", metadata.metric_type.as_str()), ("help", &metadata.help), ("unit", &metadata.unit)];
            fields.into_iter().filter(|(_, text)| !text.is_empty()).for_each(|(name, text)| record[name] = json!(text));
        }
        record
    }
}

fn filter(params: &Params) -> Result<Filter, String> {
    let terms = params.all("search[]").count();
    if terms > TERMS_MAX {
        return Err(format!("too many search[] terms: got {terms}, maximum is {TERMS_MAX}"));
    }
    let percent = match params.get("fuzz_threshold") {
        None => 0,
        Some(text) => match parse_whole(text) {
            Ok(percent @ 0..=100) => percent,
            _ => return Err(format!("invalid fuzz_threshold {text:?}: must be 0-100")),
        },
    };
    let name = params.get("fuzz_alg").unwrap_or("subsequence");
    let unsupported = || format!("unsupported fuzz_alg {name:?}: must be one of [subsequence jarowinkler]");
    let fuzziness = Fuzziness::parse(name).ok_or_else(unsupported)?;
    let is_case_sensitive = plain_flag(params, "case_sensitive", true)?;
    Ok(Filter::new(params.all("search[]"), fuzziness, percent as f64 / 100.0, !is_case_sensitive))
}

fn order(params: &Params, endpoint: &str, has_terms: bool) -> Result<Order, String> {
    let (by, direction) = (params.get("sort_by"), params.get("sort_dir"));
    if direction.is_some() && by.is_none() {
        return Err("sort_dir is only valid when sort_by is set".to_string());
    }
    if direction.is_some() && by == Some("score") {
        return Err("sort_dir is not supported for sort_by=score".to_string());
    }
    let is_falling = match direction {
        None | Some("asc") => false,
        Some("dsc") => true,
        Some(other) => return Err(format!("invalid sort_dir {other:?}: must be \"asc\" or \"dsc\"")),
    };
    match by {
        Some("score") if !has_terms => Err("sort_by=score requires search[] to be set".to_string()),
        Some("score") => Ok(Order::ByScore),
        None | Some("alpha") => Ok(if is_falling { Order::Falling } else { Order::Rising }),
        Some(other) => Err(format!("invalid sort_by {other:?} for {endpoint}: must be \"alpha\" or \"score\"")),
    }
}

fn positive(params: &Params, name: &str) -> Result<Option<usize>, String> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let number = parse_whole(text).ok().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0);
    number.map(Some).ok_or_else(|| format!("invalid {name} {text:?}: must be a positive integer"))
}

fn plain_flag(params: &Params, name: &str, default: bool) -> Result<bool, String> {
    let flag = params.flag(name).map_err(|text| format!("invalid {name} {text:?}: must be boolean"))?;
    Ok(flag.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(query: &str) -> Result<Search, String> {
        Search::parse(&Params::from_query(query), 1_700_000_000_000, 200, "label_values")
    }

    fn lines(query: &str, texts: &[&str]) -> Vec<Value> {
        let search = search(query).expect(query);
        let results = search.choose(texts.iter().map(|text| Arc::from(*text)).collect());
        let mut out = Vec::new();
        search.write(&mut out, &results, &["careful".to_string()], "value").expect("in memory");
        let text = String::from_utf8(out).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn results_come_in_batches_and_end_with_a_trailer() {
        let lines = lines("batch_size=2&limit=3", &["a", "b", "c", "d"]);
        let value = |text: &str| json!({"value": text});
        assert_eq!(lines[0], json!({"results": [value("a"), value("b")], "warnings": ["careful"]}));
        assert_eq!(lines[1], json!({"results": [value("c")]}));
        assert_eq!(lines[2], json!({"status": "success", "has_more": true}));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn nothing_found_is_an_empty_batch() {
        let lines = lines("search[]=z", &["a"]);
        assert_eq!(lines, [json!({"results": [], "warnings": ["careful"]}), json!({"status": "success", "has_more": false})]);
    }

    #[test]
    fn results_have_an_order() {
        let texts = |query| {
            let lines = lines(query, &["node_cpu", "process_cpu", "up"]);
            lines[0]["results"].as_array().map(|list| list.iter().map(|result| result["value"].clone()).collect::<Vec<_>>())
        };
        assert_eq!(texts("search[]=cpu&sort_by=alpha&sort_dir=dsc"), Some(vec![json!("process_cpu"), json!("node_cpu")]));
        assert_eq!(texts("search[]=cpu&sort_by=score"), Some(vec![json!("node_cpu"), json!("process_cpu")]));
        let scored = lines("search[]=up&include_score=true", &["up"]);
        assert_eq!(scored[0]["results"], json!([{"value": "up", "score": 1.0}]));
    }

    #[test]
    fn parameters_are_checked_in_upstreams_words() {
        for (query, text) in [
            ("start=x", "invalid time value for 'start': cannot parse \"x\" to a valid timestamp"),
            ("start=10&end=5", "end timestamp must not be before start timestamp"),
            ("fuzz_threshold=101", "invalid fuzz_threshold \"101\": must be 0-100"),
            ("fuzz_alg=soundex", "unsupported fuzz_alg \"soundex\": must be one of [subsequence jarowinkler]"),
            ("case_sensitive=perhaps", "invalid case_sensitive \"perhaps\": must be boolean"),
            ("sort_dir=asc", "sort_dir is only valid when sort_by is set"),
            ("sort_by=score&sort_dir=asc&search[]=a", "sort_dir is not supported for sort_by=score"),
            ("sort_by=alpha&sort_dir=up", "invalid sort_dir \"up\": must be \"asc\" or \"dsc\""),
            ("sort_by=score", "sort_by=score requires search[] to be set"),
            ("sort_by=age", "invalid sort_by \"age\" for label_values: must be \"alpha\" or \"score\""),
            ("limit=0", "invalid limit \"0\": must be a positive integer"),
            ("limit=201", "limit 201 exceeds the configured maximum (200, see --web.search.max-limit)"),
            ("batch_size=-1", "invalid batch_size \"-1\": must be a positive integer"),
        ] {
            assert_eq!(search(query).err().as_deref(), Some(text), "{query}");
        }
        let many = "search[]=a&".repeat(33);
        assert_eq!(search(&many).err().as_deref(), Some("too many search[] terms: got 33, maximum is 32"));
        assert_eq!(search("").map(|search| (search.limit, search.batch, search.end_ms - search.start_ms)), Ok((100, 100, 3_600_000)));
    }
}
