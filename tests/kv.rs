//! `/api/v1/kv`: what one node has answered every node knows, and of two that change the same version one is refused.

use anyhow::Context;
use tern_jepsen::client::{Answer, Client};

use crate::support::*;

async fn put(client: &Client, key: &str, condition: &[(&str, &str)], value: &str) -> Result<Answer, reqwest::Error> {
    client.send("PUT", &format!("/api/v1/kv/{key}"), condition, value.to_owned()).await
}

async fn value_at(client: &Client, key: &str) -> anyhow::Result<(u64, String)> {
    let data = client.get(&format!("/api/v1/kv/{key}"), &[]).await?.data()?;
    let value = data["value"].as_str().context("a value")?;
    Ok((data["version"].as_u64().context("a version")?, value.to_owned()))
}

fn version_of(answer: &Answer) -> anyhow::Result<u64> {
    let version = answer.data()?["version"].as_u64().context("a version")?;
    assert_eq!(answer.header("etag"), Some(format!("\"{version}\"").as_str()));
    Ok(version)
}

#[tokio::test]
async fn documents_have_versions_that_every_node_knows_at_once() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let [one, two, three] = [1, 2, 3].map(|number| cluster.client(number));

    let first = version_of(&put(&one, "team/limits", &[("if-none-match", "*")], "10").await?)?;
    assert_eq!(value_at(&two, "team/limits").await?, (first, "10".to_owned()));
    let again = put(&two, "team/limits", &[("if-none-match", "*")], "11").await?;
    expect_status(&again, 412);
    assert_eq!(again.json()?["data"]["version"], first);

    let tag = format!("\"{first}\"");
    let second = version_of(&put(&three, "team/limits", &[("if-match", &tag)], "20").await?)?;
    assert!(second > first, "{second} after {first}");
    expect_status(&put(&one, "team/limits", &[("if-match", &tag)], "21").await?, 412);
    for client in [&one, &two, &three] {
        assert_eq!(value_at(client, "team/limits").await?, (second, "20".to_owned()));
    }

    expect_status(&two.send("DELETE", "/api/v1/kv/team/limits", &[("if-match", &tag)], "").await?, 412);
    expect_status(&two.send("DELETE", "/api/v1/kv/team/limits", &[], "").await?, 200);
    expect_status(&one.get("/api/v1/kv/team/limits", &[]).await?, 404);
    let third = version_of(&put(&one, "team/limits", &[], "30").await?)?;
    assert!(third > second, "a version is never given twice: {third} after {second}");

    expect_status(&put(&one, "tern/rules", &[], "mine").await?, 400);
    expect_status(&put(&one, "a%20b", &[], "spaces").await?, 400);
    cluster.finish()?;
    Ok(())
}

#[tokio::test]
async fn of_writers_that_race_for_a_version_exactly_one_wins() -> TestResult {
    let _turn = turn().await;
    let cluster = three_nodes().await?;
    let clients = [1, 2, 3].map(|number| cluster.client(number));
    let mut version = version_of(&put(&clients[0], "count", &[], "0").await?)?;
    for round in 1..=20 {
        let tag = format!("\"{version}\"");
        let condition = [("if-match", tag.as_str())];
        let racing = (0..6).map(|writer| {
            let (client, condition) = (&clients[writer % 3], &condition);
            async move { put(client, "count", condition, &format!("{round} by {writer}")).await.map(|answer| (writer, answer)) }
        });
        let answers = futures::future::try_join_all(racing).await?;
        let won: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 200).collect();
        assert!(answers.iter().all(|(_, answer)| matches!(answer.status, 200 | 412)), "{answers:?}");
        let [(writer, answer)] = won[..] else { panic!("round {round}: {} of them won", won.len()) };
        version = version_of(answer)?;
        assert_eq!(value_at(&clients[(writer + 1) % 3], "count").await?, (version, format!("{round} by {writer}")));
    }
    cluster.finish()?;
    Ok(())
}
