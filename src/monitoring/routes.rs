//! The HTTP endpoints.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures::stream::{self, Stream};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::status::{Phase, Status};
use super::status_registry::StatusRegistry;
use super::{host_header, metrics};
use crate::util::escape;

/// The dashboard, with placeholders for the nonce of its script and style.
const PAGE: &str = include_str!("dashboard.html");
/// The maximum number of concurrent event streams; each occupies a connection.
const STREAMS: usize = 16;
/// The maximum number of event streams per client address, so that other clients can open some.
const STREAMS_PER_CLIENT: usize = 6;
/// The interval between the events of a stream.
const SSE_INTERVAL: Duration = Duration::from_secs(1);
/// The time for which a response is reused: many clients cost no more than one.
const CACHE_TTL: Duration = Duration::from_millis(200);
/// The run is not live if its main loop has sent no heartbeat for this time.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The shared state of all handlers.
#[derive(Clone)]
struct RouteState {
    registry: StatusRegistry,
    known: Arc<Cached<Arc<Status>>>,
    status: Arc<Cached<Arc<str>>>,
    metrics: Arc<Cached<Arc<str>>>,
    streams: Arc<Streams>,
}

/// The number of open event streams by client address.
#[derive(Default)]
struct Streams(Mutex<HashMap<IpAddr, usize>>);

/// A permit for one event stream; it is released on drop.
struct Place {
    streams: Arc<Streams>,
    client: IpAddr,
}

impl Streams {
    fn take(self: &Arc<Self>, client: IpAddr) -> Result<Place, String> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= STREAMS {
            return Err(format!("{STREAMS} event streams are open already: /status\n"));
        }
        let own = open.entry(client).or_default();
        if *own >= STREAMS_PER_CLIENT {
            return Err(format!("{STREAMS_PER_CLIENT} event streams of {client} are open already: /status\n"));
        }
        *own += 1;
        Ok(Place { streams: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// A value that is created again when it is older than [`CACHE_TTL`].
struct Cached<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Cached<T> {
    fn get(&self, make: impl FnOnce() -> T) -> T {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some((made, value)) if made.elapsed() < CACHE_TTL => value.clone(),
            _ => {
                let value = make();
                *held = Some((Instant::now(), value.clone()));
                value
            }
        }
    }
}

impl RouteState {
    fn known(&self) -> Arc<Status> {
        self.known.get(|| Arc::new(self.registry.status()))
    }

    fn status(&self) -> Arc<str> {
        // The model's only maps have string keys, so its serialization cannot fail.
        self.status.get(|| {
            let mut json = serde_json::to_vec(&*self.known()).unwrap_or_default();
            escape::escape_json(&mut json, 0);
            String::from_utf8(json).unwrap_or_default().into()
        })
    }
}

/// The client address of a connection.
#[derive(Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

/// Returns the router of all endpoints. A server on a loopback address accepts only requests that name this machine.
pub(super) fn router(registry: StatusRegistry, listens_on: IpAddr) -> Router {
    let router = routes(registry);
    if listens_on.is_loopback() { router.layer(middleware::from_fn(check_host)) } else { router }
}

/// Rejects requests of web pages whose host name resolves to this machine (DNS rebinding): the browser sends that name as `Host`.
async fn check_host(request: Request, next: Next) -> Response {
    let header = request.headers().get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let named = request.uri().authority().map(|authority| authority.as_str().to_owned()).or(header);
    match named {
        Some(host) if !host_header::is_loopback(&host) => {
            let host = escape::truncate_chars(&escape::escape_control(host.as_bytes()), 100);
            let text = format!(
                "monitoring.listen is on this machine only, and the request names the host \"{host}\": ask for localhost or 127.0.0.1\n"
            );
            reply(StatusCode::MISDIRECTED_REQUEST, TEXT, text)
        }
        _ => next.run(request).await,
    }
}

fn routes(registry: StatusRegistry) -> Router {
    let source = RouteState {
        registry,
        known: Arc::default(),
        status: Arc::default(),
        metrics: Arc::default(),
        streams: Arc::default(),
    };
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/status/schema", get(schema))
        .route("/metrics", get(prometheus))
        .route("/livez", get(liveness))
        .route("/readyz", get(readiness))
        .route("/events", get(events))
        .fallback(not_found)
        .with_state(source)
}

fn reply(code: StatusCode, kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let headers: [(HeaderName, &str); 3] =
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, headers, body.into()).into_response()
}

async fn page() -> Response {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace("__NONCE__", &nonce));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn status(State(source): State<RouteState>) -> Response {
    reply(StatusCode::OK, JSON, source.status().to_string())
}

async fn schema() -> Response {
    reply(StatusCode::OK, "application/schema+json", schemars::schema_for!(Status).as_value().to_string())
}

async fn prometheus(State(source): State<RouteState>) -> Response {
    let text = source.metrics.get(|| metrics::text(&source.known()).into());
    reply(StatusCode::OK, metrics::CONTENT_TYPE, text.to_string())
}

async fn liveness(State(source): State<RouteState>) -> Response {
    match source.registry.time_since_heartbeat().filter(|silence| *silence > LIVENESS_TIMEOUT) {
        None => reply(StatusCode::OK, TEXT, "alive\n"),
        Some(silence) => {
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("nothing has moved inside for {silence:.0?}\n"))
        }
    }
}

async fn readiness(State(source): State<RouteState>) -> Response {
    let status = source.known();
    match (status.not_ready_reasons.is_empty(), status.phase) {
        (true, Phase::Draining | Phase::Ended) => reply(StatusCode::OK, TEXT, "ready, draining\n"),
        (true, _) => reply(StatusCode::OK, TEXT, "ready\n"),
        (false, _) => {
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, escape::lines(&(status.not_ready_reasons.join("\n") + "\n")))
        }
    }
}

async fn events(State(source): State<RouteState>, Extension(Client(client)): Extension<Client>) -> Response {
    let place = match source.streams.take(client) {
        Ok(place) => place,
        Err(full) => {
            let mut response = reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, full);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            return response;
        }
    };
    Sse::new(sse_event(source, place)).keep_alive(KeepAlive::default()).into_response()
}

/// A stream of the status, one event per interval. For a client that reads slowly, events are delayed and do not accumulate.
fn sse_event(source: RouteState, place: Place) -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    let mut clock = interval(SSE_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((source, clock, place), |(source, mut clock, place): (RouteState, Interval, _)| async move {
        clock.tick().await;
        let event = Event::default().event("status").data(&*source.status());
        Some((Ok(event), (source, clock, place)))
    })
}

async fn not_found() -> Response {
    reply(StatusCode::NOT_FOUND, TEXT, "there are: / /status /status/schema /metrics /livez /readyz /events\n")
}
