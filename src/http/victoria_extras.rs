//! What VictoriaMetrics' clients may add to a query: `extra_label=NAME=VALUE` and `extra_filters[]=SELECTOR`, conditions that
//! every selector of the request must meet too (proxies enforce tenants with them), and `round_digits`. `nocache` is accepted
//! and changes nothing: there is no cache of results.

use promql::ast::Expr;
use promql::function_signatures::Function;
use promql::matcher::Matcher;
use promql::sample::SampleValue;
use promql::value::Value;

use super::App;
use super::failure::Failure;
use super::params::Params;
use crate::ingest::import_labels::extra_label;

/// More digits than a float has.
const DIGITS_MAX: usize = 100;

/// The query of a request, its selectors with the conditions added: text and tree, which always say the same.
pub fn query(app: &App, params: &Params) -> Result<(String, Expr), Failure> {
    let text = params.get("query").unwrap_or("").to_string();
    let mut expression = app.queries.parse(&text)?;
    let enforced = enforced(app, params)?;
    if enforced.is_empty() {
        return Ok((text, expression));
    }
    if !add_to_selectors(&mut expression, &enforced) {
        return Err(Failure::bad_data("info() reads series that no selector names; it cannot be used with extra_label or extra_filters[]"));
    }
    // Read again, so that positions in annotations are those of the text that is evaluated.
    let text = expression.to_string();
    let expression = app.queries.parse(&text)?;
    Ok((text, expression))
}

/// False when something reads series without a selector.
fn add_to_selectors(expression: &mut Expr, enforced: &[Matcher]) -> bool {
    let mut all_named = true;
    expression.walk_mut(&mut |expression| {
        let selector = match expression {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Call(call) => {
                all_named &= call.function != Function::Info;
                return;
            }
            _ => return,
        };
        // The condition on the name stays the last.
        selector.matchers.splice(0..0, enforced.iter().cloned());
    });
    all_named
}

/// The conditions, all of which must hold. Several filters would mean "one of them" and are refused: to apply all of them would
/// be another answer, to apply one of them a leak.
pub fn enforced(app: &App, params: &Params) -> Result<Vec<Matcher>, Failure> {
    let labels = params.all("extra_label").map(|text| {
        let (name, value) = extra_label(text).map_err(|problem| Failure::parameter("extra_label", problem))?;
        Ok(Matcher::equal(name, value))
    });
    let mut matchers: Vec<Matcher> = labels.collect::<Result<_, Failure>>()?;
    let filters: Vec<&str> = params.all("extra_filters[]").chain(params.all("extra_filters")).collect();
    match filters.as_slice() {
        [] => {}
        [filter] => {
            let filter = app.queries.parse_selector(filter);
            matchers.extend(filter.map_err(|failure| Failure::parameter("extra_filters[]", failure))?);
        }
        _ => return Err(Failure::parameter("extra_filters[]", "only one is supported; put all conditions into it")),
    }
    Ok(matchers)
}

/// Adds the conditions to each selector; without a selector they are the only one.
pub fn enforce(selectors: &mut Vec<Vec<Matcher>>, enforced: &[Matcher]) {
    if selectors.is_empty() && !enforced.is_empty() {
        selectors.push(Vec::new());
    }
    for selector in selectors {
        selector.extend_from_slice(enforced);
    }
}

/// Rounds the values of an answer to `round_digits` digits behind the point.
pub fn round(value: &mut Value, params: &Params) -> Result<(), Failure> {
    let Some(text) = params.get("round_digits") else { return Ok(()) };
    let digits = text.parse().ok().filter(|&digits| digits <= DIGITS_MAX);
    let digits: usize =
        digits.ok_or_else(|| Failure::parameter("round_digits", format!("{text:?} is not a number from 0 to {DIGITS_MAX}")))?;
    match value {
        Value::Scalar { value, .. } => *value = rounded(*value, digits),
        Value::String { .. } => {}
        Value::Vector(samples) => {
            for sample in samples {
                if let SampleValue::Float(value) = &mut sample.value {
                    *value = rounded(*value, digits);
                }
            }
        }
        Value::Matrix(series) => {
            let floats = series.iter_mut().flat_map(|series| &mut series.floats);
            floats.for_each(|(_, value)| *value = rounded(*value, digits));
        }
    }
    Ok(())
}

/// Through the decimal digits, so that the answer is the float that they mean.
fn rounded(value: f64, digits: usize) -> f64 {
    if value.is_finite() { format!("{value:.digits$}").parse().unwrap_or(value) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::labels::Labels;
    use promql::value::{Sample, Series};

    #[test]
    fn values_are_rounded_to_the_digits() {
        let cases = [(1.2345, 2, 1.23), (0.1 + 0.2, 3, 0.3), (-1.5, 0, -2.0), (1e300, 5, 1e300), (f64::INFINITY, 1, f64::INFINITY)];
        for (value, digits, expected) in cases {
            assert_eq!(rounded(value, digits), expected, "{value} {digits}");
        }
        assert!(rounded(f64::NAN, 1).is_nan());
        let params = Params::from_query("round_digits=1");
        let mut vector = Value::Vector(vec![Sample { labels: Labels::empty(), time_ms: 0, value: SampleValue::Float(0.26) }]);
        round(&mut vector, &params).expect("valid");
        assert!(matches!(&vector, Value::Vector(samples) if matches!(samples[0].value, SampleValue::Float(0.3))));
        let mut matrix = Value::Matrix(vec![Series { labels: Labels::empty(), floats: vec![(0, 0.26), (1, 0.24)], histograms: vec![] }]);
        round(&mut matrix, &params).expect("valid");
        assert!(matches!(&matrix, Value::Matrix(series) if series[0].floats == [(0, 0.3), (1, 0.2)]));
        for wrong in ["x", "-1", "101"] {
            assert!(round(&mut matrix, &Params::from_query(&format!("round_digits={wrong}"))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_selector_of_a_query_gets_the_conditions() {
        let enforced = [Matcher::equal("tenant", "a")];
        let with = |text: &str| {
            let mut expression = promql::parse(text, promql::ParserOptions::default()).expect(text);
            add_to_selectors(&mut expression, &enforced).then(|| expression.to_string())
        };
        let cases = [
            ("up", r#"up{tenant="a"}"#),
            (r#"sum by (x) (rate(m{b="1"}[5m])) / n{c!="2"}"#, r#"sum by (x) (rate(m{b="1",tenant="a"}[5m])) / n{c!="2",tenant="a"}"#),
            ("max_over_time(x[1h:1m])", r#"max_over_time(x{tenant="a"}[1h:1m])"#),
            ("1 + 2", "1 + 2"),
        ];
        for (text, expected) in cases {
            assert_eq!(with(text).as_deref(), Some(expected), "{text}");
            promql::parse(expected, promql::ParserOptions::default()).expect(expected);
        }
        assert!(!add_to_selectors(&mut info_call(), &enforced));
    }

    fn info_call() -> Expr {
        let options = promql::ParserOptions { experimental_functions: true, ..promql::ParserOptions::default() };
        promql::parse("info(up)", options).expect("valid")
    }

    #[test]
    fn conditions_join_every_selector() {
        let condition = [Matcher::equal("tenant", "a")];
        let mut selectors = vec![vec![Matcher::equal("x", "1")], vec![Matcher::equal("y", "2")]];
        enforce(&mut selectors, &condition);
        assert!(selectors.iter().all(|selector| selector.len() == 2 && selector[1] == condition[0]));
        let mut none = Vec::new();
        enforce(&mut none, &condition);
        assert_eq!(none, [condition.to_vec()]);
        let mut untouched: Vec<Vec<Matcher>> = Vec::new();
        enforce(&mut untouched, &[]);
        assert!(untouched.is_empty());
    }
}
