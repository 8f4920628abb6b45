//! Splits a large answer of a watch, where the client asked for that. Pure.

use etcd_client::proto::PbWatchResponse;
use prost::Message;
use std::collections::VecDeque;

/// Answers are split above this: etcd's limit of a request and its allowance for gRPC.
const MOST_BYTES: usize = 1536 * 1024 + 512 * 1024;

/// The answer in parts that are smaller than the limit, or of a single event. All but the last say that more follows.
pub(super) fn split(answer: PbWatchResponse) -> VecDeque<PbWatchResponse> {
    if answer.events.len() < 2 || answer.encoded_len() < MOST_BYTES {
        return [answer].into();
    }
    let PbWatchResponse { events, .. } = answer;
    let empty = PbWatchResponse {
        events: Vec::new(),
        fragment: true,
        ..answer
    };
    let (mut parts, mut part, mut size) = (VecDeque::new(), empty.clone(), empty.encoded_len());
    for event in events {
        let length = event.encoded_len();
        // The event's tag and the length before it.
        let added = 1 + prost::length_delimiter_len(length) + length;
        if !part.events.is_empty() && size + added >= MOST_BYTES {
            parts.push_back(std::mem::replace(&mut part, empty.clone()));
            size = empty.encoded_len();
        }
        size += added;
        part.events.push(event);
    }
    part.fragment = false;
    parts.push_back(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd_client::proto::{PbEvent, PbKeyValue};

    fn answer(sizes: &[usize]) -> PbWatchResponse {
        let event = |size: &usize| PbEvent {
            kv: Some(PbKeyValue {
                value: vec![0; *size],
                ..PbKeyValue::default()
            }),
            ..PbEvent::default()
        };
        PbWatchResponse {
            watch_id: 7,
            events: sizes.iter().map(event).collect(),
            ..PbWatchResponse::default()
        }
    }

    /// The events of each part; `+` says that more follows.
    fn check(sizes: &[usize], wanted: &str) {
        let parts = split(answer(sizes));
        assert!(parts.iter().all(|part| part.watch_id == 7));
        let words: Vec<String> = parts
            .iter()
            .map(|part| {
                let more = if part.fragment { "+" } else { "" };
                format!("{}{more}", part.events.len())
            })
            .collect();
        assert_eq!(words.join(" "), wanted);
    }

    #[test]
    fn large_answers_are_split_between_events() {
        let mib = 1024 * 1024;
        check(&[], "0");
        check(&[3 * mib], "1");
        check(&[mib / 2, mib / 2], "2");
        check(&[mib, mib, mib], "1+ 1+ 1");
        check(&[mib / 2; 7], "3+ 3+ 1");
        check(&[3 * mib, 1, 1], "1+ 2");
    }
}
