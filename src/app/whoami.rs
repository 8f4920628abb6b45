//! `skep whoami`: a tiny web server that says who answered, the workload of the tour and of tests.
//!
//! It knows its task from the environment that every task's container is given ([`VARIABLES`]). It answers text, or JSON
//! where `Accept: application/json` or `?format=json` asks for it; `/health` answers 200. It ends on `shutdown` after the
//! requests at hand.

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The environment that tells a task about itself, and the names of its values in the answer.
pub const VARIABLES: [(&str, &str); 6] = [
    ("SKEP_NAMESPACE", "namespace"),
    ("SKEP_SERVICE", "service"),
    ("SKEP_SLOT", "slot"),
    ("SKEP_TASK", "task"),
    ("SKEP_NODE", "node"),
    ("SKEP_REVISION", "revision"),
];

/// Headers that show which way a request came.
const HEADERS: [HeaderName; 6] = [
    HOST,
    USER_AGENT,
    ACCEPT,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Requests at hand get so long when the server ends: less than the 10 s that a stop waits before it kills.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Who answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Values of [`VARIABLES`] that are set, by name.
    #[serde(flatten)]
    pub task: BTreeMap<&'static str, String>,
    /// The container's host name.
    pub hostname: String,
}

impl Identity {
    /// What the process's environment and the kernel say.
    pub fn of_this_process() -> Self {
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self::from_variables(|name| std::env::var(name).ok(), hostname)
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>, hostname: String) -> Self {
        let task = VARIABLES
            .into_iter()
            .filter_map(|(variable, name)| Some((name, read(variable)?)))
            .collect();
        Self { task, hostname }
    }
}

/// One answer.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    /// The client's address as this container sees it.
    client: SocketAddr,
    request: String,
    headers: BTreeMap<String, String>,
}

/// Serves on `listen` until `shutdown` is done.
///
/// # Errors
/// The address cannot be bound.
pub async fn run(
    listen: SocketAddr,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "answers who it is");
    serve(listener, Identity::of_this_process(), shutdown).await
}

/// Serves on a socket that is bound already.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: TcpListener,
    identity: Identity,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .fallback(answer)
        .with_state(Arc::new(identity));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let (ending, ended) = tokio::sync::oneshot::channel();
    let graceful = axum::serve(listener, service).with_graceful_shutdown(async move {
        shutdown.await;
        // Fails only if the server is gone already.
        let _ = ending.send(());
    });
    let overdue = async {
        match ended.await {
            Ok(()) => tokio::time::sleep(LAST_REQUESTS).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = graceful.into_future() => result,
        () = overdue => Ok(()),
    }
}

async fn answer(
    State(identity): State<Arc<Identity>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let answer = Answer {
        identity: &identity,
        client,
        request: format!(
            "{} {} {:?}",
            request.method(),
            request.uri(),
            request.version()
        ),
        headers: headers(&request),
    };
    if !wants_json(&request) {
        return ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text(&answer)).into_response();
    }
    match serde_json::to_string_pretty(&answer) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn wants_json(request: &Request) -> bool {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok());
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "format=json")
        || accept.is_some_and(|accept| accept.contains("application/json"))
}

fn headers(request: &Request) -> BTreeMap<String, String> {
    HEADERS
        .iter()
        .filter_map(|name| Some((name.to_string(), request.headers().get(name)?)))
        .map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn text(answer: &Answer<'_>) -> String {
    let mut lines: Vec<String> = VARIABLES
        .iter()
        .filter_map(|(_, name)| Some(format!("{name}: {}", answer.identity.task.get(name)?)))
        .collect();
    lines.push(format!("hostname: {}", answer.identity.hostname));
    lines.push(format!("client: {}", answer.client));
    lines.push(format!("request: {}", answer.request));
    lines.extend(
        answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    fn identity() -> Identity {
        let set = |name: &str| match name {
            "SKEP_SERVICE" => Some("web".to_owned()),
            "SKEP_SLOT" => Some("2".to_owned()),
            _ => None,
        };
        Identity::from_variables(set, "box".into())
    }

    /// Sends one request to a server that ends afterwards; returns the whole answer.
    async fn ask(path: &str, header: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, identity(), async {
            let _ = stopped.await;
        }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: web\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        answer
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").unwrap().1
    }

    #[tokio::test]
    async fn says_who_answered_as_text() {
        let answer = ask("/hello?x=1", "X-Forwarded-For: 10.1.2.3\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let body = body(&answer);
        for line in [
            "service: web",
            "slot: 2",
            "hostname: box",
            "request: GET /hello?x=1 HTTP/1.1",
            "host: web",
            "x-forwarded-for: 10.1.2.3",
        ] {
            assert!(body.lines().any(|said| said == line), "{line} in {body}");
        }
        assert!(body.contains("client: 127.0.0.1:"), "{body}");
        assert!(
            !body.contains("node:"),
            "what is not set is left out: {body}"
        );
    }

    #[tokio::test]
    async fn says_the_same_as_json() {
        for (path, header) in [("/?format=json", ""), ("/", "Accept: application/json\r\n")] {
            let answer = ask(path, header).await;
            let json: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
            assert_eq!(json["service"], "web");
            assert_eq!(json["hostname"], "box");
            assert_eq!(json["headers"]["host"], "web");
            assert!(json["client"].as_str().unwrap().starts_with("127.0.0.1:"));
        }
    }

    #[tokio::test]
    async fn is_healthy() {
        let answer = ask("/health", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(body(&answer), "ok\n");
    }

    #[tokio::test]
    async fn ends_when_told_also_with_an_idle_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, identity(), async {
            let _ = stopped.await;
        }));
        let _idle = TcpStream::connect(address).await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(
            TcpListener::bind(address).await.is_ok(),
            "the port is free again"
        );
    }
}
