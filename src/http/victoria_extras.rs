//! What VictoriaMetrics' clients may add to a query: `extra_label=NAME=VALUE` and `extra_filters[]=SELECTOR`, conditions that
//! every selector of the request must meet too (proxies enforce tenants with them), and `round_digits`. `nocache` is accepted
//! and changes nothing: there is no cache of results.

use promql::matcher::Matcher;
use promql::sample::SampleValue;
use promql::value::Value;

use super::App;
use super::failure::Failure;
use super::params::Params;
use crate::ingest::import_labels::extra_label;
use crate::query::conditions::Conditions;

/// More digits than a float has.
const DIGITS_MAX: usize = 100;

/// The conditions of a request: all labels, and of the filters one.
pub fn enforced(app: &App, params: &Params) -> Result<Conditions, Failure> {
    let labels = params.all("extra_label").map(|text| {
        let (name, value) = extra_label(text).map_err(|problem| Failure::parameter("extra_label", problem))?;
        Ok(Matcher::equal(name, value))
    });
    let labels: Vec<Matcher> = labels.collect::<Result<_, Failure>>()?;
    let filters = params.all("extra_filters[]").chain(params.all("extra_filters")).map(|text| {
        let filter = app.queries.parse_selector(text);
        filter.map_err(|failure| Failure::parameter("extra_filters[]", failure))
    });
    let filters = filters.collect::<Result<Vec<_>, Failure>>()?;
    let too_many = || Failure::parameter("extra_filters[]", "these filters overlap in too many ways; send fewer or simpler ones");
    Conditions::any_of(&sets(labels, filters)).ok_or_else(too_many)
}

fn sets(labels: Vec<Matcher>, filters: Vec<Vec<Matcher>>) -> Vec<Vec<Matcher>> {
    match (labels.is_empty(), filters.is_empty()) {
        (true, true) => Vec::new(),
        (false, true) => vec![labels],
        _ => filters.into_iter().map(|filter| [&labels[..], &filter].concat()).collect(),
    }
}

/// Adds the conditions to each selector; without a selector they are the only ones.
pub fn enforce(selectors: &mut Vec<Vec<Matcher>>, conditions: &Conditions) {
    if conditions.is_empty() {
        return;
    }
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    *selectors = selectors.iter().flat_map(|selector| conditions.applied_to(selector)).collect();
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
    fn labels_hold_with_each_of_the_filters() {
        let equal = |name: &str| vec![Matcher::equal(name, "1")];
        assert!(sets(vec![], vec![]).is_empty());
        assert_eq!(sets(equal("l"), vec![]), [equal("l")]);
        assert_eq!(sets(vec![], vec![equal("a"), equal("b")]), [equal("a"), equal("b")]);
        assert_eq!(sets(equal("l"), vec![equal("a"), equal("b")]), [[equal("l"), equal("a")].concat(), [equal("l"), equal("b")].concat()]);
    }

    #[test]
    fn conditions_join_every_selector() {
        let conditions = Conditions::any_of(&[vec![Matcher::equal("tenant", "a")], vec![Matcher::equal("tenant", "b")]]).expect("two");
        let mut selectors = vec![vec![Matcher::equal("x", "1")], vec![Matcher::equal("y", "2")]];
        enforce(&mut selectors, &conditions);
        let shown: Vec<String> = selectors.iter().map(|selector| format!("{}{}", selector[0], selector[1])).collect();
        assert_eq!(shown, [r#"x="1"tenant="a""#, r#"x="1"tenant="b""#, r#"y="2"tenant="a""#, r#"y="2"tenant="b""#]);
        let mut none = Vec::new();
        enforce(&mut none, &conditions);
        assert_eq!(none, conditions.sets());
        let mut untouched: Vec<Vec<Matcher>> = Vec::new();
        enforce(&mut untouched, &Conditions::default());
        assert!(untouched.is_empty());
    }
}
