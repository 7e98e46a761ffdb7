//! What happened, line by line, with the simulated time; two runs of a seed must write the same bytes.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Clones write to the same trace.
#[derive(Clone)]
pub struct Trace {
    shared: Arc<Mutex<Lines>>,
}

struct Lines {
    begun: Instant,
    text: String,
    /// Also shown at once, for a run that does not come to its end.
    is_live: bool,
    /// The first thing that must not be.
    violation: Option<String>,
}

impl Trace {
    /// Begins now.
    pub fn begin() -> Self {
        let is_live = std::env::var_os("TERN_SIMULATION_LIVE").is_some();
        Self { shared: Arc::new(Mutex::new(Lines { begun: Instant::now(), text: String::new(), is_live, violation: None })) }
    }

    /// Writes a line.
    pub fn tell(&self, what: std::fmt::Arguments<'_>) {
        let mut lines = self.shared.lock();
        let at = lines.begun.elapsed();
        let line = format!("{:>7}.{:03} {what}", at.as_millis(), at.as_micros() % 1000);
        if lines.is_live {
            eprintln!("{line}");
        }
        lines.text.push_str(&line);
        lines.text.push('\n');
    }

    /// Something happened that must never happen; the run ends when this is seen.
    pub fn violated(&self, what: String) {
        self.tell(format_args!("VIOLATED {what}"));
        self.shared.lock().violation.get_or_insert(what);
    }

    pub fn violation(&self) -> Option<String> {
        self.shared.lock().violation.clone()
    }

    pub fn text(&self) -> String {
        self.shared.lock().text.clone()
    }
}

/// `tell!(trace, "node {id} crashes")`.
macro_rules! tell {
    ($trace:expr, $($what:tt)*) => { $trace.tell(format_args!($($what)*)) };
}
pub(crate) use tell;
