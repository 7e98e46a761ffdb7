//! Which account may do what, and that nothing tells a secret.

use std::time::Duration;

use serde_json::json;
use tern_jepsen::client::{Answer, Client};
use tern_jepsen::cluster::{Cluster, RunDirectory};
use tern_jepsen::wait;

use super::accounts::{self, Account};
use crate::support::*;

/// What a path needs: a role, any account, or nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Need {
    Nothing,
    Account,
    Role(&'static str),
}

const READ: Need = Need::Role("read");
const WRITE: Need = Need::Role("write");
const ADMIN: Need = Need::Role("admin");

/// Every path that a node answers.
const PATHS: &[(&str, &str, Need)] = &[
    ("GET", "/-/healthy", Need::Nothing),
    ("GET", "/-/ready", Need::Nothing),
    ("GET", "/metrics", READ),
    ("GET", "/query/instant?expr=1", READ),
    ("GET", "/query/range?metric=x&start=-5m&end=now&step=60s", READ),
    ("GET", "/api/v1/query?query=1", READ),
    ("POST", "/api/v1/query?query=1", READ),
    ("GET", "/api/v1/query_range?query=1&start=0&end=1&step=1", READ),
    ("GET", "/api/v1/format_query?query=1", READ),
    ("GET", "/api/v1/parse_query?query=1", READ),
    ("GET", "/api/v1/labels", READ),
    ("GET", "/api/v1/label/job/values", READ),
    ("GET", "/api/v1/series?match[]=x", READ),
    ("GET", "/api/v1/series/count", READ),
    ("GET", "/api/v1/search/metric_names", READ),
    ("GET", "/api/v1/search/label_names", READ),
    ("GET", "/api/v1/search/label_values?label=x", READ),
    ("GET", "/api/v1/query_exemplars?query=x&start=0&end=1", READ),
    ("GET", "/api/v1/metadata", READ),
    ("GET", "/api/v1/rules", READ),
    ("GET", "/api/v1/alerts", READ),
    ("GET", "/api/v1/targets", READ),
    ("GET", "/api/v1/targets/metadata", READ),
    ("GET", "/api/v1/scrape_pools", READ),
    ("GET", "/api/v1/alertmanagers", READ),
    ("GET", "/version", READ),
    ("GET", "/api/v1/features", READ),
    ("GET", "/api/v1/notifications", READ),
    ("GET", "/api/v1/status/active_queries", READ),
    ("GET", "/api/v1/status/buildinfo", READ),
    ("GET", "/api/v1/status/cluster", READ),
    ("GET", "/api/v1/status/config", READ),
    ("GET", "/api/v1/status/flags", READ),
    ("GET", "/api/v1/status/metric_names_stats", READ),
    ("GET", "/api/v1/status/runtimeinfo", READ),
    ("GET", "/api/v1/status/self_metrics", READ),
    ("GET", "/api/v1/status/top_queries", READ),
    ("GET", "/api/v1/status/tsdb", READ),
    ("GET", "/api/v1/status/tsdb/blocks", READ),
    ("GET", "/api/v1/status/walreplay", READ),
    ("POST", "/api/v1/read", READ),
    ("GET", "/api/v1/export?match[]=x", READ),
    ("GET", "/api/v1/export/csv?match[]=x", READ),
    ("GET", "/federate?match[]=x", READ),
    ("POST", "/ingest/metrics", WRITE),
    ("POST", "/api/v1/import/prometheus", WRITE),
    ("POST", "/api/v1/import/prometheus/metrics/job/x", WRITE),
    ("POST", "/api/v1/write", WRITE),
    ("POST", "/api/v1/otlp/v1/metrics", WRITE),
    ("POST", "/otlp/v1/metrics", WRITE),
    ("POST", "/opentelemetry/v1/metrics", WRITE),
    ("POST", "/write", WRITE),
    ("POST", "/api/v2/write", WRITE),
    ("POST", "/influx/write", WRITE),
    ("POST", "/influx/api/v2/write", WRITE),
    ("POST", "/api/v1/import", WRITE),
    ("POST", "/api/v1/import/csv", WRITE),
    ("GET", "/query?q=SHOW+DATABASES", Need::Account),
    ("GET", "/ping", Need::Account),
    ("GET", "/health", Need::Account),
    ("GET", "/influx/ping", Need::Account),
    ("GET", "/influx/health", Need::Account),
    ("GET", "/influx/query", Need::Account),
    ("GET", "/api/v1/admin/cluster/members", ADMIN),
    ("POST", "/api/v1/admin/cluster/remove", ADMIN),
    ("POST", "/api/v1/admin/cluster/replace", ADMIN),
    ("POST", "/api/v1/admin/cluster/transfer-leader", ADMIN),
    ("POST", "/api/v1/admin/tsdb/delete_series", ADMIN),
    ("PUT", "/api/v1/admin/tsdb/delete_series", ADMIN),
    ("POST", "/api/v1/admin/tsdb/clean_tombstones", ADMIN),
    ("POST", "/api/v1/admin/tsdb/snapshot", ADMIN),
    ("POST", "/debug/flush", ADMIN),
    ("GET", "/debug/hash?shard=0", ADMIN),
    ("POST", "/-/reload", ADMIN),
    ("POST", "/-/quit", ADMIN),
];

struct Guarded {
    cluster: Cluster,
    directory: RunDirectory,
}

impl Guarded {
    async fn start(more: &[&str]) -> anyhow::Result<Guarded> {
        let directory = RunDirectory::create()?;
        let file = directory.path().join("accounts.yaml");
        accounts::write(&file)?;
        let file = file.display().to_string();
        let arguments = [&["--auth-file", &file, "--tls-reload-interval", "100ms"], more].concat();
        Ok(Guarded { cluster: Cluster::start_with(TERN, 1, &arguments).await?, directory })
    }

    fn client(&self, authorization: Option<&str>) -> anyhow::Result<Client> {
        Client::secure(&format!("http://{}", self.cluster.node(1)?.http.address()), None, authorization)
    }

    fn finish(mut self) -> TestResult {
        self.cluster.finish()?;
        self.directory.succeeded();
        Ok(())
    }
}

async fn send(client: &Client, method: &str, path: &str) -> anyhow::Result<Answer> {
    Ok(client.send(method, path, &[], "").await?)
}

fn is_challenged(answer: &Answer) -> bool {
    let challenges: Vec<&str> = answer.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok()).collect();
    answer.status == 401 && challenges.len() == 2 && challenges[0].starts_with("Basic realm=") && challenges[1].starts_with("Bearer realm=")
}

#[tokio::test]
async fn each_role_reaches_its_own_paths_and_nobody_else_does() -> TestResult {
    let _turn = turn().await;
    let guarded = Guarded::start(&[]).await?;
    let anyone = guarded.client(None)?;
    for (method, path, need) in PATHS {
        let answer = send(&anyone, method, path).await?;
        assert_eq!(is_challenged(&answer), *need != Need::Nothing, "{method} {path}: {} {:?}", answer.status, answer.headers);
    }
    for account in accounts::all() {
        let client = guarded.client(Some(&account.authorization()))?;
        for (method, path, need) in PATHS {
            let answer = send(&client, method, path).await?;
            let missing = format!("this needs the role {}", if let Need::Role(role) = need { role } else { "none" });
            let is_refused = answer.status == 403 && answer.text().contains(&missing);
            assert_eq!(is_refused, !may(&account, *need), "{account:?}: {method} {path}: {} {}", answer.status, answer.text());
            assert!(answer.status != 401 && answer.status != 404, "{account:?}: {method} {path}: {}", answer.status);
        }
    }
    guarded.finish()
}

fn may(account: &Account, need: Need) -> bool {
    match need {
        Need::Nothing | Need::Account => true,
        Need::Role(role) => account.role == role || account.role == "admin",
    }
}

#[tokio::test]
async fn wrong_credentials_get_nowhere_and_no_secret_is_told() -> TestResult {
    let _turn = turn().await;
    let guarded = Guarded::start(&[]).await?;
    let reader = accounts::user("reader");
    for wrong in [
        accounts::basic("reader", "falsch"),
        accounts::basic("nobody", &reader.secret),
        accounts::basic("reader", ""),
        "Bearer wrong".to_owned(),
        format!("Bearer {}", reader.secret),
        "Basic ???".to_owned(),
        "Digest x".to_owned(),
    ] {
        let answer = send(&guarded.client(Some(&wrong))?, "GET", "/api/v1/query?query=1").await?;
        assert!(is_challenged(&answer), "{wrong}: {} {}", answer.status, answer.text());
    }
    let read_token = accounts::token("read-token").secret;
    let client = guarded.client(Some(&format!("Token {read_token}")))?;
    expect_status(&send(&client, "GET", "/api/v1/query?query=1").await?, 200);
    let native = guarded.client(None)?.ingest(&json!([])).await?;
    assert_eq!(native.json()?["error"], "credentials are needed: basic authentication or a bearer token");

    let boss = guarded.client(Some(&accounts::user("boss").authorization()))?;
    let mut told = String::new();
    for path in ["/api/v1/status/config", "/api/v1/status/flags", "/metrics", "/api/v1/status/runtimeinfo"] {
        let answer = send(&boss, "GET", path).await?;
        expect_status(&answer, 200);
        told.push_str(&answer.text());
    }
    // A file that is refused must not be quoted either.
    let file = guarded.directory.path().join("accounts.yaml");
    let whole = std::fs::read_to_string(&file)?;
    std::fs::write(&file, whole.replace("argon2id", "argon2x"))?;
    let log = guarded.cluster.run_directory().join("node1.log");
    wait::until("the refused file in the log", Duration::from_secs(30), || async {
        let log = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        if log.contains("new accounts cannot be used") { Ok(()) } else { Err(log) }
    })
    .await?;
    expect_status(&send(&boss, "GET", "/api/v1/query?query=1").await?, 200);
    told.push_str(&std::fs::read_to_string(&log)?);
    for account in accounts::all() {
        assert!(!told.contains(&account.secret), "{} is told", account.name);
    }
    let hashes = whole.split('"').filter(|word| word.len() > 50);
    for hash in hashes {
        let shown = &hash[hash.len() - 40..];
        assert!(!told.contains(shown), "{shown} is told");
    }

    // Accounts are taken away without a restart, remembered passwords too.
    let only_tokens = json!({"tokens": serde_json::from_str::<serde_json::Value>(&whole)?["tokens"]});
    std::fs::write(&file, only_tokens.to_string())?;
    wait::until("the user to be forgotten", Duration::from_secs(30), || async {
        let answer = send(&boss, "GET", "/api/v1/query?query=1").await.map_err(|error| error.to_string())?;
        if answer.status == 401 { Ok(()) } else { Err(answer.text()) }
    })
    .await?;
    guarded.finish()
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--web-lifecycle", "true", "--web-enable-admin-api", "true"]).await?;
    let (client, address) = (cluster.client(1), cluster.node(1)?.http.address());
    let own = format!("http://{address}");
    let foreign: &[&[(&str, &str)]] = &[
        &[("origin", "http://evil.example")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "null")],
        &[("sec-fetch-site", "same-site"), ("origin", &own)],
    ];
    let deletion = "/api/v1/admin/tsdb/delete_series?match[]=up";
    for path in ["/-/quit", "/-/reload", deletion, "/debug/flush", "/ingest/metrics", "/api/v1/write", "/write"] {
        for headers in foreign {
            let answer = client.send("POST", path, headers, "").await?;
            assert!(
                answer.status == 403 && answer.text().contains("another site"),
                "{path} {headers:?}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    for headers in [&[][..], &[("origin", &*own)], &[("sec-fetch-site", "same-origin"), ("origin", &*own)]] {
        expect_status(&client.send("POST", deletion, headers, "").await?, 204);
    }
    // Asking changes nothing, so pages may.
    expect_status(&client.send("POST", "/api/v1/query?query=1", foreign[0], "").await?, 200);
    cluster.finish()?;
    Ok(())
}
