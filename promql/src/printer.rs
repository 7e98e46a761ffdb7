//! Trees as text that reads back as the same tree, in the words of Prometheus.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Cardinality, DurationExpr, DurationKind, Expr, Extension, Grouping, GroupingMode,
    MatchingMode, MatrixSelector, Notation, NumberLiteral, Span, StringLiteral, SubqueryExpr, VectorMatching, VectorSelector,
};
use crate::labels::{METRIC_NAME, write_label_name};
use crate::matcher::MatchOp;
use crate::number::{general, plain};
use crate::quote::quote;
use crate::time_text::format_duration_ms;

impl Display for Expr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::String(string) => string.fmt(out),
            Self::Unary(unary) => write!(out, "{}{}", unary.op, unary.expr),
            Self::Binary(binary) => write!(out, "{} {} {}", binary.left, Operator(binary), binary.right),
            Self::Aggregate(aggregate) => aggregate.fmt(out),
            Self::Call(call) => call.fmt(out),
            Self::Paren(paren) => write!(out, "({})", paren.expr),
            Self::Vector(selector) => selector.fmt(out),
            Self::Matrix(matrix) => matrix.fmt(out),
            Self::Subquery(subquery) => write!(out, "{}{}", subquery.expr, SubquerySuffix(subquery)),
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.notation {
            Notation::Number => out.write_str(&plain(self.value)),
            Notation::Duration => {
                let sign = if self.value < 0.0 { "-" } else { "" };
                // Durations are whole milliseconds; the rounding undoes the division that made them seconds.
                #[allow(clippy::cast_possible_truncation)]
                let millis = (self.value.abs() * 1000.0).round() as i64;
                write!(out, "{sign}{}", format_duration_ms(millis))
            }
        }
    }
}

impl Display for StringLiteral {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match &self.invalid_utf8 {
            Some(quoted) => out.write_str(quoted),
            None => out.write_str(&quote(&self.value)),
        }
    }
}

/// The operator of a binary expression with its modifiers, as it stands between the two sides.
pub(crate) struct Operator<'a>(pub(crate) &'a BinaryExpr);

impl Display for Operator<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let binary = self.0;
        write!(out, "{}", binary.op)?;
        if binary.return_bool {
            out.write_str(" bool")?;
        }
        binary.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(out))
    }
}

impl Display for VectorMatching {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        let on = self.mode == MatchingMode::On;
        if !self.labels.is_empty() || on || group.is_some() {
            write!(out, " {} ({})", if on { "on" } else { "ignoring" }, LabelNames(&self.labels))?;
        }
        if let Some(side) = group {
            write!(out, " group_{side} ({})", LabelNames(&self.include))?;
        }
        match (self.fill.left, self.fill.right) {
            // NaN differs from itself here as in Prometheus: two modifiers stand for it.
            #[allow(clippy::float_cmp)]
            (Some(left), Some(right)) if left == right => write!(out, " fill ({})", general(left)),
            (left, right) => {
                left.map_or(Ok(()), |value| write!(out, " fill_left ({})", general(value)))?;
                right.map_or(Ok(()), |value| write!(out, " fill_right ({})", general(value)))
            }
        }
    }
}

/// Label names in a list, quoted where they need it.
struct LabelNames<'a>(&'a [Arc<str>]);

impl Display for LabelNames<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(", ")?;
            }
            write_label_name(out, name)?;
        }
        Ok(())
    }
}

/// The name of an aggregation with its grouping, as it stands before the parenthesis.
pub(crate) struct Aggregation<'a>(pub(crate) &'a AggregateExpr);

impl Display for Aggregation<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.0.op, self.0.grouping)
    }
}

impl Display for Grouping {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.mode {
            GroupingMode::Without => write!(out, " without ({}) ", LabelNames(&self.labels)),
            GroupingMode::By if self.labels.is_empty() => Ok(()),
            GroupingMode::By => write!(out, " by ({}) ", LabelNames(&self.labels)),
        }
    }
}

impl Display for AggregateExpr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}(", Aggregation(self))?;
        if let Some(param) = &self.param {
            write!(out, "{param}, ")?;
        }
        write!(out, "{})", self.expr)
    }
}

impl Display for Call {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}(", self.function)?;
        for (index, argument) in self.args.iter().enumerate() {
            if index > 0 {
                out.write_str(", ")?;
            }
            argument.fmt(out)?;
        }
        out.write_str(")")
    }
}

impl Display for VectorSelector {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.fmt_series(out)?;
        fmt_at(out, self.at)?;
        fmt_extension(out, self.extension)?;
        fmt_offset(out, &self.offset)
    }
}

impl VectorSelector {
    /// Name and braces. The matchers are sorted, and the one that only repeats the name is left out.
    fn fmt_series(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        let repeats_name = |matcher: &&crate::matcher::Matcher| {
            *matcher.name == *METRIC_NAME && matcher.op == MatchOp::Equal && matcher.value == self.name && !matcher.value.is_empty()
        };
        let mut matchers: Vec<String> = self.matchers.iter().filter(|matcher| !repeats_name(matcher)).map(ToString::to_string).collect();
        if matchers.is_empty() {
            // Braces without a name are all there is to print of a selector that chooses everything.
            return if self.name.is_empty() { out.write_str("{}") } else { Ok(()) };
        }
        matchers.sort_unstable();
        write!(out, "{{{}}}", matchers.join(","))
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.selector.fmt_series(out)?;
        write!(out, "[{}]", self.range)?;
        fmt_extension(out, self.selector.extension)?;
        fmt_at(out, self.selector.at)?;
        fmt_offset(out, &self.selector.offset)
    }
}

/// The brackets of a subquery and what follows them.
pub(crate) struct SubquerySuffix<'a>(pub(crate) &'a SubqueryExpr);

impl Display for SubquerySuffix<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let subquery = self.0;
        write!(out, "[{}:", subquery.range)?;
        if let Some(step) = &subquery.step {
            step.fmt(out)?;
        }
        out.write_str("]")?;
        fmt_at(out, subquery.at)?;
        fmt_offset(out, &subquery.offset)
    }
}

fn fmt_at(out: &mut Formatter<'_>, at: Option<AtModifier>) -> fmt::Result {
    match at {
        // Through a float, as Prometheus does; beyond 2^53 ms both lose the same digits.
        #[allow(clippy::cast_precision_loss)]
        Some(AtModifier::Timestamp(millis)) => write!(out, " @ {:.3}", millis as f64 / 1000.0),
        Some(AtModifier::Start) => out.write_str(" @ start()"),
        Some(AtModifier::End) => out.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn fmt_extension(out: &mut Formatter<'_>, extension: Extension) -> fmt::Result {
    out.write_str(match extension {
        Extension::None => "",
        Extension::Anchored => " anchored",
        Extension::Smoothed => " smoothed",
    })
}

fn fmt_offset(out: &mut Formatter<'_>, offset: &Span) -> fmt::Result {
    if offset.is_zero() { Ok(()) } else { write!(out, " offset {offset}") }
}

impl Display for Span {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millis(millis) => out.write_str(&format_duration_ms(*millis)),
            Self::Expr(expr) => expr.fmt(out),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.wrapped { write!(out, "({})", self.kind) } else { self.kind.fmt(out) }
    }
}

impl Display for DurationKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(number) => number.fmt(out),
            Self::Step => out.write_str("step()"),
            Self::Range => out.write_str("range()"),
            Self::MaxOf(left, right) => write!(out, "max_of({left}, {right})"),
            Self::MinOf(left, right) => write!(out, "min_of({left}, {right})"),
            Self::Plus(operand) => operand.fmt(out),
            Self::Minus(operand) => write!(out, "-{operand}"),
            Self::Binary(op, left, right) => write!(out, "{left} {op} {right}"),
        }
    }
}
