//! purged ≤ durable image ≤ applied, on the disk and in memory.

use super::{Invariant, Sight, marked};

#[derive(Default)]
pub struct OrderOfMarks;

impl Invariant for OrderOfMarks {
    fn name(&self) -> &'static str {
        "purged ≤ durable ≤ applied"
    }

    fn check(&mut self, sights: &[Sight]) -> Result<(), String> {
        for sight in sights {
            let purged = sight.log.purged(sight.group).ok().flatten().unwrap_or(0);
            let marked = marked(sight);
            let Some(applied) = sight.host.applied(sight.group) else { continue };
            // The marker of an image that is just being installed is on the disk a moment before it is applied.
            let durable = sight.host.durable(sight.group).unwrap_or(0);
            // A replica whose image is being fetched anew has none meanwhile, and says so.
            let is_purged_too_far = purged > marked && marked > 0;
            if is_purged_too_far || durable > applied || durable > marked {
                let Sight { node, group, .. } = sight;
                return Err(format!("node {node} group {group}: purged {purged}, marked {marked}, durable {durable}, applied {applied}"));
            }
        }
        Ok(())
    }
}
