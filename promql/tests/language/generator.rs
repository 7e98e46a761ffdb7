//! Random trees, each of which some query reads as.
//!
//! A tree is made from a row of random bytes, one a choice, so that proptest shrinks a failing tree by shrinking its
//! bytes: when they run out, the simplest choice is taken. Printing adds no parentheses, so the generator puts them
//! where the precedence of an operand asks for them.

use std::sync::Arc;

use promql::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Cardinality, DurationExpr, DurationKind, Expr, Extension, FillValues, Grouping,
    GroupingMode, MatchingMode, MatrixSelector, Notation, NumberLiteral, ParenExpr, Span, StringLiteral, SubqueryExpr, UnaryExpr,
    VectorMatching, VectorSelector,
};
use promql::function_signatures::Function;
use promql::matcher::{MatchOp, Matcher};
use promql::operator::{AggregateOp, BinaryOp, UnaryOp};
use promql::position::PositionRange;
use promql::value_type::ValueType;

const NOWHERE: PositionRange = PositionRange::new(0, 0);

/// Random choices.
pub struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    /// A number below `count`; zero when the bytes have run out.
    fn below(&mut self, count: usize) -> usize {
        usize::from(*self.bytes.next().unwrap_or(&0)) % count
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// A whole query of any type.
pub fn query(choices: &mut Choices<'_>) -> Expr {
    match choices.below(6) {
        0 | 1 => vector(choices, 4),
        2 => scalar(choices, 4),
        3 => range(choices, 3),
        4 => string(choices),
        _ => paren(vector(choices, 3)),
    }
}

fn vector(choices: &mut Choices<'_>, depth: usize) -> Expr {
    match choices.below(if depth == 0 { 2 } else { 8 }) {
        0 | 1 => Expr::Vector(selector(choices, true)),
        2 => aggregate(choices, depth - 1),
        3 | 4 => call(choices, depth - 1, ValueType::Vector),
        5 => unary(choices, ValueType::Vector, depth - 1),
        6 => paren(vector(choices, depth - 1)),
        _ => binary(choices, ValueType::Vector, depth - 1),
    }
}

fn scalar(choices: &mut Choices<'_>, depth: usize) -> Expr {
    match choices.below(if depth == 0 { 2 } else { 6 }) {
        0 | 1 => number(choices),
        2 => call(choices, depth - 1, ValueType::Scalar),
        3 => unary(choices, ValueType::Scalar, depth - 1),
        4 => paren(scalar(choices, depth - 1)),
        _ => binary(choices, ValueType::Scalar, depth - 1),
    }
}

fn range(choices: &mut Choices<'_>, depth: usize) -> Expr {
    if depth == 0 || choices.yes() {
        let (at, offset, extension) = (at(choices), offset(choices), extension(choices));
        let selector = VectorSelector { at, offset, extension, ..selector(choices, false) };
        return Expr::Matrix(MatrixSelector { selector, range: positive_span(choices), position: NOWHERE });
    }
    let inner = match vector(choices, depth - 1) {
        expr @ (Expr::Binary(_) | Expr::Unary(_)) => paren(expr),
        expr => expr,
    };
    Expr::Subquery(SubqueryExpr {
        expr: Box::new(inner),
        range: positive_span(choices),
        step: choices.yes().then(|| positive_span(choices)),
        at: at(choices),
        offset: offset(choices),
        position: NOWHERE,
    })
}

fn string(choices: &mut Choices<'_>) -> Expr {
    let value = choices.pick(&["", "a", "it's \"quoted\"", "tab\tline\nnul\0", r"back\slash", "日本\u{200b}\u{1f600}", "`raw`"]);
    if choices.below(16) == 15 {
        let invalid_utf8 = Some("\"a\\xc5z\"".into());
        return Expr::String(StringLiteral { value: "a\u{fffd}z".to_owned(), invalid_utf8, position: NOWHERE });
    }
    Expr::String(StringLiteral { value: value.to_owned(), invalid_utf8: None, position: NOWHERE })
}

fn number(choices: &mut Choices<'_>) -> Expr {
    let (value, notation) = match choices.below(4) {
        0 => (f64::from(u16::try_from(choices.below(10)).unwrap_or(0)), Notation::Number),
        1 => (choices.pick(&[0.1, -1.5, -0.0, 1e300, 5e-324, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1_234_567.891]), Notation::Number),
        2 => (choices.pick(&[300.0, 0.001, 86_400.0, 90.5, 31_536_000.0]), Notation::Duration),
        _ => (choices.pick(&[-300.0, -0.25]), Notation::Duration),
    };
    Expr::Number(NumberLiteral { value, notation, position: NOWHERE })
}

fn paren(expr: Expr) -> Expr {
    Expr::Paren(ParenExpr { expr: Box::new(expr), position: NOWHERE })
}

fn label(choices: &mut Choices<'_>) -> Arc<str> {
    choices.pick(&["a", "le", "by", "group_left", "with.dot", "ünïcode", "_x9", "offset"]).into()
}

fn labels(choices: &mut Choices<'_>) -> Vec<Arc<str>> {
    (0..choices.below(4)).map(|_| label(choices)).collect()
}

/// With modifiers or bare.
fn selector(choices: &mut Choices<'_>, modified: bool) -> VectorSelector {
    let name: Arc<str> = choices.pick(&["metric", "sum", "a:b", "", "unless", "fill", "step"]).into();
    let mut matchers: Vec<Matcher> = (0..choices.below(3)).map(|_| matcher(choices)).collect();
    if name.is_empty() {
        matchers.push(Matcher::equal("__name__", "needed"));
    }
    // Printing sorts them.
    matchers.sort_by_key(ToString::to_string);
    if !name.is_empty() {
        matchers.push(Matcher::equal("__name__", Arc::clone(&name)));
    }
    let mut selector = VectorSelector {
        name,
        matchers,
        at: None,
        offset: Span::ZERO,
        extension: Extension::None,
        may_match_everything: false,
        position: NOWHERE,
    };
    if modified {
        selector.at = at(choices);
        selector.offset = offset(choices);
        selector.extension = extension(choices);
    }
    selector
}

fn matcher(choices: &mut Choices<'_>) -> Matcher {
    let op = choices.pick(&[MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let value = choices.pick(&["", "value", "a|b.*", r"\d+\.\w", "quote\"", "日本"]);
    Matcher::new(op, label(choices), value).expect("valid patterns")
}

fn at(choices: &mut Choices<'_>) -> Option<AtModifier> {
    choices.pick(&[
        None,
        Some(AtModifier::Start),
        Some(AtModifier::End),
        Some(AtModifier::Timestamp(0)),
        Some(AtModifier::Timestamp(-1_500)),
        Some(AtModifier::Timestamp(1_609_746_000_123)),
    ])
}

fn extension(choices: &mut Choices<'_>) -> Extension {
    choices.pick(&[Extension::None, Extension::None, Extension::Anchored, Extension::Smoothed])
}

/// Only forms that end by themselves: a parenthesis would draw a following operator into the offset.
fn offset(choices: &mut Choices<'_>) -> Span {
    match choices.below(6) {
        0 | 1 => Span::ZERO,
        2 => Span::Millis(choices.pick(&[1, 300_000, 5_400_000, 604_800_000])),
        3 => Span::Millis(choices.pick(&[-1, -90_000])),
        4 => Span::Expr(Box::new(duration_call(choices, 2))),
        _ => {
            let operand = if choices.yes() { duration_call(choices, 2) } else { wrapped_duration(choices, 2) };
            Span::Expr(Box::new(duration(DurationKind::Minus(Box::new(operand)))))
        }
    }
}

fn positive_span(choices: &mut Choices<'_>) -> Span {
    match choices.below(4) {
        0 | 1 => Span::Millis(choices.pick(&[300_000, 1, 1_500, 86_400_000, 31_536_000_000])),
        2 => Span::Expr(Box::new(duration_operation(choices, 2))),
        _ => Span::Expr(Box::new(wrapped_duration(choices, 2))),
    }
}

fn duration(kind: DurationKind) -> DurationExpr {
    DurationExpr { kind, wrapped: false, position: NOWHERE }
}

fn duration_literal(choices: &mut Choices<'_>) -> DurationExpr {
    let (value, notation) =
        choices.pick(&[(60.0, Notation::Duration), (5.0, Notation::Number), (0.25, Notation::Number), (1.5, Notation::Duration)]);
    duration(DurationKind::Literal(NumberLiteral { value, notation, position: NOWHERE }))
}

fn duration_call(choices: &mut Choices<'_>, depth: usize) -> DurationExpr {
    let operand = |choices: &mut Choices<'_>| Box::new(duration_operand(choices, depth.saturating_sub(1)));
    duration(match choices.below(if depth == 0 { 2 } else { 4 }) {
        0 => DurationKind::Step,
        1 => DurationKind::Range,
        2 => DurationKind::MaxOf(operand(choices), operand(choices)),
        _ => DurationKind::MinOf(operand(choices), operand(choices)),
    })
}

fn duration_operand(choices: &mut Choices<'_>, depth: usize) -> DurationExpr {
    match choices.below(if depth == 0 { 2 } else { 4 }) {
        0 => duration_literal(choices),
        1 => duration_call(choices, depth),
        _ => wrapped_duration(choices, depth - 1),
    }
}

fn duration_operation(choices: &mut Choices<'_>, depth: usize) -> DurationExpr {
    let op = choices.pick(&[BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Mod, BinaryOp::Pow]);
    let (left, right) = (duration_operand(choices, depth), duration_operand(choices, depth));
    duration(DurationKind::Binary(op, Box::new(left), Box::new(right)))
}

fn wrapped_duration(choices: &mut Choices<'_>, depth: usize) -> DurationExpr {
    let kind = match choices.below(if depth == 0 { 2 } else { 4 }) {
        0 => DurationKind::Plus(Box::new(duration_literal(choices))),
        1 => duration_call(choices, depth).kind,
        2 => DurationKind::Minus(Box::new(wrapped_duration(choices, depth - 1))),
        _ => duration_operation(choices, depth - 1).kind,
    };
    DurationExpr { kind, wrapped: true, position: NOWHERE }
}

fn aggregate(choices: &mut Choices<'_>, depth: usize) -> Expr {
    let op = choices.pick(&[AggregateOp::Sum, AggregateOp::TopK, AggregateOp::CountValues, AggregateOp::Stddev, AggregateOp::LimitRatio]);
    let param = match op {
        AggregateOp::CountValues => Some(string(choices)),
        _ if op.has_parameter() => Some(scalar(choices, depth)),
        _ => None,
    };
    let mode = if choices.yes() { GroupingMode::Without } else { GroupingMode::By };
    Expr::Aggregate(AggregateExpr {
        op,
        expr: Box::new(vector(choices, depth)),
        param: param.map(Box::new),
        grouping: Grouping { mode, labels: labels(choices) },
        position: NOWHERE,
    })
}

/// A call of some function that gives `wanted`, with as many arguments as it may have.
fn call(choices: &mut Choices<'_>, depth: usize, wanted: ValueType) -> Expr {
    let fits = |function: &Function| function.signature().return_type == wanted && *function != Function::Info;
    let functions: Vec<Function> = Function::all().filter(fits).collect();
    let signature = choices.pick(&functions).signature();
    let (least, most) = (signature.arguments_min(), signature.arguments_max().unwrap_or(signature.arguments_min() + 3));
    let count = least + choices.below(most - least + 1);
    let argument = |choices: &mut Choices<'_>, index: usize| match signature.argument_type(index) {
        Some(ValueType::Vector) => vector(choices, depth),
        Some(ValueType::Matrix) => range(choices, depth),
        Some(ValueType::String) => string(choices),
        _ => scalar(choices, depth),
    };
    let args = (0..count).map(|index| argument(choices, index)).collect();
    Expr::Call(Call { function: signature.function, args, position: NOWHERE })
}

fn unary(choices: &mut Choices<'_>, wanted: ValueType, depth: usize) -> Expr {
    let op = choices.pick(&[UnaryOp::Minus, UnaryOp::Plus]);
    let operand = if wanted == ValueType::Vector { vector(choices, depth) } else { scalar(choices, depth) };
    let expr = match operand {
        // A sign would become part of the number.
        number @ Expr::Number(_) => paren(number),
        other => fit(other, BinaryOp::Mul.precedence() + 1, Signs::Free),
    };
    Expr::Unary(UnaryExpr { op, expr: Box::new(expr), position: NOWHERE })
}

/// Whether an operand may begin with a sign as it is.
#[derive(PartialEq, Eq)]
enum Signs {
    Free,
    /// Left of a power, which would come under the sign.
    InParentheses,
}

/// `expr`, in parentheses unless its operators bind at least as tightly as `precedence_min`.
fn fit(expr: Expr, precedence_min: u8, signs: Signs) -> Expr {
    let loose = match &expr {
        Expr::Binary(binary) => binary.op.precedence() < precedence_min,
        Expr::Unary(_) => signs == Signs::InParentheses,
        // Infinity prints with its sign, too.
        Expr::Number(number) => signs == Signs::InParentheses && (number.value.is_sign_negative() || number.value.is_infinite()),
        _ => false,
    };
    if loose { paren(expr) } else { expr }
}

fn binary(choices: &mut Choices<'_>, wanted: ValueType, depth: usize) -> Expr {
    let scalars = wanted == ValueType::Scalar;
    let (left, right) = match choices.below(4) {
        _ if scalars => (scalar(choices, depth), scalar(choices, depth)),
        0 => (vector(choices, depth), scalar(choices, depth)),
        1 => (scalar(choices, depth), vector(choices, depth)),
        _ => (vector(choices, depth), vector(choices, depth)),
    };
    let vectors = left.value_type() == ValueType::Vector && right.value_type() == ValueType::Vector;
    let arithmetic = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Pow, BinaryOp::Atan2, BinaryOp::Mod, BinaryOp::TrimUpper];
    let comparison = [BinaryOp::Equal, BinaryOp::NotEqual, BinaryOp::Less, BinaryOp::GreaterOrEqual];
    let op = match choices.below(3) {
        1 => choices.pick(&comparison),
        2 if vectors => choices.pick(&[BinaryOp::And, BinaryOp::Or, BinaryOp::Unless]),
        _ => choices.pick(&arithmetic),
    };
    let own = op.precedence();
    let (left_min, right_min) = if op.is_right_associative() { (own + 1, own) } else { (own, own + 1) };
    let left_signs = if op == BinaryOp::Pow { Signs::InParentheses } else { Signs::Free };
    Expr::Binary(BinaryExpr {
        op,
        left: Box::new(fit(left, left_min, left_signs)),
        right: Box::new(fit(right, right_min, Signs::Free)),
        matching: vectors.then(|| matching(choices, op)),
        return_bool: op.is_comparison() && (scalars || choices.yes()),
        position: NOWHERE,
    })
}

fn matching(choices: &mut Choices<'_>, op: BinaryOp) -> VectorMatching {
    let mode = if choices.yes() { MatchingMode::On } else { MatchingMode::Ignoring };
    let labels = labels(choices);
    if op.is_set() {
        return VectorMatching { cardinality: Cardinality::ManyToMany, mode, labels, ..VectorMatching::default() };
    }
    let cardinality = choices.pick(&[Cardinality::OneToOne, Cardinality::ManyToOne, Cardinality::OneToMany]);
    let include = match cardinality {
        Cardinality::OneToOne => Vec::new(),
        // Other names than those of `on`.
        _ => (0..choices.below(3)).map(|index| format!("included_{index}").into()).collect(),
    };
    let value = |choices: &mut Choices<'_>| choices.pick(&[None, Some(0.0), Some(-2.5), Some(1e9), Some(f64::INFINITY)]);
    let fill = FillValues { left: value(choices), right: value(choices) };
    VectorMatching { cardinality, mode, labels, include, fill }
}

/// `expr` as if it came from nowhere, so that trees of different texts can be compared.
pub fn without_positions(mut expr: Expr) -> Expr {
    expr.walk_mut(&mut |node| match node {
        Expr::Number(number) => number.position = NOWHERE,
        Expr::String(string) => string.position = NOWHERE,
        Expr::Unary(unary) => unary.position = NOWHERE,
        Expr::Binary(binary) => binary.position = NOWHERE,
        Expr::Aggregate(aggregate) => aggregate.position = NOWHERE,
        Expr::Call(call) => call.position = NOWHERE,
        Expr::Paren(paren) => paren.position = NOWHERE,
        Expr::Vector(selector) => forget_selector(selector),
        Expr::Matrix(matrix) => {
            matrix.position = NOWHERE;
            forget_selector(&mut matrix.selector);
            forget_span(&mut matrix.range);
        }
        Expr::Subquery(subquery) => {
            subquery.position = NOWHERE;
            forget_span(&mut subquery.range);
            forget_span(&mut subquery.offset);
            subquery.step.iter_mut().for_each(forget_span);
        }
    });
    expr
}

fn forget_selector(selector: &mut VectorSelector) {
    selector.position = NOWHERE;
    forget_span(&mut selector.offset);
}

fn forget_span(span: &mut Span) {
    if let Span::Expr(expr) = span {
        forget_duration(expr);
    }
}

fn forget_duration(expr: &mut DurationExpr) {
    expr.position = NOWHERE;
    match &mut expr.kind {
        DurationKind::Literal(number) => number.position = NOWHERE,
        DurationKind::Step | DurationKind::Range => {}
        DurationKind::Plus(operand) | DurationKind::Minus(operand) => forget_duration(operand),
        DurationKind::MaxOf(left, right) | DurationKind::MinOf(left, right) | DurationKind::Binary(_, left, right) => {
            forget_duration(left);
            forget_duration(right);
        }
    }
}
