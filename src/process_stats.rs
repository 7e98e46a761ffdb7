//! What the kernel says about this process. A figure that cannot be read is zero: `/metrics` must not fail for it.

use std::fs;

/// One reading.
#[derive(Debug, Default)]
pub struct ProcessStats {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_files: u64,
    pub open_files_max: u64,
    pub threads: u64,
}

impl ProcessStats {
    pub fn read() -> ProcessStats {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ProcessStats {
            cpu_seconds: cpu_seconds(),
            resident_bytes: kibibytes(&status, "VmRSS:"),
            virtual_bytes: kibibytes(&status, "VmSize:"),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            open_files_max: open_files_max(),
            threads: field(&status, "Threads:").parse().unwrap_or(0),
        }
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).unwrap_or("")
}

fn kibibytes(status: &str, name: &str) -> u64 {
    field(status, name).parse::<u64>().unwrap_or(0) * 1024
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses and may hold blanks; fields are counted after it.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    // The kernel's unit for user space is a hundredth of a second on every architecture Linux runs on today.
    ticks as f64 / 100.0
}

fn open_files_max() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    field(&limits, "Max open files").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_threads_and_files() {
        let stats = ProcessStats::read();
        assert!(stats.resident_bytes > 100_000 && stats.virtual_bytes >= stats.resident_bytes);
        assert!(stats.threads >= 1 && stats.open_files >= 3 && stats.open_files_max >= stats.open_files);
    }
}
