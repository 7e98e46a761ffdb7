//! Where the tasks of a node run, and how they reach disks and other nodes.
//!
//! Usually a process is one node: tasks go to tokio, disk work goes to threads that may block, connections to the network.
//! A simulation runs several nodes on one thread, under one clock that it owns. Each of them is a [`Host`], which its tasks
//! inherit from the one that started them; so the simulation can end all tasks of one node at once, as a loss of power does,
//! or hold them, as a stopped process is held.
//!
//! Everything of this crate starts tasks through this module, and so does openraft ([`NodeRuntime`]).

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::{TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime, TokioWatch};
use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet};
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::codegen::http::{Request, Response};
use tower::util::BoxCloneSyncService;

/// The services of a node, as its peers call them.
pub type Served = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
/// The way to the services of another node.
pub type Dialled = BoxCloneSyncService<Request<Body>, Response<Body>, StdError>;

/// One node of a simulation, as far as its tasks can see it.
pub trait Host: Send + Sync {
    /// Whether tasks of the node run now. If not, they are woken when they may.
    fn poll_running(&self, context: &mut Context<'_>) -> Poll<()>;

    /// A task of the node was started. It must end when the node does.
    fn adopt(&self, task: AbortHandle);

    /// How long the next piece of disk work takes.
    fn disk_delay(&self, work: DiskWork) -> Duration;

    /// A way to the node that listens at this address when it is called.
    fn dial(&self, address: &str) -> Dialled;

    /// Serves calls at this address until the node ends.
    fn serve(&self, address: SocketAddr, services: Served);

    /// The node's process ends, at once.
    fn end(&self, reason: &str);
}

/// What the disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskWork {
    /// One sync of the log.
    SyncLog,
    /// Anything that would be done on a thread that may block.
    Blocking,
}

thread_local! {
    static HOST: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
}

/// The simulated node whose task is running; none in production.
pub fn host() -> Option<Arc<dyn Host>> {
    HOST.with_borrow(Clone::clone)
}

/// Starts a task of the present node.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    match host() {
        None => tokio::spawn(future),
        Some(host) => spawn_on(&host, future),
    }
}

/// Starts a task of a simulated node.
pub fn spawn_on<F>(host: &Arc<dyn Host>, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let handle = tokio::spawn(hosted(host, future));
    host.adopt(handle.abort_handle());
    handle
}

/// Starts a task of the present node that belongs to a set.
pub fn spawn_in(tasks: &mut JoinSet<()>, future: impl Future<Output = ()> + Send + 'static) {
    match host() {
        None => drop(tasks.spawn(future)),
        Some(host) => host.adopt(tasks.spawn(hosted(&host, future))),
    }
}

fn hosted<F: Future + Send + 'static>(host: &Arc<dyn Host>, future: F) -> Hosted<F> {
    Hosted { host: Arc::clone(host), future: Box::pin(future) }
}

/// Does work that may block, on a thread for that.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match host() {
        None => tokio::task::spawn_blocking(work).await,
        Some(host) => {
            tokio::time::sleep(host.disk_delay(DiskWork::Blocking)).await;
            Ok(work())
        }
    }
}

/// Ends the process: what it would say from now on cannot be trusted.
pub fn end_process(reason: &str) {
    match host() {
        None => std::process::abort(),
        Some(host) => host.end(reason),
    }
}

/// A task of a simulated node.
struct Hosted<F> {
    host: Arc<dyn Host>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Hosted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        std::task::ready!(self.host.poll_running(context));
        let _present = Present::enter(Arc::clone(&self.host));
        self.future.as_mut().poll(context)
    }
}

/// Makes a host the present one until it is dropped.
struct Present {
    before: Option<Arc<dyn Host>>,
}

impl Present {
    fn enter(host: Arc<dyn Host>) -> Self {
        Self { before: HOST.replace(Some(host)) }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        HOST.set(self.before.take());
    }
}

/// Tokio for openraft, whose tasks have a host like all others.
pub struct NodeRuntime(TokioRuntime);

impl std::fmt::Debug for NodeRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl AsyncRuntime for NodeRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: TokioInstant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: TokioInstant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
