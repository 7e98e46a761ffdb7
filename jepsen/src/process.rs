//! A server process of ours: started, paused, killed and read about, by its id.
//!
//! Signals go through kill(1): no unsafe code for a few calls a run. The process ends when its [`Process`] is dropped.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::wait;

/// Bytes from the end of a log that failures show.
const LOG_TAIL_BYTES: usize = 4000;

/// What to send to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Kill,
    Terminate,
    Pause,
    Resume,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Kill => "-KILL",
            Signal::Terminate => "-TERM",
            Signal::Pause => "-STOP",
            Signal::Resume => "-CONT",
        }
    }
}

/// Figures of a process from `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
}

/// A running child process whose output goes to a log file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Process> {
        let output = OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Process { child, name: name.to_owned(), log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(signal.name()).arg(self.id().to_string()).status().context("run kill")?;
        ensure!(status.success(), "kill {} {} ({})", signal.name(), self.id(), self.name);
        Ok(())
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// SIGTERM, then waits for the end.
    pub async fn terminate(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::Terminate)?;
        let what = format!("{} to end after SIGTERM", self.name);
        let child = &mut self.child;
        let status = wait::until(&what, limit, || {
            let ended = child.try_wait().map_err(|error| error.to_string()).and_then(|status| status.ok_or("still running".to_owned()));
            async move { ended }
        })
        .await?;
        Ok(status)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error that shows the end of the log when the process has ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let how = status.signal().map_or_else(|| format!("{:?}", status.code()), |signal| format!("signal {signal}"));
            anyhow::bail!("{} ended by itself ({how}); its log ends:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    pub fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        usage_of(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is fine, and there is nobody to tell about anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time and resident memory of a process, as the kernel counts them.
pub fn usage_of(process_id: u32) -> anyhow::Result<Usage> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).context("read /proc/PID/stat")?;
    // The second field is the name in parentheses and may hold spaces; utime and stime are the 14th and 15th of all fields.
    let after_name = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("short /proc/PID/stat");
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).context("read /proc/PID/status")?;
    let resident_kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Ok(Usage { cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND, resident_bytes: resident_kib.unwrap_or(0) * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_usage_is_plausible() {
        let usage = usage_of(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.cpu_seconds < 1e6, "{usage:?}");
    }

    #[tokio::test]
    async fn a_process_that_ends_by_itself_is_noticed_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start("sh", Command::new("sh").args(["-c", "echo last words; exit 3"]), &log).unwrap();
        let error = wait::until("its end", Duration::from_secs(10), || {
            let seen = process.check_alive().err().map(|error| error.to_string()).ok_or("alive".to_owned());
            async move { seen }
        })
        .await
        .unwrap();
        assert!(error.contains("last words") && error.contains("Some(3)"), "{error}");
    }

    #[tokio::test]
    async fn a_paused_process_ends_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start("sleep", Command::new("sleep").arg("1000"), &directory.path().join("log")).unwrap();
        let id = process.id();
        process.signal(Signal::Pause).unwrap();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
