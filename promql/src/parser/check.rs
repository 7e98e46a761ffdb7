//! Types: what a tree of correct syntax may still not say.

use super::error::ParseError;
use crate::ast::{AggregateExpr, BinaryExpr, Call, Cardinality, Expr, MatchingMode, UnaryExpr, VectorSelector};
use crate::function_signatures::Function;
use crate::labels::METRIC_NAME;
use crate::operator::AggregateOp;
use crate::position::PositionRange;
use crate::quote::quote;
use crate::value_type::ValueType;

/// All mistakes of type in `expr`, in the order in which Prometheus finds them.
///
/// Also settles what depends on types: set operators become many-to-many, operators that are not between two vectors
/// lose their matching, and the second argument of `info` may select everything.
pub(super) fn check(expr: &mut Expr, query: &str) -> Vec<ParseError> {
    let mut checker = Checker { query, errors: Vec::new() };
    checker.expr(expr);
    checker.errors
}

struct Checker<'a> {
    query: &'a str,
    errors: Vec<ParseError>,
}

impl Checker<'_> {
    fn refuse(&mut self, position: PositionRange, message: impl Into<String>) {
        self.errors.push(ParseError::new(position, message));
    }

    /// Checks `expr` and everything below; gives its type.
    fn expr(&mut self, expr: &mut Expr) -> ValueType {
        let value_type = expr.value_type();
        let position = expr.position();
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Paren(paren) => {
                self.expr(&mut paren.expr);
            }
            Expr::Unary(unary) => self.unary(unary),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.call(call),
            Expr::Vector(selector) => self.selector(selector),
            Expr::Matrix(matrix) => self.selector(&matrix.selector),
            Expr::Subquery(subquery) => {
                let inner = self.expr(&mut subquery.expr);
                if inner != ValueType::Vector {
                    self.refuse(position, format!("subquery is only allowed on instant vector, got {inner} instead"));
                }
            }
        }
        value_type
    }

    fn expect(&mut self, expr: &mut Expr, wanted: ValueType, context: &str) {
        let got = self.expr(expr);
        if got != wanted {
            let (wanted, got) = (wanted.documented(), got.documented());
            self.refuse(expr.position(), format!("expected type {wanted} in {context}, got {got}"));
        }
    }

    fn unary(&mut self, unary: &mut UnaryExpr) {
        let got = self.expr(&mut unary.expr);
        if !matches!(got, ValueType::Scalar | ValueType::Vector) {
            let got = quote(got.documented());
            let message = format!("unary expression only allowed on expressions of type scalar or instant vector, got {got}");
            self.refuse(unary.position, message);
        }
    }

    fn aggregate(&mut self, aggregate: &mut AggregateExpr) {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression");
        let wanted = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        if let Some(param) = &mut aggregate.param {
            self.expect(param, wanted, "aggregation parameter");
        }
    }

    fn binary(&mut self, binary: &mut BinaryExpr) {
        let left = self.expr(&mut binary.left);
        let right = self.expr(&mut binary.right);
        self.comparison(binary, left, right);
        if let Some(matching) =
            binary.matching.as_mut().filter(|matching| binary.op.is_set() && matching.cardinality == Cardinality::OneToOne)
        {
            matching.cardinality = Cardinality::ManyToMany;
        }
        self.shared_labels(binary);
        for (value_type, position) in [(left, binary.left.position()), (right, binary.right.position())] {
            if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
                self.refuse(position, "binary expression must contain only scalar and instant vector types");
            }
        }
        if left == ValueType::Vector && right == ValueType::Vector {
            self.set_matching(binary);
        } else {
            self.drop_matching(binary);
        }
        if binary.op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
            let op = quote(binary.op.as_str());
            self.refuse(binary.position, format!("set operator {op} not allowed in binary scalar expression"));
        }
    }

    fn comparison(&mut self, binary: &BinaryExpr, left: ValueType, right: ValueType) {
        if binary.return_bool && !binary.op.is_comparison() {
            self.refuse(self.operator_position(binary), "bool modifier can only be used on comparison operators");
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if binary.op.is_comparison() && !binary.return_bool && scalars {
            self.refuse(self.operator_position(binary), "comparisons between scalars must use BOOL modifier");
        }
    }

    fn shared_labels(&mut self, binary: &BinaryExpr) {
        let Some(matching) = binary.matching.as_ref().filter(|matching| matching.mode == MatchingMode::On) else {
            return;
        };
        for label in &matching.labels {
            for _ in matching.include.iter().filter(|include| *include == label) {
                let label = quote(label);
                let message = format!("label {label} must not occur in ON and GROUP clause at once");
                self.refuse(self.operator_position(binary), message);
            }
        }
    }

    /// Between two vectors.
    fn set_matching(&mut self, binary: &BinaryExpr) {
        let Some(matching) = binary.matching.as_ref().filter(|_| binary.op.is_set()) else {
            return;
        };
        if matching.cardinality != Cardinality::ManyToMany {
            let op = quote(binary.op.as_str());
            self.refuse(binary.position, format!("no grouping allowed for {op} operation"));
            self.refuse(binary.position, "set operations must always be many-to-many");
        }
        if !matching.fill.is_empty() {
            self.refuse(binary.position, "filling in missing series not allowed for set operators");
        }
    }

    /// Where at least one side is no vector.
    fn drop_matching(&mut self, binary: &mut BinaryExpr) {
        let Some(matching) = binary.matching.take() else {
            return;
        };
        if !matching.labels.is_empty() {
            self.refuse(binary.position, "vector matching only allowed between instant vectors");
        }
        if !matching.fill.is_empty() {
            self.refuse(binary.position, "filling in missing series only allowed between instant vectors");
        }
    }

    /// From the first byte behind the left side that is no space; only the start matters for messages.
    fn operator_position(&self, binary: &BinaryExpr) -> PositionRange {
        let (left, right) = (binary.left.position().end, binary.right.position().start);
        let between = self.query.get(left..right).unwrap_or("");
        let (behind, before) = (between.trim_start().len(), between.trim_end().len());
        PositionRange::new(left + between.len() - behind, left + before)
    }

    fn call(&mut self, call: &mut Call) {
        self.argument_count(call);
        if call.function == Function::Info {
            self.info_selector(call);
        }
        let signature = call.function.signature();
        for (index, argument) in call.args.iter_mut().enumerate() {
            let Some(wanted) = signature.argument_type(index) else {
                break;
            };
            let got = self.expr(argument);
            if got != wanted {
                let (name, wanted, got) = (quote(signature.name), wanted.documented(), got.documented());
                let message = format!("expected type {wanted} in call to function {name}, got {got}");
                self.refuse(argument.position(), message);
            }
        }
    }

    fn argument_count(&mut self, call: &Call) {
        let signature = call.function.signature();
        let (least, most, got) = (signature.arguments_min(), signature.arguments_max(), call.args.len());
        let wanted = if signature.variadic == 0 && got != least {
            least.to_string()
        } else if got < least {
            format!("at least {least}")
        } else if let Some(most) = most.filter(|most| got > *most) {
            format!("at most {most}")
        } else {
            return;
        };
        let name = quote(signature.name);
        self.refuse(call.position, format!("expected {wanted} argument(s) in call to {name}, got {got}"));
    }

    /// The second argument of `info` only chooses labels.
    fn info_selector(&mut self, call: &mut Call) {
        let Some(argument) = call.args.get_mut(1) else {
            return;
        };
        let (got, position) = (argument.value_type(), argument.position());
        if got != ValueType::Vector {
            let (wanted, got) = (ValueType::Vector.documented(), got.documented());
            let message = format!("expected type {wanted} in call to function \"info\", got {got}");
            self.refuse(call.position, message);
        }
        match argument {
            Expr::Vector(selector) if selector.name.is_empty() => selector.may_match_everything = true,
            Expr::Vector(_) => {
                self.refuse(position, "expected label selectors only, got vector selector instead");
            }
            _ => self.refuse(position, "expected label selectors only"),
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        if selector.name.is_empty() {
            let selective = selector.matchers.iter().any(|matcher| !matcher.matches(""));
            if !selective && !selector.may_match_everything {
                self.refuse(selector.position, "vector selector must contain at least one non-empty matcher");
            }
            return;
        }
        let written = selector.matchers.split_last().map_or(&[][..], |(_, written)| written);
        for matcher in written.iter().filter(|matcher| &*matcher.name == METRIC_NAME) {
            let (name, value) = (quote(&selector.name), quote(&matcher.value));
            let message = format!("metric name must not be set twice: {name} or {value}");
            self.refuse(selector.position, message);
        }
    }
}
