//! HTTPS for users, and credentials, with the programs that people use: curl, promtool, Prometheus, `tern admin`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tern_jepsen::certificates::{Authority, Validity};
use tern_jepsen::client::Client;
use tern_jepsen::cluster::RunDirectory;
use tern_jepsen::ports::Port;
use tern_jepsen::process::Process;
use tern_jepsen::{peers, wait};

use super::accounts::{self, Account};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

/// One node that speaks HTTPS and knows accounts.
struct Secured {
    process: Process,
    port: Port,
    authority: Authority,
    directory: RunDirectory,
}

impl Secured {
    async fn start(more: &[&str]) -> anyhow::Result<Secured> {
        let (authority, directory, port, grpc) = (Authority::create()?, RunDirectory::create()?, Port::take()?, Port::take()?);
        let path = directory.path();
        authority.write(&path.join("authority.pem"))?;
        let files = authority.issue(path, "web", &["127.0.0.1", "localhost"], Validity::Good)?;
        accounts::write(&path.join("accounts.yaml"))?;
        let mut command = Command::new(TERN);
        command.args(["server", "--http", &port.address(), "--grpc", &grpc.address(), "--tls-reload-interval", "100ms"]);
        command.arg("--data-dir").arg(path.join("data")).arg("--auth-file").arg(path.join("accounts.yaml"));
        command.arg("--tls-web-certificate").arg(files.certificate).arg("--tls-web-key").arg(files.key).args(more);
        let process = Process::start("node", &mut command, &path.join("node.log"))?;
        let mut secured = Secured { process, port, authority, directory };
        let anyone = secured.client(None)?;
        wait::until("the node to be ready", LIMIT, || {
            let died = secured.process.check_alive();
            let anyone = &anyone;
            async move {
                died.map_err(|error| error.to_string())?;
                match anyone.get("/-/ready", &[]).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(answer.text()),
                    Err(error) => Err(format!("{error:?}")),
                }
            }
        })
        .await?;
        Ok(secured)
    }

    fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn client(&self, account: Option<&Account>) -> anyhow::Result<Client> {
        Client::secure(&self.url(), Some(self.authority.pem()), account.map(Account::authorization).as_deref())
    }

    /// A file for promtool and `tern admin`.
    fn http_config(&self, account: &Account) -> anyhow::Result<String> {
        let path = self.directory.path().join(format!("client-{}.yaml", account.name));
        let basic = json!({"username": account.name, "password": account.secret});
        let file = if account.is_user { json!({"basic_auth": basic}) } else { json!({"authorization": {"credentials": account.secret}}) };
        let mut file = file;
        file["tls_config"] = json!({"ca_file": "authority.pem"});
        std::fs::write(&path, file.to_string())?;
        Ok(path.display().to_string())
    }

    fn curl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new("curl").args(["-sS", "--max-time", "30"]).args(arguments).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.directory.path().join("node.log"))?)
    }

    fn finish(mut self) -> TestResult {
        let log = self.log()?;
        ensure!(!log.contains("panicked at"), "{log}");
        self.directory.succeeded();
        Ok(())
    }
}

#[tokio::test]
async fn https_speaks_both_versions_takes_new_certificates_and_nothing_in_the_clear() -> TestResult {
    let _turn = turn().await;
    let secured = Secured::start(&[]).await?;
    let (ready, authority) = (format!("{}/-/ready", secured.url()), secured.path("authority.pem"));
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let said = secured.curl(&[flag, "--cacert", &authority, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &ready])?;
        assert_eq!(said, format!("{version} 200"));
    }
    let plain = Client::new(&secured.port.address()).get("/-/ready", &[]).await;
    assert!(plain.is_err(), "{plain:?}");

    // The same running node, another authority: who trusts the old one stops, who trusts the new one begins.
    let newer = Authority::create()?;
    newer.issue(secured.directory.path(), "web", &["127.0.0.1"], Validity::Good)?;
    wait::until("the new certificate", LIMIT, || async {
        let client = Client::secure(&secured.url(), Some(newer.pem()), None).map_err(|error| error.to_string())?;
        client.get("/-/ready", &[]).await.map(drop).map_err(|error| format!("{error:?}"))
    })
    .await?;
    let old = secured.client(None)?.get("/-/ready", &[]).await;
    assert!(old.is_err(), "{old:?}");
    secured.finish()
}

#[tokio::test]
async fn users_may_be_asked_for_certificates_and_health_for_credentials() -> TestResult {
    let _turn = turn().await;
    let (clients, folder) = (Authority::create()?, RunDirectory::create()?);
    let file = folder.path().join("clients.pem");
    clients.write(&file)?;
    let directory = RunDirectory::create()?;
    let port = Port::take()?;
    let grpc = Port::take()?;
    let authority = Authority::create()?;
    authority.write(&directory.path().join("authority.pem"))?;
    let files = authority.issue(directory.path(), "web", &["127.0.0.1"], Validity::Good)?;
    let own = clients.issue(folder.path(), "someone", &["someone"], Validity::Good)?;
    let mut command = Command::new(TERN);
    command.args(["server", "--http", &port.address(), "--grpc", &grpc.address()]);
    command.arg("--data-dir").arg(directory.path().join("data")).arg("--tls-web-client-ca").arg(&file);
    accounts::write(&directory.path().join("accounts.yaml"))?;
    command.args(["--auth-open-health", "false"]).arg("--auth-file").arg(directory.path().join("accounts.yaml"));
    command.arg("--tls-web-certificate").arg(files.certificate).arg("--tls-web-key").arg(files.key);
    let _process = Process::start("node", &mut command, &directory.path().join("node.log"))?;
    let url = format!("https://{}/-/ready", port.address());
    let ask = |own: &[&str]| {
        let trusted = directory.path().join("authority.pem");
        Command::new("curl")
            .args(["-sS", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}"])
            .arg("--cacert")
            .arg(trusted)
            .args(own)
            .arg(&url)
            .output()
    };
    let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
    let reader = accounts::user("reader");
    let credentials = format!("{}:{}", reader.name, reader.secret);
    let with = ["--cert", &certificate, "--key", &key];
    wait::until("an answer to somebody with a certificate and a password", LIMIT, || async {
        let output = ask(&[&with[..], &["-u", &credentials]].concat()).map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said == "200" { Ok(()) } else { Err(format!("{said} {}", String::from_utf8_lossy(&output.stderr))) }
    })
    .await?;
    assert_eq!(ask(&with)?.stdout, b"401");
    let without = ask(&[])?;
    assert!(!without.status.success() && without.stdout == b"000", "{without:?}");
    let mut folders = [folder, directory];
    folders.iter_mut().for_each(RunDirectory::succeeded);
    Ok(())
}

#[tokio::test]
async fn prometheus_writes_and_scrapes_and_promtool_and_admin_ask_with_credentials() -> TestResult {
    for program in ["prometheus", "promtool"] {
        if peers::installed(program).is_none() {
            eprintln!("\n*** SKIPPED: {program} is not installed. apt-get install prometheus ***\n");
            return Ok(());
        }
    }
    let _turn = turn().await;
    let secured = Secured::start(&[]).await?;
    let (writer, scraper) = (accounts::user("writer"), accounts::token("read-token"));
    let authority = secured.path("authority.pem");
    let configuration = json!({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{
            "job_name": "tern", "scheme": "https", "tls_config": {"ca_file": authority},
            "authorization": {"credentials": scraper.secret},
            "static_configs": [{"targets": [secured.port.address()]}],
        }],
        "remote_write": [{
            "url": format!("{}/api/v1/write", secured.url()), "tls_config": {"ca_file": authority},
            "basic_auth": {"username": writer.name, "password": writer.secret},
            "queue_config": {"batch_send_deadline": "500ms"},
        }],
    });
    let prometheus = peers::prometheus(secured.directory.path(), &configuration.to_string()).await?;
    let reader = accounts::user("reader");
    let client = secured.client(Some(&reader))?;
    wait::until("scraped and written samples", LIMIT, || async {
        let up = client.number("sum(up{job='tern'})", now_ms() as f64 / 1000.0).await.map_err(|error| format!("{error:#}"))?;
        if up == Some(1.0) { Ok(()) } else { Err(format!("{up:?}")) }
    })
    .await?;
    drop(prometheus);

    // Debian's promtool knows no --http.config.file yet; it takes a user from the address, and Go's authorities from a variable.
    let promtool = peers::installed("promtool").context("promtool")?;
    let ask = |account: &Account| -> anyhow::Result<std::process::Output> {
        let secret: String = account.secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("https://{}:{secret}@{}", account.name, secured.port.address());
        let mut command = Command::new(&promtool);
        command.args(["query", "instant", &url, "1 + 1"]).env("SSL_CERT_FILE", &authority).stdin(Stdio::null());
        Ok(command.output()?)
    };
    let output = ask(&reader)?;
    assert!(output.status.success() && output.stdout.starts_with(b"scalar: 2"), "{output:?}");
    let refused = ask(&writer)?;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("403"), "{refused:?}");

    let admin = |account: Option<&Account>| -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(TERN);
        command.args(["admin", "--http", &secured.url()]);
        if let Some(account) = account {
            command.args(["--http-config", &secured.http_config(account)?]);
        }
        let output = command.arg("members").output()?;
        Ok((output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))))
    };
    let (members, said) = admin(Some(&accounts::user("boss")))?;
    assert!(members && said.contains(&secured.port.address()), "{said}");
    let (refused, said) = admin(Some(&reader))?;
    assert!(!refused && said.contains("this needs the role admin; user reader has read"), "{said}");
    let (stranger, said) = admin(None)?;
    assert!(!stranger && said.contains("speak TLS"), "an authority that the machine does not know: {said}");
    secured.finish()
}

#[test]
fn hashes_are_made_from_standard_input() -> TestResult {
    let run = |command: &str, secret: &str| -> anyhow::Result<String> {
        let input = Path::new("/tmp").join(format!("tern-secret-{}-{command}", std::process::id()));
        std::fs::write(&input, secret)?;
        let output = Command::new(TERN).arg(command).stdin(std::fs::File::open(&input)?).output()?;
        std::fs::remove_file(&input)?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    };
    let hash = run("hash-password", "geheim\n")?;
    assert!(hash.starts_with("$argon2id$v=19$m="), "{hash}");
    assert_ne!(hash, run("hash-password", "geheim\n")?, "each has its own salt");
    assert_eq!(run("hash-token", "abc\n")?, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    Ok(())
}
