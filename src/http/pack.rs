//! Around every answer of the API: the small ones that handlers return whole are packed as the client accepts. Large
//! answers flow through `stream` and come here packed.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::stream::{self, Encoding, vary};

pub async fn pack(request: Request, next: Next) -> Response {
    let encoding = Encoding::negotiate(request.headers());
    let mut response = next.run(request).await;
    let is_whole = response.body().size_hint().exact().is_some_and(|bytes| bytes > 0);
    if !is_whole || response.headers().contains_key(header::CONTENT_ENCODING) {
        vary(response.headers_mut(), "Accept-Encoding");
        return response;
    }
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => stream::respond_bytes(Response::from_parts(parts, Body::empty()), encoding, body.to_bytes()).await,
        // A body in memory cannot fail; one that does is cut off, as it would have been.
        Err(error) => Response::from_parts(parts, Body::from_stream(futures::stream::once(async { Err::<bytes::Bytes, _>(error) }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use std::io::Read;
    use tower::ServiceExt;

    async fn answer(path: &str) -> Response {
        let router = Router::new()
            .route("/short", get(|| async { "short" }))
            .route("/long", get(|| async { "long ".repeat(1000) }))
            .layer(from_fn(pack));
        let request = Request::builder().uri(path).header("accept-encoding", "gzip").body(Body::empty()).expect("a request");
        router.oneshot(request).await.expect("an answer")
    }

    #[tokio::test]
    async fn only_what_is_worth_it_is_packed() {
        let short = answer("/short").await;
        assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
        assert_eq!(short.headers()[header::VARY], "Accept-Encoding");
        assert_eq!(short.into_body().collect().await.expect("whole").to_bytes(), "short");
        let long = answer("/long").await;
        assert_eq!(long.headers()[header::CONTENT_ENCODING], "gzip");
        let packed = long.into_body().collect().await.expect("whole").to_bytes();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, "long ".repeat(1000));
    }
}
