//! The verdict over one engine, and a manager's doubt in itself. Pure.
//!
//! Rule N1: Down is judged by one's own failed contacts on one's own clock since boot, counted from taking the node
//! over. Rule N2: a manager that loses more than half of its engines (and at least two) within one grace suspects its
//! own uplink and holds Down verdicts for a while. Rule I4: another engine id, or one id on two nodes, is a condition
//! and no action.

use crate::api::status::NodeState;
use crate::engine::Error;
use crate::planted::{Bug, planted};
use std::time::Duration;

/// So long failed contacts only keep the last verdict: one lost ping is no news.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How long a manager that suspects itself holds Down verdicts (rule N2).
pub const HOLD: Duration = Duration::from_secs(60);

/// What the holder of a node knows of its engine from its own contacts.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    /// When the node was taken over, on the clock since boot.
    pub taken_at: Duration,
    /// When the engine answered last, on the clock since boot; none: not since then.
    pub answered_at: Option<Duration>,
    /// Why the last contact failed; none: it did not.
    pub error: Option<Error>,
    /// The engine's id at the last connect.
    pub id: Option<String>,
}

impl Contact {
    /// A node that was just taken over.
    pub fn taken(now: Duration) -> Self {
        Self {
            taken_at: now,
            answered_at: None,
            error: None,
            id: None,
        }
    }

    /// The engine answered.
    pub fn answered(&mut self, now: Duration) {
        self.answered_at = Some(now);
        self.error = None;
    }

    /// Since when it does not answer; none: it does.
    pub fn failing_since(&self) -> Option<Duration> {
        match (&self.error, self.answered_at) {
            (Some(_), answered) => Some(answered.unwrap_or(self.taken_at)),
            (None, Some(_)) => None,
            (None, None) => Some(self.taken_at),
        }
    }
}

/// What the verdict over one engine rests on.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// One's own contacts.
    pub contact: &'a Contact,
    /// The engine id on record (rule I4).
    pub recorded: Option<&'a str>,
    /// Another node with the same engine id.
    pub twin: Option<&'a str>,
    /// The verdict before; [`NodeState::Unknown`] at first.
    pub before: NodeState,
    /// How long failed contacts last before the node counts as down.
    pub grace: Duration,
    /// Whether the manager suspects itself (rule N2).
    pub holds: bool,
    /// The clock since boot.
    pub now: Duration,
}

/// Whether a node can be worked with, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: NodeState,
    /// A `PascalCase` word; none: all is well.
    pub reason: Option<&'static str>,
    /// For people.
    pub message: Option<String>,
}

/// Judges one engine.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let contact = evidence.contact;
    if let (Some(recorded), Some(id)) = (evidence.recorded, &contact.id)
        && recorded != id
    {
        let message = format!(
            "another engine answers: {id} instead of {recorded}; if it is meant, delete the node and add it again"
        );
        return unknown("EngineChanged", message);
    }
    if let Some(twin) = evidence.twin {
        let message = format!(
            "node {twin} has the same engine id: a cloned machine, or one engine under two names"
        );
        return unknown("DuplicateEngine", message);
    }
    match (&contact.error, contact.answered_at) {
        (None, Some(_)) => Verdict {
            state: NodeState::Ready,
            reason: None,
            message: None,
        },
        // The manager's own configuration: no sign that the node is lost.
        (Some(error @ Error::Config { .. }), _) => unknown(reason(error), error.to_string()),
        (error, _) => failing(evidence, error.as_ref()),
    }
}

fn failing(evidence: &Evidence<'_>, error: Option<&Error>) -> Verdict {
    let since = evidence.contact.failing_since().unwrap_or(evidence.now);
    let lasted = match planted(Bug::DownAtOnce) {
        true => Duration::MAX,
        false => evidence.now.saturating_sub(since),
    };
    let why = error.map_or("NotContacted", reason);
    let text = error.map_or_else(
        || "its engine has not answered yet".to_owned(),
        ToString::to_string,
    );
    if lasted > evidence.grace && evidence.holds {
        let message = format!(
            "{text}; evictions are held: this manager lost most of its engines at once and suspects itself"
        );
        return unknown("EvictionsHeld", message);
    }
    if lasted > evidence.grace {
        return Verdict {
            state: NodeState::Down,
            reason: Some(why),
            message: Some(text),
        };
    }
    match evidence.before {
        NodeState::Ready if lasted <= PATIENCE => Verdict {
            state: NodeState::Ready,
            reason: None,
            message: None,
        },
        // A new holder knows nothing of the old one's contacts, but does not take its verdict back without one.
        NodeState::Down => Verdict {
            state: NodeState::Down,
            reason: Some(why),
            message: Some(text),
        },
        NodeState::Ready | NodeState::Unknown => unknown(why, text),
    }
}

fn unknown(reason: &'static str, message: String) -> Verdict {
    Verdict {
        state: NodeState::Unknown,
        reason: Some(reason),
        message: Some(message),
    }
}

/// The word for a failed contact.
pub fn reason(error: &Error) -> &'static str {
    match error {
        Error::Connect { message, .. } if message.to_lowercase().contains("refused") => {
            "ConnectionRefused"
        }
        Error::Connect { .. } => "Unreachable",
        Error::Tls { .. } => "TlsFailed",
        Error::Timeout { .. } => "Timeout",
        Error::Broken { .. } => "ConnectionBroken",
        Error::Config { message } if message.contains("API") => "WrongApiVersion",
        Error::Config { .. } => "BadConfiguration",
        Error::NotFound { .. } | Error::Conflict { .. } | Error::Refused { .. } => "EngineError",
    }
}

/// A manager's doubt in itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Since when it lasts, and when the loss began that it is about.
    about: Option<(Duration, Duration)>,
}

impl Doubt {
    /// Looks at all engines at once; says whether Down verdicts are held now.
    ///
    /// A doubt is not renewed while its loss lasts: after [`HOLD`] the engines that still do not answer are down. That the
    /// others are lost later is another one.
    pub fn look<'a>(
        &mut self,
        contacts: impl IntoIterator<Item = &'a Contact>,
        grace: Duration,
        now: Duration,
    ) -> bool {
        let mut total = 0;
        let mut failing = Vec::new();
        for contact in contacts {
            total += 1;
            failing.extend(contact.failing_since());
        }
        let loss = suspicious(&mut failing, total, grace);
        let Some(loss) = loss.filter(|_| !planted(Bug::NeverDoubtsItself)) else {
            self.about = None;
            return false;
        };
        let is_same = |(_, before): &(Duration, Duration)| loss <= before.saturating_add(grace);
        let (since, _) = *self
            .about
            .insert(self.about.filter(is_same).unwrap_or((now, loss)));
        now.saturating_sub(since) < HOLD
    }
}

/// When the last loss began, within one grace, of more than half of the engines that answered until then, and at least two.
fn suspicious(failing: &mut [Duration], total: usize, grace: Duration) -> Option<Duration> {
    failing.sort();
    let first = (0..failing.len()).rfind(|first| {
        let end = failing[*first].saturating_add(grace);
        let lost = failing[*first..].partition_point(|since| *since <= end);
        // What was lost before answers no question about the way out.
        let answered = total - first;
        lost >= 2 && lost * 2 > answered
    });
    first.map(|first| failing[first])
}
