//! What can be asked for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::board::Board;
use super::metrics;
use super::status::{Phase, Status};

/// The page, with a place for the nonce of its script and style.
const PAGE: &str = include_str!("page.html");
/// Who may be told of each change at once; each is a connection that stays.
const STREAMS: usize = 16;
/// How often they are told.
const TOLD: Duration = Duration::from_secs(1);
/// How old a document may be that is given again: many clients cost no more than one.
const FRESH: Duration = Duration::from_millis(200);
/// A run whose loop has not told anything for so long does not live.
const SILENT: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What all answers are made from.
#[derive(Clone)]
struct Source {
    board: Board,
    known: Arc<Cached<Arc<Status>>>,
    status: Arc<Cached<Arc<str>>>,
    metrics: Arc<Cached<Arc<str>>>,
    streams: Arc<Semaphore>,
}

/// Made anew when it is old.
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
            Some((made, value)) if made.elapsed() < FRESH => value.clone(),
            _ => {
                let value = make();
                *held = Some((Instant::now(), value.clone()));
                value
            }
        }
    }
}

impl Source {
    fn known(&self) -> Arc<Status> {
        self.known.get(|| Arc::new(self.board.status()))
    }

    fn status(&self) -> Arc<str> {
        // The model has no maps but those with texts as keys: it can always be written.
        self.status.get(|| serde_json::to_string(&*self.known()).unwrap_or_default().into())
    }
}

/// All routes.
pub(super) fn router(board: Board) -> Router {
    let streams = Arc::new(Semaphore::new(STREAMS));
    let source = Source { board, known: Arc::default(), status: Arc::default(), metrics: Arc::default(), streams };
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/status/schema", get(schema))
        .route("/metrics", get(prometheus))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/events", get(events))
        .fallback(nothing)
        .with_state(source)
}

fn answer(code: StatusCode, kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
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
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace("__NONCE__", &nonce));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn status(State(source): State<Source>) -> Response {
    answer(StatusCode::OK, JSON, source.status().to_string())
}

async fn schema() -> Response {
    answer(StatusCode::OK, "application/schema+json", schemars::schema_for!(Status).as_value().to_string())
}

async fn prometheus(State(source): State<Source>) -> Response {
    let text = source.metrics.get(|| metrics::text(&source.known()).into());
    answer(StatusCode::OK, metrics::CONTENT_TYPE, text.to_string())
}

async fn live(State(source): State<Source>) -> Response {
    match source.board.silence().filter(|silence| *silence > SILENT) {
        None => answer(StatusCode::OK, TEXT, "alive\n"),
        Some(silence) => {
            answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("nothing has moved inside for {silence:.0?}\n"))
        }
    }
}

async fn ready(State(source): State<Source>) -> Response {
    let status = source.known();
    match (status.unready.is_empty(), status.phase) {
        (true, Phase::Draining | Phase::Ended) => answer(StatusCode::OK, TEXT, "ready, draining\n"),
        (true, _) => answer(StatusCode::OK, TEXT, "ready\n"),
        (false, _) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, status.unready.join("\n") + "\n"),
    }
}

async fn events(State(source): State<Source>) -> Response {
    let Ok(place) = Arc::clone(&source.streams).try_acquire_owned() else {
        let mut response =
            answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{STREAMS} are told already: /status\n"));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    Sse::new(told(source, place)).keep_alive(KeepAlive::default()).into_response()
}

/// The status, again and again. A client that does not read delays what it is told, and nothing piles up.
fn told(source: Source, place: OwnedSemaphorePermit) -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    let mut clock = interval(TOLD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((source, clock, place), |(source, mut clock, place): (Source, Interval, _)| async move {
        clock.tick().await;
        let event = Event::default().event("status").data(&*source.status());
        Some((Ok(event), (source, clock, place)))
    })
}

async fn nothing() -> Response {
    answer(StatusCode::NOT_FOUND, TEXT, "there are: / /status /status/schema /metrics /livez /readyz /events\n")
}
