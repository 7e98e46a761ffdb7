//! Whole clusters in one process, over real gRPC on loopback and real disks.

extern crate tern_raft as raft;

mod support;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::raft::raft_peer_client::RaftPeerClient;
use raft::Settings;
use support::{Cluster, settings};
use tls::NodeTls;
use tonic::Code;

#[test]
fn three_nodes_found_a_cluster_and_replicate() {
    support::run(async {
        let cluster = Cluster::found(21_000, 3, settings()).await;
        for node in 1..=3 {
            cluster.write(node, &format!("from node {node}"), 10).await;
        }
        cluster.assert_everywhere(30).await;
        cluster.stop().await;
    });
}

#[test]
fn one_node_alone_serves_and_comes_back() {
    support::run(async {
        let mut cluster = Cluster::found(21_010, 1, settings()).await;
        cluster.write(1, "alone", 5).await;
        cluster.restart(1).await;
        cluster.assert_everywhere(5).await;
        cluster.write(1, "again", 5).await;
        cluster.assert_everywhere(10).await;
        cluster.stop().await;
    });
}

/// Else a node that restarts more often than it seals would have ever more to replay.
#[test]
fn what_took_long_to_replay_is_sealed_soon_after() {
    support::run(async {
        let mut cluster = Cluster::found(21_015, 1, Settings { seal_replayed_entries: 5, ..settings() }).await;
        for round in 0..10 {
            cluster.write(1, &format!("round {round}"), 1).await;
        }
        assert!(!cluster.is_sealed(1), "it seals for another reason: this tests nothing");
        cluster.restart(1).await;
        cluster.wait("the replayed entries are sealed", Duration::from_secs(30), |cluster| cluster.is_sealed(1)).await;
        cluster.assert_everywhere(10).await;
        cluster.stop().await;
    });
}

#[test]
fn the_cluster_survives_the_loss_of_each_node() {
    support::run(async {
        let mut cluster = Cluster::found(21_020, 3, settings()).await;
        let mut samples = 0;
        for victim in 1..=3 {
            cluster.halt(victim).await;
            let begun = tokio::time::Instant::now();
            let survivor = victim % 3 + 1;
            cluster.write(survivor, &format!("without {victim}"), 10).await;
            eprintln!("writes to every shard went on after {:?}", begun.elapsed());
            samples += 10;
            cluster.start(victim).await;
            cluster.assert_everywhere(samples).await;
        }
        cluster.stop().await;
    });
}

#[test]
fn all_nodes_restart_and_nothing_is_lost() {
    support::run(async {
        let mut cluster = Cluster::found(21_030, 3, settings()).await;
        cluster.write(2, "before", 20).await;
        cluster.seal().await;
        cluster.write(3, "not sealed", 20).await;
        for node in 1..=3 {
            cluster.halt(node).await;
        }
        cluster.start_all().await;
        cluster.assert_everywhere(40).await;
        cluster.stop().await;
    });
}

#[test]
fn a_node_that_was_away_too_long_gets_snapshots() {
    support::run(async {
        let mut cluster = Cluster::found(21_040, 3, settings()).await;
        cluster.write(1, "together", 10).await;
        cluster.halt(3).await;
        for round in 0..3 {
            cluster.write(1, &format!("round {round}"), 10).await;
            cluster.seal().await;
        }
        cluster.start(3).await;
        cluster.assert_everywhere(40).await;
        assert!(cluster.purged(1).await, "the log is still there: this tests nothing");
        cluster.write(3, "after", 10).await;
        cluster.assert_everywhere(50).await;
        cluster.stop().await;
    });
}

#[test]
fn a_new_node_replaces_a_dead_one() {
    support::run(async {
        let mut cluster = Cluster::found(21_050, 3, settings()).await;
        cluster.write(1, "old times", 10).await;
        cluster.seal().await;
        cluster.halt(3).await;
        cluster.join(4).await;
        cluster.replace(3, 4).await;
        cluster.wait("node 4 holds all shards", Duration::from_secs(90), |cluster| cluster.holds_all_shards(4)).await;
        cluster.write(4, "new times", 10).await;
        cluster.assert_on(&[1, 2, 4], 20).await;
        cluster.stop().await;
    });
}

/// The task that keeps the groups open runs all the time here; it must not open again what the stopping node has closed,
/// because nobody would close that. (`halt` waits until every handle of the files is gone.)
#[test]
fn a_stopping_node_opens_no_group_again() {
    support::run(async {
        let settings = Settings { reconcile_interval: Duration::from_millis(1), ..settings() };
        let mut cluster = Cluster::found(21_090, 1, settings).await;
        for _ in 0..20 {
            cluster.restart(1).await;
        }
        cluster.stop().await;
    });
}

#[test]
fn a_wiped_founder_may_not_come_back() {
    support::run(async {
        let mut cluster = Cluster::found(21_060, 3, settings()).await;
        cluster.wait_directories().await;
        cluster.halt(2).await;
        cluster.wipe(2);
        // A supervisor starts it again and again.
        for _ in 0..2 {
            let Err(refused) = cluster.try_start(2).await else { panic!("a wiped node started") };
            assert!(matches!(refused, raft::NodeError::Wiped { node: 2 }), "{refused}");
        }
        cluster.stop().await;
    });
}

#[test]
fn leadership_is_handed_over_on_shutdown() {
    support::run(async {
        let mut cluster = Cluster::found(21_070, 3, settings()).await;
        cluster.write(1, "warm", 10).await;
        cluster.shut_down(1).await;
        assert!(cluster.status(2).groups.iter().all(|group| group.leader != Some(1)), "{:?}", cluster.status(2));
        cluster.write(2, "after", 10).await;
        cluster.assert_on(&[2, 3], 20).await;
        cluster.stop().await;
    });
}

#[test]
fn without_a_majority_writes_and_strong_reads_fail() {
    support::run(async {
        let mut cluster = Cluster::found(21_080, 3, settings()).await;
        cluster.write(1, "whole", 10).await;
        cluster.halt(2).await;
        cluster.halt(3).await;
        let write = cluster.try_write(1, "half", 0, Duration::from_secs(3)).await;
        assert!(write.is_err(), "{write:?}");
        let read = cluster.try_barrier(1, 0, Duration::from_secs(1)).await;
        assert!(read.is_err(), "{read:?}");
        cluster.start(2).await;
        cluster.write(1, "majority", 10).await;
        cluster.stop().await;
    });
}

/// Calls node 1 as somebody with this certificate, saying to come from `from` and to mean `to`, in this cluster.
async fn call(tls: &Arc<NodeTls>, address: String, (from, to, cluster): (u64, u64, &str)) -> Result<(), tonic::Status> {
    let dial = Arc::clone(tls);
    let connector = tower::service_fn(move |_| {
        let (dial, address) = (Arc::clone(&dial), address.clone());
        async move { dial.connect(tokio::net::TcpStream::connect(address).await?, 1).await.map(TokioIo::new) }
    });
    let channel = tonic::transport::Endpoint::from_static("http://node").connect_with_connector_lazy(connector);
    let mut request = tonic::Request::new(proto::raft::ViewsRequest { groups: vec![0] });
    for (key, value) in [("tern-from", from.to_string()), ("tern-to", to.to_string()), ("tern-cluster", cluster.to_owned())] {
        request.metadata_mut().insert(key, value.parse().unwrap());
    }
    RaftPeerClient::new(channel).views(request).await.map(drop)
}

#[test]
fn with_tls_a_call_counts_only_from_the_node_that_the_certificate_names() {
    support::run(async {
        let cluster = Cluster::found_with_tls(21_100, 3, settings()).await;
        cluster.write(3, "over TLS", 10).await;
        cluster.assert_everywhere(10).await;
        let id = cluster.status(1).cluster_id;
        let two = cluster.certificate(2);
        let refusal = async |stamp| call(&two, cluster.address(1).to_string(), stamp).await.unwrap_err();
        call(&two, cluster.address(1).to_string(), (2, 1, &id)).await.unwrap();
        let claimed = refusal((3, 1, &id)).await;
        assert!(claimed.code() == Code::PermissionDenied && claimed.message().contains("claims to come from node 3"), "{claimed}");
        let elsewhere = refusal((2, 7, &id)).await;
        assert!(elsewhere.code() == Code::FailedPrecondition && elsewhere.message().contains("for node 7"), "{elsewhere}");
        let foreign = refusal((2, 1, "another")).await;
        assert!(foreign.code() == Code::FailedPrecondition && foreign.message().contains("of cluster another"), "{foreign}");
        // Whoever dials node 1 and reaches node 2 hangs up.
        let reached = call(&two, cluster.address(2).to_string(), (2, 1, &id)).await.unwrap_err();
        assert_eq!(reached.code(), Code::Unavailable, "{reached}");
        cluster.stop().await;
    });
}
