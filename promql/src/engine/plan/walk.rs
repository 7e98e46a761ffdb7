//! Walking a plan: the numbers of its nodes, and which of them a part of the source can evaluate on its own.

use super::{Node, RangeSource};

impl Node {
    /// The nodes directly below, in the order in which they stand in the query.
    pub fn children(&self) -> Vec<&Node> {
        match self {
            Node::Number(_) | Node::String(_) | Node::Selector(_) | Node::SampleTime { .. } => Vec::new(),
            Node::Range(source) => source.expr().into_iter().collect(),
            Node::Negate(inner) | Node::StepInvariant(inner) => vec![inner],
            Node::ScalarBinary { left, right, .. } => vec![left, right],
            Node::VectorScalar(operation) => vec![&operation.vector, &operation.scalar],
            Node::VectorVector(operation) => vec![&operation.left, &operation.right],
            Node::Aggregate(aggregate) => {
                std::iter::once(&aggregate.child).chain(aggregate.parameter.as_ref().map(|parameter| &parameter.node)).collect()
            }
            Node::RangeCall(call) => call.source.expr().into_iter().chain(&call.scalars).collect(),
            Node::Call(call) => call.args.iter().map(|argument| &argument.node).collect(),
        }
    }

    /// The number of a node of this plan (the very one, not one like it): how many come before it, parents before children.
    pub fn number_of(&self, node: &Node) -> Option<u32> {
        let mut number = 0;
        self.find(&mut |candidate| {
            let found = std::ptr::eq(candidate, node);
            number += u32::from(!found);
            found
        })?;
        Some(number)
    }

    /// The node with a number.
    pub fn numbered(&self, number: u32) -> Option<&Node> {
        let mut left = number;
        self.find(&mut |_| {
            let found = left == 0;
            left = left.saturating_sub(1);
            found
        })
    }

    /// How many selections of series are in it.
    pub fn selections(&self) -> usize {
        let own = match self {
            Node::Selector(_) | Node::SampleTime { .. } => 1,
            Node::Range(source) => usize::from(source.expr().is_none()),
            Node::RangeCall(call) => usize::from(call.source.expr().is_none()),
            _ => 0,
        };
        own + self.children().into_iter().map(Node::selections).sum::<usize>()
    }

    fn find<'n>(&'n self, wanted: &mut impl FnMut(&Node) -> bool) -> Option<&'n Node> {
        if wanted(self) {
            return Some(self);
        }
        self.children().into_iter().find_map(|child| child.find(wanted))
    }
}

impl RangeSource {
    /// The expression of a subquery.
    fn expr(&self) -> Option<&Node> {
        match self {
            RangeSource::Selector { .. } => None,
            RangeSource::Subquery(subquery) => Some(&subquery.expr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Run, compile};
    use crate::{ParserOptions, parse};

    #[test]
    fn every_node_is_found_by_its_number() {
        let query = "sum by (a)(rate(x[5m] @ 7)) / on () topk(3, max_over_time(y[5m:1m])) > bool scalar(-z)";
        let expr = parse(query, ParserOptions::experimental()).expect("valid");
        let run = Run { start_ms: 0, end_ms: 60_000, step_ms: 1_000, subquery_step_ms: 1_000 };
        let plan = compile(&expr, run).expect("valid");
        let count = (0..).take_while(|number| plan.numbered(*number).is_some()).count() as u32;
        assert_eq!((count, plan.selections()), (12, 3));
        for number in 0..count {
            assert_eq!(plan.number_of(plan.numbered(number).expect("counted")), Some(number));
        }
        assert_eq!(plan.number_of(&plan.clone()), None, "a copy is another node");
    }
}
