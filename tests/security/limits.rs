//! Who sends slowly, too much, or nothing at all gives up its place, and others are served meanwhile. Raw sockets, since clients behave.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tern_jepsen::cluster::Cluster;
use tern_jepsen::wait;

use crate::support::*;

/// Longer than anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

fn connect(cluster: &Cluster) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(cluster.node(1)?.http.address())?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Everything until the node closes; a reset is an end as well, waiting for ever is none.
fn until_closed(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => anyhow::bail!("the node holds the connection"),
        _ => Ok(String::from_utf8_lossy(&heard).into_owned()),
    }
}

const SHORT: [&str; 10] = [
    "--web-header-timeout",
    "500ms",
    "--web-idle-timeout",
    "1s",
    "--web-body-timeout",
    "500ms",
    "--web-body-rate-min",
    "1KiB",
    "--web-connections",
    "20",
];

#[tokio::test]
async fn connections_that_only_hold_a_place_lose_it() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &SHORT).await?;
    // More than there are places, in every way to say nothing.
    let beginnings: [&[u8]; 4] =
        [b"", b"GET /-/ready HTTP/1.1\r\nhost: x\r\n", b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"];
    let mut silent = Vec::new();
    for number in 0..60 {
        let mut stream = connect(&cluster)?;
        stream.write_all(beginnings[number % beginnings.len()])?;
        silent.push(stream);
    }
    // It is behind them all in the queue, and is served when their time is up.
    expect_status(&cluster.client(1).get("/-/healthy", &[]).await?, 200);
    for mut stream in silent {
        until_closed(&mut stream)?;
    }
    // One that has been served may rest, but not for ever.
    let mut resting = connect(&cluster)?;
    resting.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let heard = until_closed(&mut resting)?;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn a_body_that_trickles_is_refused_and_a_slow_steady_one_is_not() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &SHORT).await?;
    let head = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
    };
    for path in ["/ingest/metrics", "/api/v1/import", "/api/v1/import/prometheus"] {
        let mut stream = connect(&cluster)?;
        stream.write_all(head(path, 100_000).as_bytes())?;
        stream.write_all(b" ")?;
        let heard = until_closed(&mut stream)?;
        assert!(heard.starts_with("HTTP/1.1 408") && heard.contains("web.body_rate_min"), "{path}: {heard}");
    }
    // Four times the grace as a whole, with more than the least rate all the time.
    let element = element("steady", &[], recent_second(), 1).to_string();
    let mut stream = connect(&cluster)?;
    let piece = " ".repeat(2048);
    stream.write_all(head("/ingest/metrics", 10 * piece.len() + element.len() + 2).as_bytes())?;
    for _ in 0..10 {
        stream.write_all(piece.as_bytes())?;
        // The pace itself is what is under test.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stream.write_all(format!("[{element}]").as_bytes())?;
    let heard = until_closed(&mut stream)?;
    assert!(heard.starts_with("HTTP/1.1 204"), "{heard}");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn heads_have_bounds() -> TestResult {
    let _turn = turn().await;
    let cluster = one_node().await?;
    let ask = |headers: &str| -> anyhow::Result<String> {
        let mut stream = connect(&cluster)?;
        // The node may answer and close before everything is sent.
        let _ = stream.write_all(format!("GET /-/healthy HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").as_bytes());
        until_closed(&mut stream)
    };
    let many = |count: usize, value: &str| (0..count).map(|n| format!("x-{n}: {value}\r\n")).collect::<String>();
    assert!(ask(&many(90, "y"))?.starts_with("HTTP/1.1 200"));
    assert!(ask(&many(110, "y"))?.starts_with("HTTP/1.1 431"));
    assert!(ask(&many(10, &"y".repeat(1500)))?.starts_with("HTTP/1.1 200"));
    let large = ask(&many(10, &"y".repeat(2000)))?;
    assert!(large.starts_with("HTTP/1.1 431") && large.contains("web.header_bytes"), "{large}");
    let huge = ask(&many(10, &"y".repeat(100_000)))?;
    assert!(huge.is_empty() || huge.starts_with("HTTP/1.1 431"), "{huge:.200}");
    // A query may be longer than headers.
    let mut stream = connect(&cluster)?;
    stream.write_all(
        format!("GET /api/v1/query?query=1{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "%2B1".repeat(10_000)).as_bytes(),
    )?;
    assert!(until_closed(&mut stream)?.starts_with("HTTP/1.1 "), "answered");
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() -> TestResult {
    let _turn = turn().await;
    let cluster = Cluster::start_with(TERN, 1, &["--web-connections", "1", "--web-write-timeout", "500ms"]).await?;
    let batch: serde_json::Value = (0..3000).map(|n| element("wide", &[("n", &format!("{n:0>200}"))], recent_second(), n)).collect();
    expect_status(&cluster.client(1).ingest(&batch).await?, 204);
    let mut deaf = connect(&cluster)?;
    // Pipelined, so that the answers outgrow whatever the kernel buffers.
    let request = "GET /api/v1/export?match[]=wide HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    deaf.write_all(request.as_bytes())?;
    // The one place is free again when the node has given up.
    let served = wait::until("the place", LIMIT, || async {
        let answer = cluster.client(1).get("/-/healthy", &[]).await.map_err(|error| format!("{error:?}"))?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    served.await?;
    let heard = until_closed(&mut deaf)?;
    let answers = heard.matches("HTTP/1.1 200").count();
    assert!(answers < 20, "{answers} answers were sent");
    cluster.finish()?;
    Ok(())
}

/// HTTP/2 by hand: preface and empty settings, then frames.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() -> TestResult {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const GOAWAY: u8 = 7;
    let _turn = turn().await;
    let cluster = one_node().await?;
    let mut stream = connect(&cluster)?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    // :method GET, :scheme http, :path /, :authority x, by the static table.
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
    let mut flood = Vec::new();
    for number in 0..2000 {
        flood.extend(frame(HEADERS, 5, 2 * number + 1, &head));
        flood.extend(frame(RESET, 0, 2 * number + 1, &8u32.to_be_bytes()));
    }
    let _ = stream.write_all(&flood);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    let goodbye = kinds(&heard).contains(&GOAWAY);
    assert!(goodbye || heard.is_empty(), "the node took the flood: {:?}", kinds(&heard));
    expect_status(&cluster.client(1).get("/-/healthy", &[]).await?, 200);
    cluster.finish()?;
    Ok(())
}

/// Kinds of the frames that were heard.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, rest @ ..] = bytes {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize + 5;
        bytes = rest.get(length..).unwrap_or_default();
    }
    kinds
}
