//! Who no longer hears whom: partitions as lists of (receiver, sender).
//!
//! Pure, so that each shape can be looked at for what it is said to be.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A connection that is cut in one direction: `receiver` gets nothing that `sender` sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    pub receiver: u64,
    pub sender: u64,
}

/// The shapes of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The node of interest (a leader) is on the larger side, a minority is cut off.
    Majority,
    /// The node of interest is alone.
    Isolated,
    /// Everyone sees a majority, and no two see the same one: each hears only its neighbours on a ring. (With three nodes a ring cuts
    /// nothing, so one link is cut.)
    Ring,
    /// Two halves that both reach one node between them, and not each other.
    Bridge,
    /// The node of interest hears nobody, and is heard.
    OneWayIn,
    /// The node of interest is not heard, and hears everybody.
    OneWayOut,
}

impl Shape {
    /// The cuts of this shape among `nodes`, around one of them.
    pub fn cuts(self, nodes: &[u64], center: u64) -> BTreeSet<Cut> {
        let others: Vec<u64> = nodes.iter().copied().filter(|&node| node != center).collect();
        match self {
            // The minority is the second half of the others; for an even number of nodes neither side has a majority.
            Shape::Majority => {
                between(&others[others.len() - (nodes.len() - 1) / 2..], &rest(nodes, &others[others.len() - (nodes.len() - 1) / 2..]))
            }
            Shape::Isolated => between(&[center], &others),
            Shape::Ring => ring(nodes),
            Shape::Bridge => {
                let (one, other) = others.split_at(others.len() / 2);
                between(one, other)
            }
            Shape::OneWayIn => others.iter().map(|&sender| Cut { receiver: center, sender }).collect(),
            Shape::OneWayOut => others.iter().map(|&receiver| Cut { receiver, sender: center }).collect(),
        }
    }
}

fn rest(nodes: &[u64], without: &[u64]) -> Vec<u64> {
    nodes.iter().copied().filter(|node| !without.contains(node)).collect()
}

/// No packet in either direction between two sides.
fn between(one: &[u64], other: &[u64]) -> BTreeSet<Cut> {
    let pairs = one.iter().flat_map(|&left| other.iter().map(move |&right| (left, right)));
    pairs.flat_map(|(left, right)| [Cut { receiver: left, sender: right }, Cut { receiver: right, sender: left }]).collect()
}

fn ring(nodes: &[u64]) -> BTreeSet<Cut> {
    let count = nodes.len();
    if count == 3 {
        return between(&nodes[..1], &nodes[1..2]);
    }
    let apart = |one: usize, other: usize| (one + count - other) % count > 1 && (other + count - one) % count > 1;
    let pairs = (0..count).flat_map(|one| (0..count).map(move |other| (one, other))).filter(|&(one, other)| apart(one, other));
    pairs.map(|(one, other)| Cut { receiver: nodes[one], sender: nodes[other] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those whom `node` both hears and is heard by, itself included.
    fn talks_to(nodes: &[u64], cuts: &BTreeSet<Cut>, node: u64) -> BTreeSet<u64> {
        let open = |receiver, sender| !cuts.contains(&Cut { receiver, sender });
        nodes.iter().copied().filter(|&other| other == node || (open(node, other) && open(other, node))).collect()
    }

    #[test]
    fn a_majority_keeps_the_center_and_cuts_off_a_minority_in_both_directions() {
        for (nodes, cut_off) in [(vec![1, 2, 3], 1), (vec![1, 2, 3, 4, 5], 2)] {
            let cuts = Shape::Majority.cuts(&nodes, 2);
            assert_eq!(talks_to(&nodes, &cuts, 2).len(), nodes.len() - cut_off);
            assert_eq!(cuts.len(), 2 * cut_off * (nodes.len() - cut_off));
        }
    }

    #[test]
    fn an_isolated_node_is_alone_and_the_others_are_whole() {
        let nodes = [1, 2, 3, 4, 5];
        let cuts = Shape::Isolated.cuts(&nodes, 4);
        assert_eq!(talks_to(&nodes, &cuts, 4), BTreeSet::from([4]));
        assert_eq!(talks_to(&nodes, &cuts, 1), BTreeSet::from([1, 2, 3, 5]));
    }

    #[test]
    fn on_a_ring_everyone_sees_a_majority_and_no_two_the_same() {
        let nodes = [1, 2, 3, 4, 5];
        let cuts = Shape::Ring.cuts(&nodes, 1);
        let views: BTreeSet<_> = nodes.iter().map(|&node| talks_to(&nodes, &cuts, node)).collect();
        assert!(views.len() == 5 && views.iter().all(|view| view.len() == 3), "{views:?}");
        assert_eq!(Shape::Ring.cuts(&[1, 2, 3], 1).len(), 2);
    }

    #[test]
    fn a_bridge_sees_all_and_the_halves_do_not_see_each_other() {
        let nodes = [1, 2, 3, 4, 5];
        let cuts = Shape::Bridge.cuts(&nodes, 3);
        assert_eq!(talks_to(&nodes, &cuts, 3).len(), 5);
        assert_eq!(talks_to(&nodes, &cuts, 1), BTreeSet::from([1, 2, 3]));
        assert_eq!(talks_to(&nodes, &cuts, 5), BTreeSet::from([3, 4, 5]));
    }

    #[test]
    fn one_way_cuts_are_one_way() {
        assert!(Shape::OneWayIn.cuts(&[1, 2, 3], 2).iter().all(|cut| cut.receiver == 2));
        assert!(Shape::OneWayOut.cuts(&[1, 2, 3], 2).iter().all(|cut| cut.sender == 2));
    }
}
