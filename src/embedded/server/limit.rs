//! The transport's limit on a message, told in etcd's words.

use axum::http::{HeaderValue, Response};
use tonic::Code;

/// etcd's transport takes 1.5 MiB for the request and 512 KiB beside it.
pub(super) const MOST_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

const CODE: &str = "grpc-status";
const TEXT: &str = "grpc-message";

/// Puts the refusal of a message that is too long into the words and the code of etcd's transport, which clients know.
pub(super) async fn explain<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    let is_range = headers.get(CODE).is_some_and(|code| code == "11");
    let text = headers.get(TEXT).and_then(|text| text.to_str().ok());
    let Some(length) = text.filter(|_| is_range).and_then(length) else {
        return response;
    };
    let text = format!(
        "grpc:%20received%20message%20larger%20than%20max%20({length}%20vs.%20{MOST_MESSAGE_BYTES})"
    );
    headers.insert(CODE, HeaderValue::from(Code::ResourceExhausted as i32));
    if let Ok(text) = text.try_into() {
        headers.insert(TEXT, text);
    }
    response
}

/// The length in the transport's own words: "... message length too large: found N bytes, ...".
fn length(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("length%20too%20large:%20found%20")?;
    let digits = after.split('%').next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;
    use tonic::body::Body;

    async fn check(status: Status, code: Code, text: &str) {
        let response: Response<Body> = status.into_http();
        let explained = explain(response).await;
        let status = Status::from_header_map(explained.headers()).unwrap();
        assert_eq!((status.code(), status.message()), (code, text));
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_refused_in_the_words_of_etcd() {
        let own = "Error, decoded message length too large: found 3000000 bytes, the limit is: 2097152 bytes";
        check(
            Status::out_of_range(own),
            Code::ResourceExhausted,
            "grpc: received message larger than max (3000000 vs. 2097152)",
        )
        .await;
        let other = "etcdserver: mvcc: required revision has been compacted";
        check(Status::out_of_range(other), Code::OutOfRange, other).await;
    }
}
