//! [`Pair`]: both servers, the same steps on each, and what they told held side by side.

use crate::peer::{Peer, STREAMS};
use crate::play::{SLACK_SECONDS, Told, mask, play};
use crate::step::Step;
use crate::written::line;
use etcd_client::proto::{PbWatchRequestUnion, PbWatchResponse};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long watches may take to tell the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The first difference, if there is one.
pub(crate) type Verdict = Option<String>;

/// What is known of both stores, for the next step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    /// The newest revision that an answer told.
    pub(crate) revision: i64,
    /// The last compaction that was accepted; 0: none.
    pub(crate) compacted: i64,
}

/// A real etcd and the embedded store.
pub(crate) struct Pair {
    etcd: Peer,
    ours: Peer,
    hint: Hint,
    /// How many answers of creation and of progress were asked for on each stream.
    asked: [usize; STREAMS],
}

impl Pair {
    /// Both, empty.
    pub(crate) async fn start() -> Self {
        let (etcd, ours) = tokio::join!(Peer::real(), Peer::ours());
        Self {
            etcd,
            ours,
            hint: Hint {
                revision: 1,
                compacted: 0,
            },
            asked: [0; STREAMS],
        }
    }

    pub(crate) fn hint(&self) -> Hint {
        self.hint
    }

    /// Plays a step on both.
    pub(crate) async fn play(&mut self, step: &Step) -> Verdict {
        if matches!(step, Step::Restart { .. }) {
            // What is on its way to a watch is lost with its stream: all is compared before.
            if let Some(difference) = self.finish().await {
                return Some(difference);
            }
        }
        let (etcd, ours) = tokio::join!(play(&mut self.etcd, step), play(&mut self.ours, step));
        if let Some(difference) = differ(&etcd, &ours) {
            return Some(format!("{}\n{difference}", line(step)));
        }
        self.note(step, &etcd);
        if let Some(stream) = self.asks(step) {
            let difference = self.wait_answered(stream).await;
            if difference.is_some() {
                return difference;
            }
        }
        if is_historic(step) {
            tokio::join!(self.etcd.level(), self.ours.level());
        }
        self.settle().await
    }

    fn note(&mut self, step: &Step, told: &Told) {
        if let Some(revision) = told.revision {
            self.hint.revision = self.hint.revision.max(revision);
        }
        match step {
            Step::Compact(request) if told.revision.is_some() => {
                self.hint.compacted = request.revision;
            }
            Step::Restart { .. } => self.asked = [0; STREAMS],
            Step::Close { stream } => self.asked[*stream] = 0,
            _ => {}
        }
    }

    /// The stream that has one more answer to give, whatever happens.
    fn asks(&mut self, step: &Step) -> Option<usize> {
        match step {
            Step::Watch {
                stream,
                request:
                    PbWatchRequestUnion::CreateRequest(_) | PbWatchRequestUnion::ProgressRequest(_),
            } => {
                self.asked[*stream] += 1;
                Some(*stream)
            }
            _ => None,
        }
    }

    async fn wait_answered(&self, stream: usize) -> Verdict {
        let count = |peer: &Peer| {
            let answers = answers(peer, stream);
            let is_answer = |answer: &&PbWatchResponse| answer.created || answer.watch_id == -1;
            answers.iter().filter(is_answer).count()
        };
        let wanted = self.asked[stream];
        let wait = async {
            while count(&self.etcd) < wanted || count(&self.ours) < wanted {
                tokio::time::sleep(LOOK).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait).await;
        done.err().map(|_| {
            format!(
                "of {wanted} requests on stream {stream}, etcd answered {} and ours {}",
                count(&self.etcd),
                count(&self.ours)
            )
        })
    }

    /// Compares everything once more, when all watches are level.
    pub(crate) async fn finish(&mut self) -> Verdict {
        tokio::join!(self.etcd.level(), self.ours.level());
        self.settle().await
    }

    /// Waits until the streams of both have told the same.
    async fn settle(&self) -> Verdict {
        let wait = async {
            while self.streams_differ().is_some() {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(()) => None,
            Err(_) => self.streams_differ(),
        }
    }

    fn streams_differ(&self) -> Verdict {
        (0..STREAMS).find_map(|stream| {
            let etcd = by_watch(answers(&self.etcd, stream));
            let ours = by_watch(answers(&self.ours, stream));
            if etcd == ours {
                return None;
            }
            let ids = etcd.keys().chain(ours.keys());
            let id = ids.copied().find(|id| etcd.get(id) != ours.get(id))?;
            let lines =
                |told: &BTreeMap<i64, Vec<String>>| told.get(&id).cloned().unwrap_or_default();
            Some(format!(
                "stream {stream}, watch {id}: {}",
                first_difference(&lines(&etcd), &lines(&ours))
            ))
        })
    }
}

fn answers(peer: &Peer, stream: usize) -> Vec<PbWatchResponse> {
    let stream = peer.streams[stream].as_ref();
    stream.map(|stream| stream.answers()).unwrap_or_default()
}

fn first_difference(etcd: &[String], ours: &[String]) -> String {
    let same = etcd.iter().zip(ours).take_while(|(a, b)| a == b).count();
    let at = |lines: &[String]| lines.get(same).cloned().unwrap_or_else(|| "nothing".into());
    format!(
        "after {same} that are the same\n  etcd: {}\n  ours: {}",
        at(etcd),
        at(ours)
    )
}

fn differ(etcd: &Told, ours: &Told) -> Verdict {
    if etcd.text != ours.text {
        return Some(format!("  etcd: {}\n  ours: {}", etcd.text, ours.text));
    }
    let (etcd, ours) = (etcd.left.unwrap_or(0), ours.left.unwrap_or(0));
    // Below zero it says that there is no such lease.
    let is_same = (etcd - ours).abs() <= SLACK_SECONDS && (etcd < 0) == (ours < 0);
    (!is_same).then(|| format!("  etcd: {etcd} s left\n  ours: {ours} s left"))
}

/// Whether a watch begins in the past, with which etcd deals later.
fn is_historic(step: &Step) -> bool {
    match step {
        Step::Watch {
            request: PbWatchRequestUnion::CreateRequest(create),
            ..
        } => create.start_revision != 0,
        _ => false,
    }
}

/// What a stream told of each watch, in order: a line for each event, and for each answer that is more than events.
fn by_watch(answers: Vec<PbWatchResponse>) -> BTreeMap<i64, Vec<String>> {
    let mut told: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for mut answer in answers {
        let lines = told.entry(answer.watch_id).or_default();
        let events = std::mem::take(&mut answer.events);
        let newest = events.iter().filter_map(|event| event.kv.as_ref());
        let newest = newest.map(|kv| kv.mod_revision).max();
        lines.extend(events.iter().map(line));
        let header = answer.header.get_or_insert_default();
        mask(header);
        if answer.canceled && !answer.created {
            // Nobody waits for the end of a watch, so what comes next can overtake it on either side.
            header.revision = 0;
        }
        match newest {
            // Where such an answer ends is open; but it never stands before its own events.
            Some(newest) if header.revision >= newest && !answer.canceled && !answer.created => {}
            _ => lines.push(line(&answer)),
        }
    }
    told
}
