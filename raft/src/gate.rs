//! Stands before every service of a node: a call passes when it reached the node it was meant for, from a node of this
//! cluster, over a connection that may speak for that node.
//!
//! Only a node that wants to join has no id yet; it may ask for one, and nothing else. Operators' commands travel inside a
//! node (from its HTTP side), so from outside they need a node's certificate where there are certificates.

use std::collections::BTreeSet;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use crate::dial::Seldom;
use crate::incoming::PeerCertificate;
use crate::peers::StampCheck;
use crate::types::NodeId;

/// What is asked before there is an id to be asked by.
const JOIN: &str = "/tern.raft.v1.Admin/Join";
const ADMIN: &str = "/tern.raft.v1.Admin/";

/// Puts a [`Gate`] before a service.
#[derive(Clone)]
pub struct GateLayer {
    stamp: StampCheck,
    complaints: Arc<Seldom>,
}

impl GateLayer {
    pub fn new(stamp: StampCheck) -> Self {
        Self { stamp, complaints: Arc::default() }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    layer: GateLayer,
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.layer.check(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

impl GateLayer {
    fn check<B>(&self, request: &Request<B>) -> Result<(), Status> {
        let proven = request.extensions().get::<PeerCertificate>().and_then(|certificate| certificate.0.clone());
        let path = request.uri().path();
        let passed = if path.starts_with(ADMIN) {
            check_admin(path, proven.as_deref())
        } else {
            self.stamp.check(request.headers(), proven.as_deref())
        };
        passed.inspect_err(|status| {
            if self.complaints.is_due() {
                tracing::warn!(path, reason = status.message(), "refused a call of another node");
            }
        })
    }
}

fn check_admin(path: &str, proven: Option<&BTreeSet<NodeId>>) -> Result<(), Status> {
    match proven {
        Some(nodes) if path != JOIN && nodes.is_empty() => Err(Status::permission_denied("the certificate names no node")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_no_id_may_ask_for_one_and_nothing_else() {
        let nobody = BTreeSet::new();
        assert!(check_admin(JOIN, Some(&nobody)).is_ok());
        assert!(check_admin("/tern.raft.v1.Admin/RemoveNode", Some(&nobody)).is_err());
        assert!(check_admin("/tern.raft.v1.Admin/RemoveNode", Some(&BTreeSet::from([2]))).is_ok());
        assert!(check_admin("/tern.raft.v1.Admin/RemoveNode", None).is_ok(), "without TLS");
    }
}
