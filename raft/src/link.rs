//! A connection to a peer: over the network, or inside a simulation.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Channel;
use tower::Service;

use crate::runtime::Dialled;

/// See the module's story; cheap to clone.
#[derive(Clone)]
pub enum Link {
    /// HTTP/2, made when first used and again when it broke.
    Network(Channel),
    /// What the simulation made.
    Simulated(Dialled),
}

impl Service<Request<Body>> for Link {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Response<Body>, StdError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        match self {
            Self::Network(channel) => channel.poll_ready(context).map_err(StdError::from),
            Self::Simulated(dialled) => dialled.poll_ready(context),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Network(channel) => {
                let answer = channel.call(request);
                Box::pin(async move { answer.await.map_err(StdError::from) })
            }
            Self::Simulated(dialled) => dialled.call(request),
        }
    }
}
