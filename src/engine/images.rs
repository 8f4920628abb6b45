//! Images on an engine: pulled from a registry or loaded from a tar.

use super::Error;
use super::constants::{LOAD, PULL_SILENCE};
use super::docker::Docker;
use super::door::PullProgress;
use super::{image, stream};
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use hyper::Method;
use hyper::body::Bytes;

/// What registries and engines say when an image is not to be had, whoever asks how often.
const FINAL: [&str; 9] = [
    "not found",
    "manifest unknown",
    "no such image",
    "does not exist",
    "pull access denied",
    "unauthorized",
    "denied: ",
    "invalid reference format",
    "no matching manifest",
];

/// Signs that nothing final was said, whatever the rest of the text.
const PASSING: [&str; 6] = [
    "dial tcp",
    "i/o timeout",
    "no such host",
    "connection refused",
    "toomanyrequests",
    "TLS handshake",
];

/// The image of this very program as a tar, packed beside the runtime's threads: it is tens of megabytes.
pub(super) async fn program() -> Result<Vec<u8>, Error> {
    let packed = tokio::task::spawn_blocking(|| {
        // Also where the file was replaced by a newer version since: what runs is what is packed.
        let program = std::fs::read("/proc/self/exe")?;
        let version = env!("CARGO_PKG_VERSION");
        Ok(image::skep(program, version, std::env::consts::ARCH).tar())
    });
    let packed = packed.await.map_err(std::io::Error::other);
    packed.flatten().map_err(|error| Error::Config {
        message: format!("cannot read this program to pack it into an image: {error}"),
    })
}

/// Pulls an image; its name without tag or digest means `latest`, for to an engine it would mean every tag.
pub(super) async fn pull(
    docker: &Docker,
    image: &str,
    progress: PullProgress<'_>,
) -> Result<(), Error> {
    let call = "pull";
    let (name, tag) = split(image);
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        ..Default::default()
    };
    let site = docker.wire.site(call);
    let mut lines = docker.bollard.create_image(Some(options), None, None);
    loop {
        // The deadline counts anew with each line: what makes progress may take its time.
        let next = async { Ok(lines.next().await) };
        let Some(line) = docker.wire.within(call, PULL_SILENCE, next).await? else {
            return Ok(());
        };
        match line {
            Ok(line) => progress(&text(&line)),
            Err(bollard::errors::Error::DockerStreamError { error }) => {
                return Err(classified(image, site.refused(500, error)));
            }
            Err(error) => return Err(classified(image, site.failed(&error))),
        }
    }
}

/// Engines answer 404 and 500 for one and the same reason, depending on version and moment: the text decides.
fn classified(image: &str, error: Error) -> Error {
    let (Error::NotFound { message } | Error::Refused { message, .. }) = &error else {
        return error;
    };
    let lower = message.to_ascii_lowercase();
    let says = |signs: &[&str]| {
        let mut signs = signs.iter();
        signs.any(|sign| lower.contains(&sign.to_ascii_lowercase()))
    };
    let message = format!("cannot pull {image}: {message}");
    match says(&FINAL) && !says(&PASSING) {
        true => Error::NotFound { message },
        false => Error::Refused {
            call: "pull",
            status: 500,
            message,
        },
    }
}

fn text(line: &CreateImageInfo) -> String {
    let id = line.id.as_deref().map(|id| format!("{id}: "));
    let status = line.status.as_deref().unwrap_or_default();
    let detail = line.progress_detail.as_ref();
    let amount = detail.and_then(|detail| match (detail.current?, detail.total?) {
        (_, 0) => None,
        (current, total) => Some(format!(" {} %", current.saturating_mul(100) / total)),
    });
    id.unwrap_or_default() + status + &amount.unwrap_or_default()
}

/// Name and tag or digest. A colon before the last slash belongs to a registry's port.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        // A tag beside a digest says nothing more.
        let name = match name.rsplit_once(':') {
            Some((bare, tag)) if !tag.contains('/') => bare,
            _ => name,
        };
        return (name, digest);
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// Loads a tar; an error may stand inside a successful answer.
pub(super) async fn load(docker: &Docker, tar: Vec<u8>) -> Result<(), Error> {
    let call = "load";
    let wire = &docker.wire;
    let tar = Bytes::from(tar);
    let request = wire.request(
        Method::POST,
        "/images/load?quiet=true",
        tar,
        Some("application/x-tar"),
    );
    let work = async {
        let response = wire.send(call, request).await?;
        let chunks = stream::chunks(response.into_body());
        let mut lines = stream::json_lines(chunks, docker.owner(call));
        while let Some(line) = lines.next().await {
            if let Some(message) = line?["error"].as_str() {
                return Err(wire.site(call).refused(500, message.to_owned()));
            }
        }
        Ok(())
    };
    wire.within(call, LOAD, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_the_tag_and_not_at_a_port() {
        assert_eq!(split("nginx"), ("nginx", "latest"));
        assert_eq!(split("nginx:1.27"), ("nginx", "1.27"));
        assert_eq!(split("reg:5000/a/b"), ("reg:5000/a/b", "latest"));
        assert_eq!(split("reg:5000/a/b:2"), ("reg:5000/a/b", "2"));
        assert_eq!(split("reg:5000/a:2@sha256:00"), ("reg:5000/a", "sha256:00"));
        assert_eq!(split("reg:5000/a@sha256:00"), ("reg:5000/a", "sha256:00"));
    }

    #[track_caller]
    fn check(status: u16, message: &str, is_retryable: bool) {
        let site = super::super::failure::Site {
            address: "unix:///x",
            call: "pull",
        };
        let error = classified("web:1", site.refused(status, message.into()));
        assert_eq!(error.is_retryable(), is_retryable, "{error}");
        assert!(error.to_string().contains("web:1"), "{error}");
    }

    #[test]
    fn what_does_not_exist_is_final_and_what_cannot_be_reached_is_not() {
        check(404, "manifest for web:1 not found: manifest unknown", false);
        check(
            404,
            "pull access denied for web, repository does not exist",
            false,
        );
        check(500, "unauthorized: authentication required", false);
        check(400, "invalid reference format", false);
        check(
            500,
            "Get \"https://reg/v2/\": dial tcp: lookup reg: no such host",
            true,
        );
        check(500, "net/http: TLS handshake timeout", true);
        check(
            500,
            "write /var/lib/docker/x: no space left on device",
            true,
        );
        check(
            404,
            "Get https://r/: dial tcp: i/o timeout: not found",
            true,
        );
    }
}
