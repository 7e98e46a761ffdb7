//! Whether a history of one object can be put into an order that explains every answer: the algorithm of Wing and Gong with Lowe's memory of
//! configurations seen (G. Lowe, "Testing for linearizability", 2017).
//!
//! Calls whose outcome is unknown may have taken effect at any time after they began, or never. The work grows with the number of calls that
//! overlap, so callers keep histories short; beyond a bound of steps the answer is "not known".

use std::collections::HashSet;
use std::hash::Hash;

/// Steps after which the search gives up.
const STEPS_MAX: u64 = 20_000_000;

/// A kind of object.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Call;

    fn initial(&self) -> Self::State;

    /// The state after the call, if the call can have had its answer in this state.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// A call and when it was under way. Without an end its outcome is unknown.
#[derive(Clone, Debug)]
pub struct Timed<Call> {
    pub begin: u64,
    pub end: Option<u64>,
    pub call: Call,
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Linearizable,
    /// No order explains the answers.
    Violation,
    GaveUp,
}

/// A list of beginnings and ends in the order of time, from which calls are lifted and put back in constant time.
struct Timeline {
    /// Call of each entry, and whether it is its end.
    entries: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Entries of each call: its beginning, and its end if it has one.
    places: Vec<(usize, Option<usize>)>,
    /// Ends that are not lifted: calls that still must be explained.
    due: usize,
}

impl Timeline {
    /// Entry 0 is the head.
    fn new<Call>(calls: &[Timed<Call>]) -> Timeline {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            moments.push((call.begin, false, number));
            moments.extend(call.end.map(|end| (end, true, number)));
        }
        // At the same moment beginnings come first: the calls overlap.
        moments.sort_unstable();
        let mut places = vec![(0, None); calls.len()];
        let mut entries = vec![(usize::MAX, false)];
        for (_, is_end, number) in moments {
            match is_end {
                false => places[number].0 = entries.len(),
                true => places[number].1 = Some(entries.len()),
            }
            entries.push((number, is_end));
        }
        let count = entries.len();
        let due = calls.iter().filter(|call| call.end.is_some()).count();
        Timeline { entries, next: (1..=count).collect(), previous: (0..=count).map(|at| at.wrapping_sub(1)).collect(), places, due }
    }

    fn lift(&mut self, number: usize) {
        let (begin, end) = self.places[number];
        for at in [Some(begin), end].into_iter().flatten() {
            let (before, after) = (self.previous[at], self.next[at]);
            self.next[before] = after;
            self.previous[after] = before;
        }
        self.due -= usize::from(end.is_some());
    }

    fn put_back(&mut self, number: usize) {
        let (begin, end) = self.places[number];
        for at in [end, Some(begin)].into_iter().flatten() {
            let (before, after) = (self.previous[at], self.next[at]);
            self.next[before] = at;
            self.previous[after] = at;
        }
        self.due += usize::from(end.is_some());
    }
}

/// Searches for an order.
pub fn search<M: Model>(model: &M, calls: &[Timed<M::Call>]) -> Found {
    let mut timeline = Timeline::new(calls);
    let mut taken = vec![0_u64; calls.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, M::State)> = HashSet::new();
    let mut path: Vec<(usize, M::State)> = Vec::new();
    let mut state = model.initial();
    let mut at = timeline.next[0];
    let mut steps = 0;
    while timeline.due > 0 {
        steps += 1;
        if steps > STEPS_MAX {
            return Found::GaveUp;
        }
        let entry = timeline.entries.get(at).copied();
        if let Some((number, false)) = entry {
            let after = model.step(&state, &calls[number].call);
            let after = after.filter(|after| seen.insert((with(&taken, number), after.clone())));
            match after {
                Some(after) => {
                    taken = with(&taken, number);
                    timeline.lift(number);
                    path.push((number, std::mem::replace(&mut state, after)));
                    at = timeline.next[0];
                }
                None => at = timeline.next[at],
            }
            continue;
        }
        // An end that must be explained first, or the end of the list: the last choice was wrong.
        let Some((number, before)) = path.pop() else { return Found::Violation };
        state = before;
        taken[number / 64] &= !(1 << (number % 64));
        timeline.put_back(number);
        at = timeline.next[timeline.places[number].0];
    }
    Found::Linearizable
}

fn with(taken: &[u64], number: usize) -> Vec<u64> {
    let mut taken = taken.to_vec();
    taken[number / 64] |= 1 << (number % 64);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A number that can be read and written.
    struct Cell;

    #[derive(Clone, Debug)]
    enum CellCall {
        Read(u8),
        Write(u8),
    }

    impl Model for Cell {
        type State = u8;
        type Call = CellCall;

        fn initial(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, call: &CellCall) -> Option<u8> {
            match call {
                CellCall::Read(found) => (found == state).then_some(*state),
                CellCall::Write(value) => Some(*value),
            }
        }
    }

    fn call(begin: u64, end: u64, call: CellCall) -> Timed<CellCall> {
        Timed { begin, end: (end > 0).then_some(end), call }
    }

    #[test]
    fn a_stale_read_is_a_violation_and_an_overlapping_one_is_not() {
        let write = call(0, 10, CellCall::Write(1));
        assert_eq!(search(&Cell, &[write.clone(), call(11, 20, CellCall::Read(0))]), Found::Violation);
        assert_eq!(search(&Cell, &[write.clone(), call(5, 20, CellCall::Read(0))]), Found::Linearizable);
        assert_eq!(search(&Cell, &[write, call(11, 20, CellCall::Read(1))]), Found::Linearizable);
    }

    #[test]
    fn two_reads_must_agree_on_the_order_of_two_writes() {
        let writes = [call(0, 100, CellCall::Write(1)), call(0, 100, CellCall::Write(2))];
        let reads = |first, second| [call(10, 20, CellCall::Read(first)), call(30, 40, CellCall::Read(second))];
        assert_eq!(search(&Cell, &[&writes[..], &reads(1, 2)].concat()), Found::Linearizable);
        let thrice = [call(10, 20, CellCall::Read(1)), call(30, 40, CellCall::Read(2)), call(50, 60, CellCall::Read(1))];
        assert_eq!(search(&Cell, &[&writes[..], &thrice].concat()), Found::Violation);
    }

    #[test]
    fn an_unknown_write_may_come_late_or_never_but_not_go_again() {
        let unknown = call(0, 0, CellCall::Write(1));
        assert_eq!(search(&Cell, &[unknown.clone(), call(5, 6, CellCall::Read(0))]), Found::Linearizable);
        assert_eq!(search(&Cell, &[unknown.clone(), call(5, 6, CellCall::Read(0)), call(7, 8, CellCall::Read(1))]), Found::Linearizable);
        assert_eq!(search(&Cell, &[unknown, call(5, 6, CellCall::Read(1)), call(7, 8, CellCall::Read(0))]), Found::Violation);
    }

    /// All orders, tried one after the other.
    fn brute_force(calls: &[Timed<CellCall>], done: u32, state: u8) -> bool {
        let open = |number: usize| done & (1 << number) == 0;
        if (0..calls.len()).all(|number| !open(number) || calls[number].end.is_none()) {
            return true;
        }
        let may_be_next = |number: usize| {
            (0..calls.len()).all(|other| other == number || !open(other) || calls[other].end.is_none_or(|end| end >= calls[number].begin))
        };
        (0..calls.len())
            .filter(|&number| open(number) && may_be_next(number))
            .any(|number| Cell.step(&state, &calls[number].call).is_some_and(|state| brute_force(calls, done | 1 << number, state)))
    }

    proptest! {
        #[test]
        fn it_agrees_with_trying_all_orders(
            raw in prop::collection::vec((0_u64..30, 1_u64..12, 0_u8..3, any::<bool>(), 0_u8..8), 1..9)
        ) {
            let calls: Vec<Timed<CellCall>> = raw.into_iter().map(|(begin, length, value, is_read, luck)| {
                let is_unknown = !is_read && luck == 0;
                let content = if is_read { CellCall::Read(value) } else { CellCall::Write(value) };
                Timed { begin, end: (!is_unknown).then_some(begin + length), call: content }
            }).collect();
            let expected = if brute_force(&calls, 0, 0) { Found::Linearizable } else { Found::Violation };
            prop_assert_eq!(search(&Cell, &calls), expected);
        }
    }
}
