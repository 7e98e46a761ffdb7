//! `stats=` of the query calls: what is asked for, and the statistics as Prometheus writes them.

use std::io::{self, Write};
use std::time::Duration;

use super::params::Params;
use crate::number::push_timestamp;
use crate::query::runner::Answer;

/// What `stats=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stats {
    No,
    Totals,
    PerStep,
}

impl Stats {
    /// Upstream takes any text for `true` and warns of the others.
    pub fn read(params: &Params) -> (Stats, Option<String>) {
        match params.get("stats") {
            None => (Stats::No, None),
            Some("true") => (Stats::Totals, None),
            Some("all") => (Stats::PerStep, None),
            Some(other) => {
                let end = "is deprecated and will be rejected in the next major release, use \"true\" or \"all\"";
                (Stats::Totals, Some(format!("value {other:?} for parameter \"stats\" {end}")))
            }
        }
    }
}

/// `{"timings":…,"samples":…}`
pub fn write_stats(out: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    let seconds = |duration: Duration| duration.as_secs_f64();
    let totals = &answer.output.stats;
    let timings = &totals.timings;
    // What Prometheus calls preparation is finding the series; here that is the read barrier and the plan.
    let prepare = answer.freshened + timings.prepare;
    write!(
        out,
        "{{\"timings\":{{\"evalTotalTime\":{},\"resultSortTime\":{},\"queryPreparationTime\":{},\"innerEvalTime\":{},\
         \"execQueueTime\":{},\"execTotalTime\":{}}},\"samples\":{{",
        seconds(answer.freshened + answer.evaluated),
        seconds(timings.sort),
        seconds(prepare),
        seconds(timings.evaluate),
        seconds(answer.waited),
        seconds(answer.waited + answer.freshened + answer.evaluated),
    )?;
    write_steps(out, "totalQueryableSamplesPerStep", totals.samples_per_step.as_deref())?;
    write!(out, "\"totalQueryableSamples\":{},", totals.total_samples)?;
    write_steps(out, "samplesReadPerStep", totals.read_per_step.as_deref())?;
    write!(out, "\"samplesRead\":{},\"peakSamples\":{}}}}}", totals.samples_read, totals.peak_samples)
}

/// `"name":[[time,samples],…],`, or nothing.
fn write_steps(out: &mut dyn Write, name: &str, steps: Option<&[(i64, u64)]>) -> io::Result<()> {
    let Some(steps) = steps.filter(|steps| !steps.is_empty()) else { return Ok(()) };
    let mut buffer = format!("\"{name}\":[").into_bytes();
    for (at, (time_ms, samples)) in steps.iter().enumerate() {
        buffer.extend_from_slice(if at > 0 { b",[" } else { b"[" });
        push_timestamp(&mut buffer, *time_ms);
        buffer.extend_from_slice(format!(",{samples}]").as_bytes());
    }
    buffer.extend_from_slice(b"],");
    out.write_all(&buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::annotations::Annotations;
    use promql::engine::{QueryOutput, QueryStats, QueryTimings};
    use promql::value::Value;

    fn written(stats: QueryStats) -> serde_json::Value {
        let output = QueryOutput { value: Value::Vector(Vec::new()), annotations: Annotations::new(), stats };
        let duration = Duration::from_millis;
        let answer = Answer { output, warnings: Vec::new(), waited: duration(1), freshened: duration(2), evaluated: duration(10) };
        let mut out = Vec::new();
        write_stats(&mut out, &answer).expect("in memory");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn the_fields_are_upstreams() {
        let duration = Duration::from_millis;
        let timings = QueryTimings { prepare: duration(1), evaluate: duration(6), sort: duration(3) };
        let totals = QueryStats { total_samples: 12, samples_read: 7, peak_samples: 5, timings, ..QueryStats::default() };
        let json = written(totals.clone());
        assert_eq!(json["samples"], serde_json::json!({"totalQueryableSamples": 12, "samplesRead": 7, "peakSamples": 5}));
        let expected = serde_json::json!({
            "evalTotalTime": 0.012, "resultSortTime": 0.003, "queryPreparationTime": 0.003, "innerEvalTime": 0.006,
            "execQueueTime": 0.001, "execTotalTime": 0.013,
        });
        assert_eq!(json["timings"], expected);
        let steps = Some(vec![(1_000, 5), (2_500, 7)]);
        let json = written(QueryStats { samples_per_step: steps.clone(), read_per_step: steps, ..totals });
        assert_eq!(json["samples"]["totalQueryableSamplesPerStep"], serde_json::json!([[1, 5], [2.5, 7]]));
        assert_eq!(json["samples"]["samplesReadPerStep"], serde_json::json!([[1, 5], [2.5, 7]]));
    }

    #[test]
    fn other_words_than_true_and_all_are_warned_of() {
        let read = |query| Stats::read(&Params::from_query(query));
        assert_eq!(read(""), (Stats::No, None));
        assert_eq!(read("stats="), (Stats::No, None));
        assert_eq!(read("stats=true"), (Stats::Totals, None));
        assert_eq!(read("stats=all"), (Stats::PerStep, None));
        let (stats, warning) = read("stats=yes");
        assert_eq!(stats, Stats::Totals);
        let text =
            "value \"yes\" for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\"";
        assert_eq!(warning.as_deref(), Some(text));
    }
}
