//! Requests of our own, for what bollard's closed types would lose or refuse: sent, checked, decoded.

use super::Error;
use super::constants::{LONGEST_ANSWER, NEWEST_API, OLDEST_API};
use super::failure::{Site, is_version_refusal};
use super::transport::{ApiVersion, Transport};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::time::Duration;

/// A client of one engine at the level of requests.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) address: String,
    pub(super) transport: Transport,
}

impl Wire {
    pub(super) fn site(&self, call: &'static str) -> Site<'_> {
        Site {
            address: &self.address,
            call,
        }
    }

    /// Runs one call against its deadline, the negotiation before it and the answer's body included.
    pub(super) async fn within<T>(
        &self,
        call: &'static str,
        deadline: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let negotiated = async {
            if self.transport.version().is_none() {
                self.negotiate(call).await?;
            }
            work.await
        };
        match tokio::time::timeout(deadline, negotiated).await {
            Ok(Err(error)) => {
                if is_version_refusal(&error) {
                    self.transport.set_version(None);
                }
                Err(error)
            }
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                address: self.address.clone(),
                call,
                deadline,
            }),
        }
    }

    /// Asks for the engine's version and settles on the API to speak.
    pub(super) async fn negotiate(&self, call: &'static str) -> Result<VersionAnswer, Error> {
        let request = self.request(Method::GET, "/version", Bytes::new(), None);
        let response = self.transport.send_plain(request).await;
        let response = response.map_err(|error| self.site(call).failed(&error))?;
        let answer: VersionAnswer = self.json(call, self.checked(call, response).await?).await?;
        self.transport
            .set_version(Some(settle(&self.address, &answer)?));
        Ok(answer)
    }

    /// A request; `path` includes its query.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        content_type: Option<&str>,
    ) -> Request<Full<Bytes>> {
        let uri = format!("{}{path}", self.transport.base());
        let mut builder = Request::builder().method(method).uri(uri);
        if let Some(content_type) = content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        builder
            .body(Full::new(body))
            .expect("paths are percent-encoded and header values are constants")
    }

    /// Sends a request; an error status becomes an error.
    pub(super) async fn send(
        &self,
        call: &'static str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let response = self.transport.send(request).await;
        let response = response.map_err(|error| self.site(call).failed(&error))?;
        self.checked(call, response).await
    }

    pub(super) async fn get(
        &self,
        call: &'static str,
        path: &str,
    ) -> Result<Response<Incoming>, Error> {
        let request = self.request(Method::GET, path, Bytes::new(), None);
        self.send(call, request).await
    }

    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        call: &'static str,
        path: &str,
    ) -> Result<T, Error> {
        self.json(call, self.get(call, path).await?).await
    }

    async fn checked(
        &self,
        call: &'static str,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, Error> {
        let status = response.status();
        let is_fine = status.is_success()
            || status == StatusCode::NOT_MODIFIED
            || status == StatusCode::SWITCHING_PROTOCOLS;
        if is_fine {
            return Ok(response);
        }
        let bytes = self.whole(call, response).await?;
        let message = match serde_json::from_slice::<ErrorAnswer>(&bytes) {
            Ok(answer) => answer.message,
            Err(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        };
        Err(self.site(call).refused(status.as_u16(), message))
    }

    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        call: &'static str,
        response: Response<Incoming>,
    ) -> Result<T, Error> {
        let bytes = self.whole(call, response).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!("its answer is not what the API says: {error}");
            self.site(call).broken(text)
        })
    }

    async fn whole(
        &self,
        call: &'static str,
        response: Response<Incoming>,
    ) -> Result<Bytes, Error> {
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => Err(self.site(call).failed(error.as_ref())),
        }
    }
}

/// What `/version` says, as far as it matters.
#[derive(Deserialize)]
pub(super) struct VersionAnswer {
    #[serde(rename = "Version", default)]
    pub(super) version: String,
    #[serde(rename = "ApiVersion", default)]
    api_version: String,
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    message: String,
}

/// The newest version that both sides speak.
fn settle(address: &str, answer: &VersionAnswer) -> Result<ApiVersion, Error> {
    let refused = |advice: &str| Error::Config {
        message: format!(
            "the engine at {address} (Docker {}) speaks API {} to {}, skep {} to {}: {advice}",
            answer.version,
            answer.min_api_version,
            answer.api_version,
            text(OLDEST_API),
            text(NEWEST_API),
        ),
    };
    let newest = parse(&answer.api_version)
        .ok_or_else(|| refused("it does not name its version; is this a Docker Engine?"))?;
    let oldest = parse(&answer.min_api_version).unwrap_or(OLDEST_API);
    if newest < OLDEST_API {
        return Err(refused("upgrade the engine to 20.10 or later"));
    }
    if oldest > NEWEST_API {
        return Err(refused("upgrade skep"));
    }
    Ok(newest.min(NEWEST_API))
}

/// `1.41` as numbers.
pub(super) fn parse(version: &str) -> Option<ApiVersion> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The version as engines write it.
pub(super) fn text((major, minor): ApiVersion) -> String {
    format!("{major}.{minor}")
}

/// One segment of a path or one value of a query: everything but unreserved characters encoded.
///
/// A name that people chose never leads to another path of the API.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(newest: &str, oldest: &str, expected: &str) {
        let answer = VersionAnswer {
            version: "x".into(),
            api_version: newest.into(),
            min_api_version: oldest.into(),
        };
        let got = match settle("unix:///x", &answer) {
            Ok(version) => text(version),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{newest}: {got}");
    }

    #[test]
    fn settles_on_the_lower_of_both_newest() {
        check("1.41", "1.12", "1.41");
        check("1.45", "1.24", "1.45");
        check("1.51", "1.24", "1.51");
        check("1.60", "1.44", "1.51");
    }

    #[test]
    fn an_engine_out_of_range_is_refused_with_what_to_do() {
        check("1.40", "1.12", "upgrade the engine");
        check("1.70", "1.60", "upgrade skep");
        check("", "", "is this a Docker Engine?");
    }

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(encode("web.1-x_y~"), "web.1-x_y~");
        assert_eq!(encode("a/b?c d"), "a%2Fb%3Fc%20d");
    }
}
