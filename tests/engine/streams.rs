//! Events and output.

use crate::subject::{make, run};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use skep::engine::{Engine, EngineEvent, EventStream, LogLine, LogOptions};
use std::time::Duration;

/// The actions of one container, until the last one that is waited for.
async fn actions(
    events: &mut EventStream,
    id: &skep::api::uid::ContainerId,
    last: &str,
) -> Vec<EngineEvent> {
    let read = async {
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            if event.container == *id && !event.action.starts_with("exec_") {
                seen.push(event);
            }
            if seen.last().is_some_and(|e| e.action == last) {
                return seen;
            }
        }
        panic!("the stream ended: {seen:?}");
    };
    let seen = tokio::time::timeout(Duration::from_secs(30), read).await;
    seen.unwrap_or_else(|_| panic!("no event `{last}` came"))
}

#[tokio::test]
async fn events_tell_a_containers_life() {
    let engine = crate::subject::engine().await;
    let mut events = engine.events().await.unwrap();
    let made = make(json!({
        "Cmd": ["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done"],
        "Labels": {"dev.skep.test": "events"},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 500_000_000u64},
    }))
    .await;
    engine.start(&made.id).await.unwrap();
    let mut seen = actions(&mut events, &made.id, "health_status: healthy").await;
    engine.stop(&made.id, Duration::from_secs(5)).await.unwrap();
    engine.remove(&made.id, false).await.unwrap();
    seen.extend(actions(&mut events, &made.id, "destroy").await);

    let words: Vec<_> = seen.iter().map(|e| e.action.as_str()).collect();
    let mut rest = words.iter();
    for word in [
        "create",
        "start",
        "health_status: healthy",
        "die",
        "destroy",
    ] {
        assert!(
            rest.any(|w| *w == word),
            "{word} is missing or out of order: {words:?}"
        );
    }
    let die = seen.iter().find(|e| e.action == "die").unwrap();
    assert_eq!(die.attributes["exitCode"], "4");
    assert_eq!(die.attributes["name"], made.name);
    assert_eq!(die.attributes["dev.skep.test"], "events");
}

async fn output(made: &crate::subject::Made, options: LogOptions) -> Vec<LogLine> {
    let stream = made.engine.logs(&made.id, &options).await.unwrap();
    stream.try_collect().await.unwrap()
}

#[tokio::test]
async fn output_comes_split_by_stream() {
    let made = run("echo one; echo two >&2; echo three").await;
    made.ended().await;
    let lines = output(&made, LogOptions::default()).await;
    let text = |is_stderr| {
        let lines = lines.iter().filter(|line| line.is_stderr == is_stderr);
        lines
            .map(|line| String::from_utf8_lossy(&line.bytes))
            .collect::<String>()
    };
    assert_eq!(
        (text(false).as_str(), text(true).as_str()),
        ("one\nthree\n", "two\n")
    );

    let tail = LogOptions {
        tail: Some(1),
        timestamps: true,
        ..LogOptions::default()
    };
    let [line] = &output(&made, tail).await[..] else {
        panic!("one line");
    };
    let line = String::from_utf8_lossy(&line.bytes).into_owned();
    let (time, rest) = line.split_once(' ').unwrap();
    let time = skep::api::time::Timestamp::parse(time).unwrap();
    assert!(["one\n", "two\n", "three\n"].contains(&rest), "{line}");

    let later = LogOptions {
        since: Some(time.after(Duration::from_secs(60))),
        ..LogOptions::default()
    };
    assert!(output(&made, later).await.is_empty());
}

#[tokio::test]
async fn followed_output_ends_with_its_container() {
    let made = run("echo first; sleep 1; echo last").await;
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let read = output(&made, options);
    let lines = tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .unwrap();
    let all: Vec<u8> = lines.into_iter().flat_map(|line| line.bytes).collect();
    assert_eq!(all, b"first\nlast\n");
}

#[tokio::test]
async fn a_terminals_output_is_not_taken_for_frames() {
    let line = r"printf '\001\002\000abc\n'; printf '\002tail'";
    let made = make(json!({"Tty": true, "Cmd": ["sh", "-c", line]})).await;
    made.engine.start(&made.id).await.unwrap();
    made.ended().await;
    let lines = output(&made, LogOptions::default()).await;
    let all: Vec<u8> = lines.into_iter().flat_map(|line| line.bytes).collect();
    assert_eq!(all, b"\x01\x02\0abc\r\n\x02tail");
}
