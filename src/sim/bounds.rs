//! What a run may take at most. A manager that goes round in circles, or writes without end, ends its run as one that
//! breaks a rule does, before it has eaten the machine's memory. Pure.
//!
//! Each bound is many times what the largest run of any scenario needs (`tests/simulation/README.md`).

use std::time::Duration;

/// Calls in one moment of virtual time: of more there is no end within that moment.
const CALLS_IN_A_MOMENT: u64 = 10_000;

/// Calls within a minute.
const CALLS: u64 = 100_000;

/// Transactions within a minute that change something.
const COMMITS: u64 = 5_000;

/// Bytes of keys and values within a minute.
const WRITTEN: u64 = 16 << 20;

/// Lines of the trace.
const LINES: u64 = 20_000;

/// Bytes of the trace.
const TOLD: u64 = 16 << 20;

/// A bound that was reached: the rule that this breaks, and what somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) rule: &'static str,
    pub(super) what: &'static str,
}

/// What a run has taken so far.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// The moment of the last call, and how many there were in it.
    moment: (Duration, u64),
    /// The present minute, and what was done in it.
    minute: u64,
    calls: u64,
    commits: u64,
    written: u64,
    lines: u64,
    told: u64,
}

impl Bounds {
    /// Somebody makes a call: the bound that is reached with it, if one is.
    pub(super) fn call(&mut self, now: Duration) -> Option<Excess> {
        self.turn(now);
        self.calls += 1;
        self.moment = match self.moment {
            (moment, count) if moment == now => (moment, count + 1),
            _ => (now, 1),
        };
        let circles = "nobody goes round in circles";
        let endless = "nobody writes without end";
        let all = [
            (
                self.moment.1 >= CALLS_IN_A_MOMENT,
                circles,
                "makes one call more than any moment needs",
            ),
            (
                self.calls >= CALLS,
                circles,
                "makes one call more than any minute needs",
            ),
            (
                self.commits >= COMMITS,
                endless,
                "is there when the store has changed more often than any minute needs",
            ),
            (
                self.written >= WRITTEN,
                endless,
                "is there when more was written than any minute needs",
            ),
            (
                self.lines >= LINES,
                circles,
                "is there when more was done than any run needs",
            ),
            (
                self.told >= TOLD,
                endless,
                "is there when more was told than any run needs",
            ),
        ];
        let reached = all.into_iter().find(|(is_reached, ..)| *is_reached);
        reached.map(|(_, rule, what)| Excess { rule, what })
    }

    /// The store has changed by so many bytes.
    pub(super) fn commit(&mut self, now: Duration, bytes: usize) {
        self.turn(now);
        self.commits += 1;
        self.written += bytes as u64;
    }

    /// The trace has another line.
    pub(super) fn line(&mut self, bytes: usize) {
        self.lines += 1;
        self.told += bytes as u64;
    }

    fn turn(&mut self, now: Duration) {
        let minute = now.as_secs() / 60;
        if minute != self.minute {
            self.minute = minute;
            (self.calls, self.commits, self.written) = (0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn calls_that_never_end_within_a_moment_or_a_minute_are_seen() {
        let mut bounds = Bounds::default();
        let ends = |bounds: &mut Bounds, many: u64, now: fn(u64) -> Duration| {
            (0..many).find_map(|call| bounds.call(now(call)))
        };
        assert_eq!(ends(&mut bounds, CALLS_IN_A_MOMENT - 1, |_| at(1)), None);
        let excess = bounds.call(at(1)).expect("one more than a moment needs");
        assert_eq!(excess.rule, "nobody goes round in circles");
        let mut bounds = Bounds::default();
        let nanosecond = Duration::from_nanos;
        assert_eq!(ends(&mut bounds, CALLS - 1, nanosecond), None);
        assert!(
            bounds.call(at(59)).is_some(),
            "one more than a minute needs"
        );
        assert_eq!(bounds.call(at(60)), None, "another minute");
    }

    #[test]
    fn writes_without_end_are_seen_at_the_next_call() {
        let mut bounds = Bounds::default();
        for _ in 0..COMMITS {
            assert_eq!(bounds.call(at(bounds.commits / 5_000)), None);
            bounds.commit(at(1), 100);
        }
        let excess = bounds.call(at(9)).expect("more than a minute needs");
        assert_eq!(excess.rule, "nobody writes without end");
        let mut bounds = Bounds::default();
        bounds.commit(at(1), usize::try_from(WRITTEN).expect("it fits"));
        assert!(
            bounds.call(at(2)).is_some(),
            "more bytes than a minute needs"
        );
        assert_eq!(bounds.call(at(61)), None, "another minute");
    }

    #[test]
    fn a_trace_without_end_is_seen() {
        let mut bounds = Bounds::default();
        (0..LINES).for_each(|_| bounds.line(80));
        assert!(bounds.call(at(1)).is_some());
        let mut bounds = Bounds::default();
        bounds.line(usize::try_from(TOLD).expect("it fits"));
        assert!(bounds.call(at(1)).is_some());
    }
}
