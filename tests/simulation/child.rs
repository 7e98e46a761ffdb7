//! A process for a seed: this test program again, told to run only that.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::randomness::seed_this_thread;
use crate::run::{Outcome, run};

/// Tells a child which seed to run.
const SEED: &str = "TERN_SIMULATION_CHILD";
/// Lines of the trace that are shown of a seed that failed.
const LINES_SHOWN: usize = 60;
/// Simulated nodes are deep futures in debug builds.
const STACK_BYTES: usize = 64 << 20;

/// Answers the trace of a seed; an error says what was wrong and how it came to that.
pub fn run_in_child(seed: u64) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let child = Command::new(program)
        .args(["--exact", "child::one_seed", "--nocapture", "--test-threads", "1"])
        .env(SEED, seed.to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let trace = String::from_utf8_lossy(&child.stdout).into_owned();
    match child.status.success() {
        true => Ok(trace),
        false => {
            let lines: Vec<&str> = trace.lines().collect();
            let end = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
            let errors = String::from_utf8_lossy(&child.stderr);
            Err(format!("SEED={seed} failed; `make sim SEED={seed}` repeats it.\n{errors}\n… {end}"))
        }
    }
}

/// What panicked first, on any thread of this process.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// The child's side; without a seed in the environment there is nothing to do.
#[test]
fn one_seed() {
    let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse::<u64>().ok()) else { return };
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("TERN_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    }
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut first) = PANIC.lock() {
            first.get_or_insert_with(|| panic.to_string());
        }
        shown(panic);
    }));
    // A thread of its own, on which nobody has asked for randomness before it is seeded.
    let running = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        seed_this_thread(seed);
        run(seed)
    });
    let Outcome { trace, violation } = running.expect("a thread").join().expect("the run ends");
    print!("{trace}");
    if let Some(violation) = violation {
        eprintln!("VIOLATED {violation}");
        std::process::exit(1);
    }
    if let Some(panic) = PANIC.lock().ok().and_then(|first| first.clone()) {
        eprintln!("PANICKED {panic}");
        std::process::exit(1);
    }
    // Before the test program can say how long it took: the trace is all that is compared.
    std::process::exit(0);
}

/// `make sim`: the seeds that the environment asks for, on all processors.
#[test]
#[ignore = "make sim"]
fn as_asked() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        match run_in_child(seed) {
            Ok(trace) => print!("{trace}"),
            Err(reason) => panic!("{reason}"),
        }
        return;
    }
    let (first, count) = (number("FIRST").unwrap_or(0), number("SEEDS").unwrap_or(1_000));
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failed.lock().is_ok_and(|failed| failed.is_empty()) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if let Err(reason) = run_in_child(seed)
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push(reason);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panicked");
    let done = next.into_inner().min(first + count) - first;
    eprintln!("{done} seeds from {first} on");
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
