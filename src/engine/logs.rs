//! A container's output: in frames, or as a terminal printed it.

use super::Error;
use super::constants::CALL;
use super::docker::Docker;
use super::door::{LogOptions, LogStream};
use super::stream;
use super::wire::encode;
use crate::api::uid::ContainerId;
use serde::Deserialize;

/// Whether the container has a terminal: engines before API 1.42 do not say in the answer whether it is in frames.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect {
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    tty: bool,
}

/// Opens the output; the deadline holds until the engine begins to answer, the stream itself may last.
pub(super) async fn open(
    docker: &Docker,
    container: &ContainerId,
    options: &LogOptions,
) -> Result<LogStream, Error> {
    let call = "logs";
    let wire = &docker.wire;
    let id = encode(container.as_str());
    let work = async {
        let seen: Inspect = wire
            .get_json(call, &format!("/containers/{id}/json"))
            .await?;
        let path = format!("/containers/{id}/logs?{}", query(options));
        Ok((seen.config.tty, wire.get(call, &path).await?))
    };
    let (is_tty, response) = wire.within(call, CALL, work).await?;
    let chunks = stream::chunks(response.into_body());
    Ok(match is_tty {
        true => stream::raw(chunks, docker.owner(call)),
        false => stream::frames(chunks, docker.owner(call)),
    })
}

fn query(options: &LogOptions) -> String {
    let mut query = format!(
        "stdout=true&stderr=true&follow={}&timestamps={}",
        options.follow, options.timestamps
    );
    if let Some(tail) = options.tail {
        query += &format!("&tail={tail}");
    }
    if let Some(since) = options.since {
        let (seconds, millis) = (since.0.div_euclid(1000), since.0.rem_euclid(1000));
        query += &format!("&since={seconds}.{millis:03}000000");
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::time::Timestamp;

    #[test]
    fn options_become_the_query() {
        let options = LogOptions {
            follow: true,
            tail: Some(5),
            since: Some(Timestamp(1_700_000_000_042)),
            timestamps: true,
        };
        let expected =
            "stdout=true&stderr=true&follow=true&timestamps=true&tail=5&since=1700000000.042000000";
        assert_eq!(query(&options), expected);
    }
}
