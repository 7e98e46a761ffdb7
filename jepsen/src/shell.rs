//! Programs of the system (ip, nft, tc, mount, …), run to their end.
//!
//! The harness leaves to them what the kernel offers through them: they are there on every Debian, and what they did can be repeated by hand.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// Runs a program and returns what it printed; its complaint when it fails.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    run_with_input(program, arguments, "")
}

/// As [`run`], with a text on its standard input.
pub fn run_with_input(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {program}; is it installed? (deploy/install.sh)"))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes()).with_context(|| format!("write to {program}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("wait for {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Namespaces, mounts and packet filters are root's.
pub fn require_root() -> anyhow::Result<()> {
    let id = run("id", &["-u"])?;
    ensure!(id.trim() == "0", "this needs root: network namespaces, mounts and packet filters (run it with sudo)");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_command_and_its_complaint() {
        assert_eq!(run_with_input("cat", &[], "hello").unwrap(), "hello");
        let error = run("ls", &["/nowhere at all"]).unwrap_err().to_string();
        assert!(error.contains("ls /nowhere at all") && error.contains("No such file"), "{error}");
        assert!(run("no-such-program", &[]).unwrap_err().to_string().contains("installed?"));
    }
}
