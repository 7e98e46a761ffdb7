//! The typed settings, read once at the start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use promql::regex::AnchoredRegex;

use super::bulk_read::BulkReadSettings;
use super::features::Features;
use super::layers::Layers;
use super::otlp::OtlpSettings;
use super::security::{AuthSettings, TlsSettings};
use super::{ConfigError, value};

/// gRPC listens this many ports above HTTP unless told otherwise.
const GRPC_PORT_OFFSET: u16 = 100;

/// Which samples an answer must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Everything acknowledged before the query began; needs a quorum.
    Strong,
    /// What this node has.
    Eventual,
}

impl Consistency {
    pub fn parse(text: &str) -> Result<Consistency, String> {
        match text {
            "strong" => Ok(Consistency::Strong),
            "eventual" => Ok(Consistency::Eventual),
            _ => Err("write strong or eventual".to_string()),
        }
    }
}

/// Who may call the administrative endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAccess {
    Loopback,
    Any,
    Nobody,
}

/// A first member of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub id: u64,
    pub grpc: String,
    pub http: String,
}

/// How a new node finds the cluster that it shall join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// Through the HTTP address of a member, which must answer without TLS and credentials.
    Ask(String),
    /// Members that are known.
    Members(Vec<Peer>),
}

#[derive(Clone, Debug)]
pub struct ClusterSettings {
    pub shards_per_node: u32,
    pub replication_factor: u32,
}

#[derive(Clone, Debug)]
pub struct RaftSettings {
    pub heartbeat: Duration,
    pub election_timeout_min: Duration,
    pub election_timeout_max: Duration,
    pub merge_wait: Duration,
    pub merge_bytes: usize,
    pub in_flight_bytes: usize,
    pub quorum_wait: Duration,
    pub log_retain_bytes: usize,
    /// None: leadership stays where elections put it.
    pub balance_after: Option<Duration>,
    pub threads: usize,
}

#[derive(Clone, Debug)]
pub struct StorageSettings {
    pub retention: Duration,
    pub block_cache: usize,
    pub head_bytes: usize,
    pub head_age: Duration,
    pub log_bytes: usize,
    pub exemplars_max: usize,
    pub scrub: ScrubSettings,
    pub space: SpaceSettings,
}

#[derive(Clone, Copy, Debug)]
pub struct SpaceSettings {
    /// 0: a part of the disk.
    pub free_bytes_min: u64,
    pub reserve_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct ScrubSettings {
    /// None: never.
    pub interval: Option<Duration>,
    pub bytes_per_second: usize,
}

#[derive(Clone, Debug)]
pub struct IngestSettings {
    pub body_bytes: usize,
    pub decompressed_bytes: usize,
    pub bytes_in_flight_max: usize,
    pub timeout: Duration,
    pub concurrency: usize,
    pub future_limit: Duration,
    pub series_cache_entries: usize,
}

#[derive(Clone, Debug)]
pub struct InfluxSettings {
    /// Between a measurement and a field in a metric's name.
    pub separator: String,
    /// What `SHOW DATABASES` answers.
    pub databases: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct QuerySettings {
    pub consistency: Consistency,
    pub timeout: Duration,
    pub barrier_timeout: Duration,
    /// Resolved: never zero.
    pub concurrency: usize,
    pub samples_max: usize,
    pub memory_bytes: usize,
    pub points_max: usize,
    pub lookback: Duration,
    pub text_bytes: usize,
    pub series_max: usize,
    pub slow_log: Duration,
    /// Finished queries remembered for the list of the heaviest ones.
    pub history: usize,
}

#[derive(Clone, Debug)]
pub struct WebSettings {
    pub connections: usize,
    pub header_timeout: Duration,
    pub header_bytes: usize,
    pub headers_max: usize,
    pub idle_timeout: Duration,
    pub read_timeout: Duration,
    pub body_timeout: Duration,
    /// Bytes a second; 0: however little.
    pub body_rate_min: usize,
    pub write_timeout: Duration,
    pub http2_streams: u32,
    pub http2_resets: usize,
    pub admin: AdminAccess,
    pub enable_admin_api: bool,
    /// Whether `/-/quit` and `/-/reload` work.
    pub lifecycle: bool,
    /// Must match a page's whole origin for its scripts to read answers.
    pub cors_origin: AnchoredRegex,
    /// Results of one search; 0: no bound.
    pub search_limit: usize,
    pub notification_subscribers: usize,
    /// Resolved: never zero.
    pub threads: usize,
    pub shutdown_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub level: String,
    pub json: bool,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub advertise_http: String,
    pub advertise_grpc: String,
    pub node_id: u64,
    pub peers: Vec<Peer>,
    pub join: Option<Join>,
    pub features: Features,
    pub cluster: ClusterSettings,
    pub raft: RaftSettings,
    pub storage: StorageSettings,
    pub ingest: IngestSettings,
    pub otlp: OtlpSettings,
    pub influx: InfluxSettings,
    pub query: QuerySettings,
    pub bulk_read: BulkReadSettings,
    pub web: WebSettings,
    pub log: LogSettings,
    pub tls: TlsSettings,
    pub auth: AuthSettings,
}

impl Settings {
    pub fn read(layers: &Layers) -> Result<Settings, ConfigError> {
        let http = layers.read("http", value::socket_address)?;
        let grpc = layers.read("grpc", |text| if text.is_empty() { grpc_beside(http) } else { value::socket_address(text) })?;
        let advertise = |name, listen: SocketAddr| {
            layers.read(name, |text| if text.is_empty() { Ok(listen.to_string()) } else { value::dial_address(text) })
        };
        let peers = layers.read("peers", parse_peers)?;
        let join = layers.read("join", |text| parse_join(text, &peers))?;
        let node_id = layers.read("node_id", |text| parse_node_id(text, &peers))?;
        let settings = Settings {
            data_dir: layers.read("data_dir", parse_data_dir)?,
            http,
            grpc,
            advertise_http: advertise("advertise_http", http)?,
            advertise_grpc: advertise("advertise_grpc", grpc)?,
            node_id,
            peers,
            join,
            features: layers.read("features", Features::parse)?,
            cluster: read_cluster(layers)?,
            raft: read_raft(layers)?,
            storage: read_storage(layers)?,
            ingest: read_ingest(layers)?,
            otlp: OtlpSettings::read(layers)?,
            influx: read_influx(layers)?,
            query: read_query(layers)?,
            bulk_read: BulkReadSettings::read(layers)?,
            web: read_web(layers)?,
            log: read_log(layers)?,
            tls: TlsSettings::read(layers)?,
            auth: AuthSettings::read(layers)?,
        };
        check_encrypted(layers, &settings)?;
        Ok(settings)
    }
}

/// Refuses settings with which this node would speak in the clear with others that are not on the same machine.
fn check_encrypted(layers: &Layers, settings: &Settings) -> Result<(), ConfigError> {
    let is_alone = settings.peers.len() < 2 && settings.join.is_none();
    let address = settings.grpc.ip();
    layers.read("cluster.insecure", |text| match value::flag(text)? {
        false if !is_alone && settings.tls.node.is_none() && !address.to_canonical().is_loopback() => Err(format!(
            "nodes would speak in the clear through {address}, where others can listen in and take part: set tls.node_ca, \
             tls.node_certificate and tls.node_key, or true if nobody else is on that network"
        )),
        _ => Ok(()),
    })
}

fn read_cluster(layers: &Layers) -> Result<ClusterSettings, ConfigError> {
    Ok(ClusterSettings {
        shards_per_node: layers.read("cluster.shards_per_node", |text| match text.parse::<u32>() {
            Ok(shards @ 1..=64) => Ok(shards),
            _ => Err("write a number of shards from 1 to 64".to_string()),
        })?,
        replication_factor: layers.read("cluster.replication_factor", |text| match text.parse::<u32>() {
            Ok(factor @ (1 | 3 | 5 | 7)) => Ok(factor),
            _ => Err("write 1, 3, 5 or 7: an even number survives no more failures than the odd one below it".to_string()),
        })?,
    })
}

fn read_raft(layers: &Layers) -> Result<RaftSettings, ConfigError> {
    let heartbeat = layers.read("raft.heartbeat", value::duration_above_zero)?;
    let election_timeout_min = layers.read("raft.election_timeout_min", |text| {
        let value = value::duration_above_zero(text)?;
        if value < heartbeat * 2 { Err(format!("must be at least twice raft.heartbeat ({heartbeat:?})")) } else { Ok(value) }
    })?;
    let election_timeout_max = layers.read("raft.election_timeout_max", |text| {
        let value = value::duration_above_zero(text)?;
        if value <= election_timeout_min { Err("must be above raft.election_timeout_min".to_string()) } else { Ok(value) }
    })?;
    Ok(RaftSettings {
        heartbeat,
        election_timeout_min,
        election_timeout_max,
        merge_wait: layers.read("raft.merge_wait", value::duration)?,
        merge_bytes: layers.read("raft.merge_bytes", value::size_above_zero)?,
        in_flight_bytes: layers.read("raft.in_flight_bytes", value::size_above_zero)?,
        quorum_wait: layers.read("raft.quorum_wait", |text| {
            let (value, least) = (value::duration_above_zero(text)?, election_timeout_max * 2);
            if value < least {
                Err(format!("must be at least twice raft.election_timeout_max, {least:?}: that long is an election"))
            } else {
                Ok(value)
            }
        })?,
        log_retain_bytes: layers.read("raft.log_retain_bytes", value::parse_size)?,
        balance_after: Some(layers.read("raft.balance_after", value::duration)?).filter(|after| !after.is_zero()),
        threads: layers.read("raft.threads", value::count_above_zero)?,
    })
}

fn read_storage(layers: &Layers) -> Result<StorageSettings, ConfigError> {
    Ok(StorageSettings {
        retention: layers.read("storage.retention", value::duration_above_zero)?,
        block_cache: layers.read("storage.block_cache", value::size_above_zero)?,
        head_bytes: layers.read("storage.head_bytes", value::size_above_zero)?,
        head_age: layers.read("storage.head_age", value::duration_above_zero)?,
        log_bytes: layers.read("storage.log_bytes", value::size_above_zero)?,
        exemplars_max: layers.read("storage.exemplars_max", value::count)?,
        space: SpaceSettings {
            free_bytes_min: layers.read("storage.free_bytes_min", value::parse_size)? as u64,
            reserve_bytes: layers.read("storage.reserve_bytes", value::parse_size)? as u64,
        },
        scrub: ScrubSettings {
            interval: Some(layers.read("storage.scrub_interval", value::duration)?).filter(|interval| !interval.is_zero()),
            bytes_per_second: layers.read("storage.scrub_bytes_per_second", value::size_above_zero)?,
        },
    })
}

fn read_ingest(layers: &Layers) -> Result<IngestSettings, ConfigError> {
    Ok(IngestSettings {
        body_bytes: layers.read("ingest.body_bytes", value::size_above_zero)?,
        decompressed_bytes: layers.read("ingest.decompressed_bytes", value::size_above_zero)?,
        bytes_in_flight_max: layers.read("ingest.bytes_in_flight_max", value::size_above_zero)?,
        timeout: layers.read("ingest.timeout", value::duration_above_zero)?,
        concurrency: layers.read("ingest.concurrency", value::count_above_zero)?,
        future_limit: layers.read("ingest.future_limit", value::duration)?,
        series_cache_entries: layers.read("ingest.series_cache_entries", value::count_above_zero)?,
    })
}

fn read_influx(layers: &Layers) -> Result<InfluxSettings, ConfigError> {
    let databases = |text: &str| Ok(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_string).collect());
    Ok(InfluxSettings {
        separator: layers.read("influx.separator", |text| Ok(text.to_string()))?,
        databases: layers.read("influx.databases", databases)?,
    })
}

fn read_query(layers: &Layers) -> Result<QuerySettings, ConfigError> {
    let concurrency = layers.read("query.concurrency", value::count)?;
    Ok(QuerySettings {
        consistency: layers.read("query.consistency", Consistency::parse)?,
        timeout: layers.read("query.timeout", value::duration_above_zero)?,
        barrier_timeout: layers.read("query.barrier_timeout", value::duration_above_zero)?,
        concurrency: if concurrency == 0 { cores() * 2 } else { concurrency },
        samples_max: layers.read("query.samples_max", value::count_above_zero)?,
        memory_bytes: layers.read("query.memory_bytes", value::size_above_zero)?,
        points_max: layers.read("query.points_max", value::count_above_zero)?,
        lookback: layers.read("query.lookback", value::duration_above_zero)?,
        text_bytes: layers.read("query.text_bytes", value::size_above_zero)?,
        series_max: layers.read("query.series_max", value::count)?,
        slow_log: layers.read("query.slow_log", value::duration)?,
        history: layers.read("query.history", value::count)?,
    })
}

fn read_web(layers: &Layers) -> Result<WebSettings, ConfigError> {
    let threads = layers.read("web.threads", value::count)?;
    Ok(WebSettings {
        connections: layers.read("web.connections", value::count_above_zero)?,
        header_timeout: layers.read("web.header_timeout", value::duration_above_zero)?,
        header_bytes: layers.read("web.header_bytes", value::size_above_zero)?,
        headers_max: layers.read("web.headers_max", value::count_above_zero)?,
        idle_timeout: layers.read("web.idle_timeout", value::duration_above_zero)?,
        read_timeout: layers.read("web.read_timeout", value::duration_above_zero)?,
        body_timeout: layers.read("web.body_timeout", value::duration_above_zero)?,
        body_rate_min: layers.read("web.body_rate_min", value::parse_size)?,
        write_timeout: layers.read("web.write_timeout", value::duration_above_zero)?,
        http2_streams: layers.read("web.http2_streams", |text| {
            let streams = value::count_above_zero(text)?;
            u32::try_from(streams).map_err(|_| "write a number below 4 billion".to_string())
        })?,
        http2_resets: layers.read("web.http2_resets", value::count_above_zero)?,
        admin: layers.read("web.admin", |text| match text {
            "loopback" => Ok(AdminAccess::Loopback),
            "any" => Ok(AdminAccess::Any),
            "none" => Ok(AdminAccess::Nobody),
            _ => Err("write loopback, any or none".to_string()),
        })?,
        enable_admin_api: layers.read("web.enable_admin_api", value::flag)?,
        lifecycle: layers.read("web.lifecycle", value::flag)?,
        cors_origin: layers.read("web.cors_origin", |text| AnchoredRegex::new(text).map_err(|error| error.to_string()))?,
        search_limit: layers.read("web.search_limit", value::count)?,
        notification_subscribers: layers.read("web.notification_subscribers", value::count)?,
        threads: if threads == 0 { cores() } else { threads },
        shutdown_timeout: layers.read("web.shutdown_timeout", value::duration)?,
    })
}

fn read_log(layers: &Layers) -> Result<LogSettings, ConfigError> {
    Ok(LogSettings {
        level: layers.read("log.level", |text| {
            tracing_subscriber::EnvFilter::try_new(text).map_err(|error| format!("{error}; write error, warn or info"))?;
            Ok(text.to_string())
        })?,
        json: layers.read("log.format", |text| match text {
            "text" => Ok(false),
            "json" => Ok(true),
            _ => Err("write text or json".to_string()),
        })?,
    })
}

fn parse_data_dir(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("write the folder that shall hold the data".to_string()) } else { Ok(PathBuf::from(text)) }
}

fn parse_peers(text: &str) -> Result<Vec<Peer>, String> {
    let mut peers: Vec<Peer> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let peer = parse_peer(part).ok_or_else(|| format!("{part:?} is not ID=GRPC_ADDRESS/HTTP_ADDRESS"))?;
        if peers.iter().any(|other| other.id == peer.id || other.grpc == peer.grpc || other.http == peer.http) {
            return Err(format!("{part:?} repeats an id or an address"));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn parse_peer(text: &str) -> Option<Peer> {
    let (id, addresses) = text.split_once('=')?;
    let (grpc, http) = addresses.split_once('/')?;
    let id = id.trim().parse().ok().filter(|&id| id > 0)?;
    Some(Peer { id, grpc: value::dial_address(grpc.trim()).ok()?, http: value::dial_address(http.trim()).ok()? })
}

fn parse_join(text: &str, peers: &[Peer]) -> Result<Option<Join>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if !peers.is_empty() {
        return Err("a node either starts a cluster (peers) or joins one (join); leave one of them empty".to_string());
    }
    if text.contains('=') {
        return parse_peers(text).map(|members| Some(Join::Members(members)));
    }
    if text.starts_with("https://") {
        return Err("a cluster that speaks HTTPS is joined through ID=GRPC_ADDRESS/HTTP_ADDRESS,… of its members".to_string());
    }
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    value::dial_address(address).map(|address| Some(Join::Ask(address)))
}

fn parse_node_id(text: &str, peers: &[Peer]) -> Result<u64, String> {
    let id: u64 = text.parse().map_err(|_| "not a whole number".to_string())?;
    match (id, peers.is_empty()) {
        (0, false) => Err("peers is set, so this node must say which of them it is".to_string()),
        (_, false) if peers.iter().all(|peer| peer.id != id) => Err("is not one of the ids in peers".to_string()),
        _ => Ok(id),
    }
}

fn grpc_beside(http: SocketAddr) -> Result<SocketAddr, String> {
    let port = http.port().checked_add(GRPC_PORT_OFFSET).ok_or("the HTTP port is too high to add 100; set grpc")?;
    Ok(SocketAddr::new(http.ip(), port))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use super::super::Manual;
    use super::*;

    fn with(flags: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let mut layers = Layers::defaults(Manual::read());
        for (name, value) in flags {
            layers.lay_flag(name, (*value).to_string())?;
        }
        Settings::read(&layers)
    }

    #[test]
    fn the_defaults_are_a_working_single_node() {
        let settings = with(&[]).expect("defaults are valid");
        assert_eq!(settings.grpc.port(), 9301);
        assert!(settings.peers.is_empty() && settings.join.is_none());
        assert_eq!(settings.ingest.body_bytes, 32 << 20);
        assert_eq!(settings.storage.retention, Duration::from_secs(15 * 86_400));
    }

    #[test]
    fn peers_name_every_first_member() {
        let peers = "1=127.0.0.1:9301/127.0.0.1:9201, 2=127.0.0.1:9302/127.0.0.1:9202";
        let settings = with(&[("peers", peers), ("node_id", "2")]).expect("valid");
        assert_eq!(settings.peers[1], Peer { id: 2, grpc: "127.0.0.1:9302".into(), http: "127.0.0.1:9202".into() });
    }

    #[test]
    fn nodes_speak_in_the_clear_only_on_loopback_or_when_told() {
        let peers = [("peers", "1=10.0.0.1:9301/10.0.0.1:9201,2=10.0.0.2:9301/10.0.0.2:9201"), ("node_id", "1")];
        let refusal = |more: &[(&str, &str)]| with(&[&peers, more].concat()).map(drop).map_err(|error| error.to_string());
        for http in ["0.0.0.0:9201", "10.0.0.1:9201", "[::]:9201"] {
            let error = refusal(&[("http", http)]).expect_err(http);
            assert!(error.contains("cluster.insecure") && error.contains("tls.node_ca"), "{error}");
        }
        assert_eq!(refusal(&[("http", "10.0.0.1:9201"), ("cluster.insecure", "true")]), Ok(()));
        assert_eq!(refusal(&[("http", "10.0.0.1:9201"), ("grpc", "127.0.0.1:9301")]), Ok(()));
        let files = [("tls.node_ca", "a"), ("tls.node_certificate", "c"), ("tls.node_key", "k")];
        assert_eq!(refusal(&[&files[..], &[("http", "10.0.0.1:9201")]].concat()), Ok(()));
        assert!(with(&[("http", "0.0.0.0:9201")]).is_ok(), "alone there is nobody to speak to");
        assert!(with(&[("http", "0.0.0.0:9201"), ("join", "10.0.0.1:9201")]).is_err());
    }

    #[test]
    fn a_cluster_is_joined_through_an_address_or_known_members() {
        let join = |text| with(&[("join", text)]).map(|settings| settings.join).map_err(|error| error.to_string());
        assert_eq!(join("http://a:9201/"), Ok(Some(Join::Ask("a:9201".into()))));
        let members = join("1=a:9301/a:9201,2=b:9301/b:9201").expect("valid").expect("to join");
        assert!(matches!(members, Join::Members(peers) if peers.len() == 2 && peers[1].grpc == "b:9301"));
        assert!(join("https://a:9201").expect_err("needs to trust it").contains("ID=GRPC_ADDRESS"));
    }

    #[test]
    fn errors_name_the_setting_the_origin_and_the_remedy() {
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[("query.timeout", "soon")], "setting query.timeout = \"soon\" (from flag --query-timeout): not a duration"),
            (&[("peers", "1=a:1/b:2")], "setting node_id"),
            (&[("peers", "1=a:1/b:2"), ("node_id", "3")], "not one of the ids"),
            (&[("peers", "1=a:1/b:2,1=c:1/d:2"), ("node_id", "1")], "repeats an id"),
            (&[("raft.election_timeout_min", "100ms")], "twice raft.heartbeat"),
            (&[("raft.quorum_wait", "1s")], "twice raft.election_timeout_max, 1.2s"),
            (&[("cluster.replication_factor", "2")], "write 1, 3, 5 or 7"),
        ];
        for (flags, expected) in cases {
            let error = with(flags).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
