//! Commands in containers: the connection is taken over (`101 Switching Protocols`) and carries both directions.
//!
//! Done with hyper directly: bollard takes terminal output that begins with byte 0, 1 or 2 for a frame.

use super::Error;
use super::constants::CALL;
use super::docker::{Docker, Id};
use super::door::{ExecIo, ExecRequest};
use super::stream::{self, Chunks};
use super::transport::BoxError;
use super::wire::{Wire, encode};
use crate::api::uid::ContainerId;
use futures::StreamExt;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much output is read at once.
const READ_SIZE: usize = 16 << 10;

/// Makes and starts a command; the deadline holds until its streams are open.
pub(super) async fn start(
    docker: &Docker,
    container: &ContainerId,
    request: &ExecRequest,
) -> Result<ExecIo, Error> {
    let call = "exec";
    let work = async {
        let id = create(&docker.wire, call, container, request).await?;
        let connection = attach(&docker.wire, call, &id, request.tty).await?;
        Ok((id, connection))
    };
    let (id, connection) = docker.wire.within(call, CALL, work).await?;
    let (output, input) = tokio::io::split(TokioIo::new(connection));
    let owner = docker.owner(call);
    let output = match request.tty {
        true => stream::raw(chunks(output), owner),
        false => stream::frames(chunks(output), owner),
    };
    Ok(ExecIo {
        id,
        output,
        input: Box::new(input),
    })
}

async fn create(
    wire: &Wire,
    call: &'static str,
    container: &ContainerId,
    request: &ExecRequest,
) -> Result<String, Error> {
    let path = format!("/containers/{}/exec", encode(container.as_str()));
    let response = wire
        .send(call, json_request(wire, &path, &body(request)))
        .await?;
    Ok(wire.json::<Id>(call, response).await?.id)
}

fn body(request: &ExecRequest) -> Value {
    let mut body = json!({
        "AttachStdin": request.stdin,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": request.tty,
        "Cmd": request.command,
        "Env": request.env,
    });
    if let Some(user) = &request.user {
        body["User"] = json!(user);
    }
    if let Some(directory) = &request.working_dir {
        body["WorkingDir"] = json!(directory);
    }
    body
}

async fn attach(
    wire: &Wire,
    call: &'static str,
    exec: &str,
    is_tty: bool,
) -> Result<Upgraded, Error> {
    let path = format!("/exec/{}/start", encode(exec));
    let mut request = json_request(wire, &path, &json!({"Detach": false, "Tty": is_tty}));
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    let response = wire.send(call, request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let text = format!(
            "it answered {} where the connection is to be taken over",
            response.status()
        );
        return Err(wire.site(call).broken(text));
    }
    let upgraded = hyper::upgrade::on(response).await;
    upgraded.map_err(|error| wire.site(call).failed(&error))
}

fn json_request(
    wire: &Wire,
    path: &str,
    body: &Value,
) -> hyper::Request<http_body_util::Full<Bytes>> {
    let body = Bytes::from(body.to_string());
    wire.request(Method::POST, path, body, Some("application/json"))
}

fn chunks(reader: impl AsyncRead + Send + Unpin + 'static) -> Chunks {
    futures::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let mut buffer = vec![0; READ_SIZE];
        match reader.read(&mut buffer).await {
            Ok(0) => None,
            Ok(length) => {
                buffer.truncate(length);
                Some((Ok(Bytes::from(buffer)), Some(reader)))
            }
            Err(error) => Some((Err(Box::new(error) as BoxError), None)),
        }
    })
    .boxed()
}
