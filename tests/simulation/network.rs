//! The network between machines: calls travel, frame by frame, and may be late, lost, broken off or delivered twice.
//!
//! It stands in HTTP/2's place, right below tonic: a call is an HTTP request whose body is a stream of frames. Frames of one
//! stream keep their order, as in a TCP connection; streams overtake each other. A link that is cut holds frames back; if it
//! stays cut for longer than the keep-alive the stream breaks on both ends. A call that breaks may have been served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use parking_lot::Mutex;
use raft::runtime::{self, Dialled, Host, Served};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, service_fn};

use crate::plan::Weather;
use crate::randomness::Chance;
use crate::trace::{Trace, tell};

/// Counts machines, from 1; [`OPERATOR`] is no machine.
pub type MachineId = u64;
/// Where operators sit: their calls are never cut.
const OPERATOR: MachineId = 0;

/// A broken link is noticed after this time: two keep-alives of the real transport.
const KEEPALIVE: Duration = Duration::from_secs(4);
/// Frames of a stream that wait for the reader.
const FRAMES_AHEAD: usize = 16;
/// Calls with one message each way, which a confused network may deliver twice.
const REPEATABLE: [&str; 7] = ["Hello", "Heartbeat", "RequestVote", "TransferLeader", "ReadIndex", "Views", "PeerStatus"];

type Frames = mpsc::Sender<Result<Frame<Bytes>, Status>>;
type StdError = Box<dyn std::error::Error + Send + Sync>;

/// Clones are the same network.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    chance: Mutex<Chance>,
    weather: Mutex<Weather>,
    listeners: Mutex<BTreeMap<String, Listener>>,
    /// Links that let nothing through: from, to. Changes wake who waits.
    cut: watch::Sender<BTreeSet<(MachineId, MachineId)>>,
    trace: Trace,
}

#[derive(Clone)]
struct Listener {
    machine: MachineId,
    host: Arc<dyn Host>,
    services: Served,
}

/// One direction of one call.
#[derive(Clone)]
struct Way {
    network: Network,
    from: MachineId,
    to: MachineId,
    path: Arc<str>,
}

impl Network {
    pub fn new(chance: Chance, weather: Weather, trace: Trace) -> Self {
        let shared = Shared {
            chance: Mutex::new(chance),
            weather: Mutex::new(weather),
            listeners: Mutex::default(),
            cut: watch::Sender::default(),
            trace,
        };
        Self { shared: Arc::new(shared) }
    }

    pub fn set_weather(&self, weather: Weather) {
        *self.shared.weather.lock() = weather;
    }

    pub fn set_cut(&self, cut: BTreeSet<(MachineId, MachineId)>) {
        self.shared.cut.send_replace(cut);
    }

    /// The present host serves an address from now on.
    pub fn listen(&self, machine: MachineId, address: &str, services: Served) {
        if let Some(host) = runtime::host() {
            self.shared.listeners.lock().insert(address.to_owned(), Listener { machine, host, services });
        }
    }

    /// A machine answers no more.
    pub fn hang_up(&self, machine: MachineId) {
        self.shared.listeners.lock().retain(|_, listener| listener.machine != machine);
    }

    /// A way from a machine to whoever listens at the address when it is called.
    pub fn dial(&self, from: MachineId, address: &str) -> Dialled {
        let (network, address) = (self.clone(), address.to_owned());
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let (network, address) = (network.clone(), address.clone());
            async move { network.call(from, &address, request).await }
        }))
    }

    /// A way from where operators sit, which is never cut.
    pub fn dial_as_operator(&self, address: &str) -> BoxCloneSyncService<Request<Body>, Response<Body>, Status> {
        let (network, address) = (self.clone(), address.to_owned());
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let (network, address) = (network.clone(), address.clone());
            async move { network.call(OPERATOR, &address, request).await.map_err(|error| Status::unavailable(error.to_string())) }
        }))
    }

    async fn call(&self, from: MachineId, address: &str, request: Request<Body>) -> Result<Response<Body>, StdError> {
        let path: Arc<str> = Arc::from(request.uri().path().rsplit('/').next().unwrap_or_default());
        let listener = self.shared.listeners.lock().get(address).cloned();
        let Some(listener) = listener else {
            tokio::time::sleep(self.latency()).await;
            return Err(broken("connection refused"));
        };
        let there = Way { network: self.clone(), from, to: listener.machine, path: Arc::clone(&path) };
        let back = Way { network: self.clone(), from: listener.machine, to: from, path };
        let request = match there.draws(|weather| weather.duplicated) && REPEATABLE.contains(&&*there.path) {
            true => there.send_twice(request, &listener).await?,
            false => request,
        };
        // The other end hears of it when the caller loses interest.
        let interest = CancellationToken::new();
        let caller = interest.clone().drop_guard();
        let (head, answer) = oneshot::channel();
        tokio::spawn(there.deliver(request, listener, back, interest, head));
        let response = answer.await.unwrap_or_else(|_| Err(broken("connection reset")))?;
        Ok(response.map(|body| guarded(body, caller)))
    }

    fn latency(&self) -> Duration {
        let mut chance = self.shared.chance.lock();
        let weather = self.shared.weather.lock();
        let mut latency = chance.microseconds(50, 50 + weather.latency_max.as_micros() as u64);
        if chance.per_mille(weather.delayed) {
            latency += chance.microseconds(0, weather.delay_max.as_micros() as u64);
        }
        latency
    }
}

impl Way {
    fn draws(&self, times: impl Fn(&Weather) -> u32) -> bool {
        let times = times(&self.network.shared.weather.lock());
        self.network.shared.chance.lock().per_mille(times)
    }

    fn is_cut(&self, cut: &BTreeSet<(MachineId, MachineId)>) -> bool {
        self.from != OPERATOR && self.to != OPERATOR && cut.contains(&(self.from, self.to))
    }

    /// Returns when something sent now arrives. False: the connection is broken.
    async fn travel(&self) -> bool {
        tokio::time::sleep(self.network.latency()).await;
        let mut cut = self.network.shared.cut.subscribe();
        let open = cut.wait_for(|cut| !self.is_cut(cut));
        matches!(tokio::time::timeout(KEEPALIVE, open).await, Ok(Ok(_)))
    }

    /// Delivers a request and everything that follows, to the end of both streams.
    async fn deliver(
        self,
        request: Request<Body>,
        listener: Listener,
        back: Way,
        interest: CancellationToken,
        head: oneshot::Sender<Result<Response<Body>, StdError>>,
    ) {
        if !self.travel().await || self.draws(|weather| weather.lost) {
            tell!(self.network.shared.trace, "{} {}→{} lost", self.path, self.from, self.to);
            let _ = head.send(Err(broken("connection reset")));
            return;
        }
        tell!(self.network.shared.trace, "{} {}→{}", self.path, self.from, self.to);
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, self.clone().carried(body));
        let host = Arc::clone(&listener.host);
        // Runs as a task of the callee: it ends and stands still with it.
        runtime::spawn_on(&host, async move {
            let serving = serve(listener.services, request, back.clone(), head);
            tokio::select! {
                biased;
                () = serving => {}
                () = interest.cancelled() => {}
            }
        });
    }

    /// A body whose frames travel.
    fn carried(self, mut body: Body) -> Body {
        let (frames, arrived) = mpsc::channel(FRAMES_AHEAD);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                if !self.pass(frame, &frames).await {
                    return;
                }
            }
        });
        Body::new(StreamBody::new(ReceiverStream::new(arrived)))
    }

    /// Carries one frame. False: nothing more will pass.
    async fn pass(&self, frame: Result<Frame<Bytes>, Status>, frames: &Frames) -> bool {
        if !self.travel().await {
            let _ = frames.send(Err(Status::unavailable("connection lost"))).await;
            return false;
        }
        let last = frame.is_err();
        frames.send(frame).await.is_ok() && !last
    }

    /// Sends a copy that arrives at some other moment and whose answer nobody hears; answers the request itself.
    async fn send_twice(&self, request: Request<Body>, listener: &Listener) -> Result<Request<Body>, StdError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let copy = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
        let (way, listener) = (self.clone(), listener.clone());
        let late = self.network.shared.chance.lock().milliseconds(0, 3_000);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            // Whoever listened then may be gone; a task of an ended process never runs.
            tell!(way.network.shared.trace, "{} {}→{} again", way.path, way.from, way.to);
            let mut services = listener.services.clone();
            runtime::spawn_on(&listener.host, async move {
                let Ok(response) = services.call(copy).await;
                let _ = response.into_body().collect().await;
            });
        });
        Ok(Request::from_parts(parts, Body::new(Full::new(body))))
    }
}

/// On the callee: has the call served and sends its answer back.
async fn serve(mut services: Served, request: Request<Body>, back: Way, head: oneshot::Sender<Result<Response<Body>, StdError>>) {
    let Ok(response) = services.call(request).await;
    let (parts, mut body) = response.into_parts();
    let (frames, sent) = mpsc::channel::<Result<Frame<Bytes>, Status>>(FRAMES_AHEAD);
    let outgoing = Body::new(StreamBody::new(ReceiverStream::new(sent)));
    tokio::spawn(async move {
        if !back.travel().await || back.draws(|weather| weather.lost) {
            tell!(back.network.shared.trace, "{} {}→{} answer lost", back.path, back.from, back.to);
            let _ = head.send(Err(broken("connection reset")));
            return;
        }
        let _ = head.send(Ok(Response::from_parts(parts, back.carried(outgoing))));
    });
    // Driven here, because it is the callee's code that makes the frames.
    while let Some(frame) = body.frame().await {
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

/// The body, and with it the caller's interest.
fn guarded(body: Body, interest: DropGuard) -> Body {
    let frames = http_body_util::BodyStream::new(body);
    Body::new(StreamBody::new(frames.map(move |frame| {
        let _held = &interest;
        frame
    })))
}

fn broken(reason: &str) -> StdError {
    Box::new(Status::unavailable(reason))
}
