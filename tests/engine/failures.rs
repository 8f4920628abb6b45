//! Engines that do not answer, answer half, or are no engines: each within its deadline, each with its error.

use crate::subject::spec;
use skep::engine::{Docker, Engine, Error, constants};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const VERSION: &str = r#"{"Version":"28.5.2","ApiVersion":"1.52","MinAPIVersion":"1.24"}"#;

/// What a fake engine answers to a request line; none: nothing, and the connection stays open; empty: it is closed.
trait Answers: Fn(&str) -> Option<String> + Send + Sync + 'static {}
impl<F: Fn(&str) -> Option<String> + Send + Sync + 'static> Answers for F {}

fn ok(body: &str) -> String {
    answer("200 OK", body)
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A fake engine; its URL. It remembers nothing but answers every request of a connection.
async fn fake(answers: impl Answers) -> String {
    let answers = std::sync::Arc::new(answers);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = answers.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                // A request of these tests fits one read.
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let line = request.lines().next().unwrap_or_default();
                    match answers(line) {
                        Some(answer) if answer.is_empty() => return,
                        Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                        None => std::future::pending().await,
                    }
                }
            });
        }
    });
    format!("tcp://{address}")
}

#[tokio::test]
async fn a_closed_port_and_a_missing_socket_were_certainly_not_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("tcp://{}", listener.local_addr().unwrap());
    drop(listener);
    for (url, hint) in [
        (closed.as_str(), "refused"),
        ("unix:///nowhere/docker.sock", "is Docker Engine started?"),
        ("tcp://no-such-host.invalid:2375", ""),
    ] {
        let engine = Docker::new(&spec(url)).unwrap();
        let error = engine.create("x", "{}").await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains(url), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
        assert!(error.is_retryable() && !error.is_ambiguous());
    }
}

/// A listener whose queue is full drops what comes: the packets vanish, as in a black hole.
#[tokio::test]
async fn a_black_hole_is_given_up_in_time() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || tokio::net::TcpStream::connect(address);
    let mut fill = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), connect()).await {
        fill.push(stream.unwrap());
    }
    let engine = Docker::new(&spec(&format!("tcp://{address}"))).unwrap();
    let margin = Duration::from_secs(2);
    let call = tokio::time::timeout(constants::CONNECT + margin, engine.ping());
    let error = call.await.expect("the connect deadline holds").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

/// How a call to a fake engine fails.
async fn error_of(answers: impl Answers) -> Error {
    let url = fake(answers).await;
    let engine = Docker::new(&spec(&url)).unwrap();
    engine.identity().await.unwrap_err()
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_by_the_deadline() {
    let url = fake(|line| match line.contains("/info") {
        true => Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ID\":".into()),
        false => Some(ok(VERSION)),
    })
    .await;
    let engine = Docker::new(&spec(&url)).unwrap();
    engine.ping().await.unwrap();
    let margin = Duration::from_secs(3);
    let call = tokio::time::timeout(constants::CALL + margin, engine.identity());
    let error = call
        .await
        .expect("the deadline holds for the body")
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                call: "identity",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_retryable() && error.is_ambiguous());
}

#[tokio::test]
async fn a_connection_that_closes_before_the_answer_is_ambiguous() {
    let error = error_of(|line| match line.contains("/info") {
        true => Some(String::new()),
        false => Some(ok(VERSION)),
    })
    .await;
    assert!(
        matches!(
            error,
            Error::Broken {
                call: "identity",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_ambiguous());
}

#[tokio::test]
async fn an_engine_that_is_too_old_or_none_is_refused_with_what_to_do() {
    let check = |error: Error, expected: &str| {
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    let old = error_of(|_| Some(ok(r#"{"ApiVersion":"1.40","MinAPIVersion":"1.12"}"#))).await;
    check(old, "upgrade the engine");
    let new = error_of(|_| Some(ok(r#"{"ApiVersion":"1.99","MinAPIVersion":"1.60"}"#))).await;
    check(new, "upgrade skep");
    check(
        error_of(|_| Some(ok("{}"))).await,
        "is this a Docker Engine?",
    );
    let error = error_of(|_| Some(ok("<html>"))).await;
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_plain_request_to_a_tls_port_is_told_as_such() {
    let text = "Client sent an HTTP request to an HTTPS server.\n";
    let error = error_of(move |_| Some(answer("400 Bad Request", text))).await;
    let is_told = matches!(&error, Error::Tls { message, .. } if message.contains("tls.ca"));
    assert!(is_told, "{error:?}");
}

#[tokio::test]
async fn every_path_but_the_negotiation_carries_the_version_that_both_speak() {
    let url = fake(|line| {
        let path = line.split(' ').nth(1).unwrap_or_default();
        match path {
            "/version" => Some(ok(VERSION)),
            "/v1.51/info" => Some(ok(r#"{"ID":"here"}"#)),
            "/v1.51/_ping" => Some(ok("OK")),
            other => Some(answer("500 no", other)),
        }
    })
    .await;
    let engine = Docker::new(&spec(&url)).unwrap();
    engine.ping().await.unwrap();
    let identity = engine.identity().await.unwrap();
    assert_eq!(
        (identity.id.as_str(), identity.api_version.as_str()),
        ("here", "1.51")
    );
}

#[tokio::test]
async fn after_a_refusal_of_the_version_the_next_call_negotiates_anew() {
    let asked = std::sync::Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let url = fake(move |line| {
        let text = r#"{"message":"client version 1.51 is too new. Maximum supported API version is 1.45"}"#;
        let path = line.split(' ').nth(1).unwrap_or_default();
        match (path, counter.load(Ordering::SeqCst)) {
            // Between two calls the engine is downgraded.
            ("/version", before) => {
                counter.store(before + 1, Ordering::SeqCst);
                let newest = if before == 0 { "1.51" } else { "1.45" };
                Some(ok(&format!(r#"{{"ApiVersion":"{newest}"}}"#)))
            }
            ("/v1.45/_ping", _) => Some(ok("OK")),
            _ => Some(answer("400 Bad Request", text)),
        }
    })
    .await;
    let engine = Docker::new(&spec(&url)).unwrap();
    let error = engine.ping().await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { status: 400, .. }),
        "{error:?}"
    );
    engine.ping().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// That is all a client can do: Engine 20.10 goes on asking its registry all the same.
#[tokio::test]
async fn a_pull_that_is_dropped_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (asked, is_asked) = tokio::sync::oneshot::channel();
    let engine = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains("/images/create") {
                break;
            }
            stream.write_all(ok(VERSION).as_bytes()).await.unwrap();
        }
        asked.send(()).unwrap();
        // Nothing more comes but the end.
        stream.read(&mut buffer).await.unwrap()
    });
    let client = Docker::new(&spec(&url)).unwrap();
    let pull = tokio::spawn(async move { client.pull("silent:1", &|_| {}).await });
    is_asked.await.unwrap();
    pull.abort();
    let length = tokio::time::timeout(Duration::from_secs(30), engine).await;
    assert_eq!(length.expect("it hangs up").unwrap(), 0);
}
