//! Debian's promtool asks Tern through the load balancer, with the project's own HAProxy configuration, and prints what it would print of a Prometheus.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::json;
use tern_jepsen::cluster::{Cluster, RunDirectory};
use tern_jepsen::peers::{self, Peer};

use crate::support::*;

/// promtool and the address that it asks.
struct Promtool {
    program: PathBuf,
    url: String,
}

impl Promtool {
    /// What one command prints when it succeeds.
    fn prints(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program).args(arguments).stdin(Stdio::null()).output().context("run promtool")?;
        let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "promtool {arguments:?}: {}: {printed}{complaint}", output.status);
        Ok(printed.into_owned())
    }

    /// `promtool query KIND FLAGS… URL [LAST]`
    fn query(&self, kind: &str, flags: &[&str], last: Option<&str>) -> anyhow::Result<String> {
        let arguments: Vec<&str> =
            ["query", kind].into_iter().chain(flags.iter().copied()).chain([self.url.as_str()]).chain(last).collect();
        self.prints(&arguments)
    }

    /// What one query that is refused prints to stderr.
    fn complains(&self, query: &str) -> anyhow::Result<String> {
        let output = Command::new(&self.program).args(["query", "instant", &self.url, query]).output().context("run promtool")?;
        ensure!(!output.status.success(), "{query} was accepted");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The time at which samples stand and are asked for: always the same second.
struct Written {
    second: i64,
    time_flag: String,
    start_flag: String,
    end_flag: String,
}

#[tokio::test]
async fn promtool_queries_through_the_load_balancer() -> TestResult {
    let Some(program) = peers::installed("promtool").filter(|_| peers::installed("haproxy").is_some()) else {
        eprintln!("\n*** SKIPPED: promtool or haproxy is not installed. apt-get install prometheus haproxy ***\n");
        return Ok(());
    };
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let mut directory = RunDirectory::create()?;
    let balancer = balancer(&cluster, directory.path()).await?;
    let written = write(&balancer).await?;
    let promtool = Promtool { program, url: format!("http://{}", balancer.address()) };
    // Round robin: three times, so that each node answers.
    for _ in 0..3 {
        instant_queries(&promtool, &written)?;
        range_queries(&promtool, &written)?;
        series_and_labels(&promtool, &written)?;
    }
    refusals(&promtool)?;
    metrics_for_debugging(&promtool, directory.path())?;
    cluster.finish()?;
    directory.succeeded();
    Ok(())
}

async fn balancer(cluster: &Cluster, directory: &Path) -> anyhow::Result<Peer> {
    let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy.cfg");
    let addresses = [1, 2, 3].map(|number| cluster.node(number).map(|node| node.http.address()).unwrap_or_default());
    peers::haproxy(directory, &configuration, &addresses).await
}

async fn write(balancer: &Peer) -> anyhow::Result<Written> {
    let second = recent_second();
    let elements = json!([
        element("tool_requests_total", &[("service", "auth")], second - 10, 20),
        element("tool_requests_total", &[("service", "auth")], second, 30),
        element("tool_requests_total", &[("service", "cart \"x\"")], second, 7.5),
        element("tool_up", &[], second, 1),
    ]);
    expect_status(&balancer.client().ingest(&elements).await?, 204);
    let flag = |name: &str, time: i64| format!("--{name}={time}");
    Ok(Written { second, time_flag: flag("time", second), start_flag: flag("start", second - 10), end_flag: flag("end", second) })
}

fn instant_queries(promtool: &Promtool, written: &Written) -> TestResult {
    let Written { second, time_flag, .. } = written;
    let ask = |query: &str| promtool.query("instant", &[time_flag], Some(query));
    assert_eq!(ask("tool_up")?, format!("tool_up => 1 @[{second}]\n"));
    let both = format!("{{service=\"auth\"}} => 30 @[{second}]\n{{service=\"cart \\\"x\\\"\"}} => 7.5 @[{second}]\n");
    assert_eq!(ask("sort_desc(sum by (service) (tool_requests_total))")?, both);
    assert_eq!(ask("1 + 1")?, format!("scalar: 2 @[{second}]\n"));
    let range = format!("tool_requests_total{{service=\"auth\"}} =>\n20 @[{}]\n30 @[{second}]\n", second - 10);
    assert_eq!(ask("tool_requests_total{service=\"auth\"}[1m]")?, range);
    assert_eq!(ask("no_such_metric")?.trim(), "");
    let json = promtool.query("instant", &[time_flag, "-o", "json"], Some("tool_up"))?;
    assert_eq!(json.trim(), format!(r#"[{{"metric":{{"__name__":"tool_up"}},"value":[{second},"1"]}}]"#));
    Ok(())
}

fn range_queries(promtool: &Promtool, Written { second, start_flag, end_flag, .. }: &Written) -> TestResult {
    let before = second - 10;
    let printed = promtool.query("range", &[start_flag, end_flag, "--step=10s"], Some("tool_requests_total"))?;
    let expected = format!(
        "tool_requests_total{{service=\"auth\"}} =>\n20 @[{before}]\n30 @[{second}]\ntool_requests_total{{service=\"cart \\\"x\\\"\"}} =>\n7.5 @[{second}]\n"
    );
    assert_eq!(printed, expected);
    // Without times promtool asks for the last five minutes, with a step of its own.
    let default = promtool.query("range", &[], Some("sum(tool_up)"))?;
    assert!(default.starts_with("{} =>\n1 @["), "{default}");
    Ok(())
}

fn series_and_labels(promtool: &Promtool, Written { start_flag, end_flag, .. }: &Written) -> TestResult {
    let printed = promtool.query("series", &["--match=tool_requests_total", "--match={__name__=\"tool_up\"}"], None)?;
    let expected = "{__name__=\"tool_requests_total\", service=\"auth\"}\n\
                    {__name__=\"tool_requests_total\", service=\"cart \\\"x\\\"\"}\n\
                    {__name__=\"tool_up\"}\n";
    assert_eq!(printed, expected);
    let none = promtool.query("series", &["--match=tool_up", "--start=1", "--end=2"], None)?;
    assert_eq!(none.trim(), "");
    assert_eq!(promtool.query("labels", &[], Some("service"))?, "auth\ncart \"x\"\n");
    let matched = promtool.query("labels", &["--match=tool_requests_total{service=\"auth\"}", start_flag, end_flag], Some("service"))?;
    assert_eq!(matched, "auth\n");
    let names = promtool.query("labels", &["-o", "json", "--match={__name__=~\"tool_.*\"}"], Some("__name__"))?;
    assert_eq!(names.trim(), r#"["tool_requests_total","tool_up"]"#);
    Ok(())
}

fn refusals(promtool: &Promtool) -> TestResult {
    let complaint = promtool.complains("tool_up{")?;
    assert!(
        complaint.contains("bad_data: invalid parameter \"query\": 1:9: parse error: unexpected end of input inside braces"),
        "{complaint}"
    );
    let complaint = promtool.complains("tool_requests_total + on () tool_requests_total")?;
    assert!(complaint.contains("execution: found duplicate series for the match group {}"), "{complaint}");
    Ok(())
}

/// `debug metrics` keeps a copy of `/metrics`, and what Tern says about itself is well-formed.
fn metrics_for_debugging(promtool: &Promtool, directory: &Path) -> TestResult {
    let status = Command::new(&promtool.program).args(["debug", "metrics", &promtool.url]).current_dir(directory).output()?;
    ensure!(status.status.success() && directory.join("debug.tar.gz").is_file(), "{status:?}");
    let page = Command::new("tar").args(["-xzOf", "debug.tar.gz"]).current_dir(directory).output()?.stdout;
    std::fs::write(directory.join("metrics.txt"), page)?;
    let input = std::fs::File::open(directory.join("metrics.txt"))?;
    let checked = Command::new(&promtool.program).args(["check", "metrics"]).stdin(input).output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    Ok(())
}
