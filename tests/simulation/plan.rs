//! What one seed will do: sizes, settings, and its own mix of faults ("swarm testing", Groce and others 2012: runs that leave
//! some faults out altogether find more than runs that always do a little of everything).

use std::time::Duration;

use raft::Settings;

use crate::randomness::Chance;

/// How often, of a thousand looks (one each [`LOOK_INTERVAL`]), each fault begins.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub crash: u32,
    pub crash_all: u32,
    pub partition: u32,
    pub pause: u32,
    pub slow_disk: u32,
    pub sync_error: u32,
    pub lying_disk: u32,
    pub transfer: u32,
    pub seal: u32,
    pub replace: u32,
}

/// What happens to messages, each so many times in a thousand.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub lost: u32,
    pub duplicated: u32,
    pub delayed: u32,
    pub delay_max: Duration,
    pub latency_max: Duration,
}

/// One seed's plan.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: u64,
    pub clients: u64,
    pub settings: Settings,
    pub faults: Faults,
    pub weather: Weather,
    pub sync_max: Duration,
    /// Of a thousand crashes, how many leave a part of what was not synced.
    pub torn: u32,
    /// How long faults go on.
    pub unrest: Duration,
}

/// The nemesis looks, and the invariants are checked, this often.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Plan {
    pub fn draw(chance: &mut Chance) -> Self {
        Self {
            nodes: if chance.per_mille(150) { 5 } else { 3 },
            clients: chance.between(2, 4),
            settings: settings(chance),
            faults: faults(chance),
            weather: weather(chance),
            sync_max: Duration::from_micros(*chance.pick(&[300, 3_000, 20_000]).unwrap_or(&300)),
            torn: *chance.pick(&[0, 500, 1000]).unwrap_or(&0),
            unrest: chance.milliseconds(10_000, 25_000),
        }
    }
}

fn settings(chance: &mut Chance) -> Settings {
    let (heartbeat, shortest) = *chance.pick(&[(100, 300), (50, 150), (150, 500)]).unwrap_or(&(100, 300));
    Settings {
        heartbeat_interval: Duration::from_millis(heartbeat),
        election_timeout_min: Duration::from_millis(shortest),
        election_timeout_max: Duration::from_millis(2 * shortest),
        quorum_wait: Duration::from_millis(6 * shortest),
        entries_in_flight_max: chance.between(1, 16) as usize,
        append_bytes_max: *chance.pick(&[1 << 9, 1 << 12, 4 << 20]).unwrap_or(&(1 << 12)),
        log_cache_bytes_max: *chance.pick(&[0, 1 << 12, 16 << 20]).unwrap_or(&0),
        seal_samples: chance.between(5, 400),
        seal_log_bytes: chance.between(1 << 10, 1 << 16),
        seal_interval: chance.milliseconds(500, 30_000),
        seal_check_interval: chance.milliseconds(100, 1_000),
        log_retain_bytes: *chance.pick(&[0, 1 << 11, 1 << 14]).unwrap_or(&0),
        meta_seal_entries: chance.between(3, 100),
        reconcile_interval: Duration::from_millis(250),
        balance_interval: chance.per_mille(500).then(|| Duration::from_secs(5)),
        snapshot_idle_timeout: Duration::from_secs(5),
        shards_per_node: 1,
        ..Settings::default()
    }
}

/// Each fault is absent from half of the seeds.
fn faults(chance: &mut Chance) -> Faults {
    let mut often = |most: u32| match chance.per_mille(500) {
        true => 0,
        false => chance.between(1, u64::from(most)) as u32,
    };
    Faults {
        crash: often(25),
        crash_all: often(4),
        partition: often(25),
        pause: often(15),
        slow_disk: often(10),
        sync_error: often(5),
        lying_disk: often(5),
        transfer: often(20),
        seal: often(30),
        replace: often(5),
    }
}

fn weather(chance: &mut Chance) -> Weather {
    if chance.per_mille(200) {
        return Weather { latency_max: Duration::from_micros(500), ..Weather::default() };
    }
    Weather {
        lost: chance.between(0, 40) as u32,
        duplicated: chance.between(0, 60) as u32,
        delayed: chance.between(0, 60) as u32,
        delay_max: chance.milliseconds(10, 2_000),
        latency_max: chance.microseconds(200, 20_000),
    }
}
