//! One bound for the bytes of all write requests together: many large ones at once must not take the node's memory.
//!
//! Whoever holds bytes of a request has a [`Reservation`] for them, which gives them back when it goes. Nobody waits: what does not
//! fit is refused, and the sender comes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub struct ByteBudget {
    bytes_max: usize,
    used: AtomicUsize,
}

/// More bytes are under way than allowed; later there will be room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} bytes of writes are under way (ingest.bytes_in_flight_max); try again")]
pub struct OverBudget(usize);

/// Bytes that are held. Never more than the budget has, but for the one request that is alone: a large one must not be refused
/// forever.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub fn new(bytes_max: usize) -> Arc<ByteBudget> {
        Arc::new(ByteBudget { bytes_max, used: AtomicUsize::new(0) })
    }

    /// None yet; see [`Reservation::grow`].
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: 0 }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    pub fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        let is_alone = before == self.bytes;
        if !is_alone && before.saturating_add(bytes) > self.budget.bytes_max {
            self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(OverBudget(self.budget.bytes_max));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = ByteBudget::new(100);
        let mut one = budget.reservation();
        let mut other = budget.reservation();
        one.grow(60).unwrap();
        other.grow(40).unwrap();
        assert_eq!(other.grow(1), Err(OverBudget(100)));
        assert_eq!(budget.used(), 100);
        drop(one);
        other.grow(60).unwrap();
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_request_that_is_alone_always_fits() {
        let budget = ByteBudget::new(100);
        let mut large = budget.reservation();
        large.grow(90).unwrap();
        large.grow(90).unwrap();
        assert!(budget.reservation().grow(1).is_err());
    }
}
