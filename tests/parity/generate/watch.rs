//! Draws what is asked on watch streams.

use super::Generator;
use crate::compare::Hint;
use crate::peer::STREAMS;
use crate::step::Step;
use etcd_client::proto::PbWatchRequestUnion;

impl Generator {
    pub(super) fn watching(&mut self, hint: &Hint) -> Step {
        let stream = self.random.below(STREAMS);
        match self.random.below(20) {
            0..13 => Step::Watch {
                stream,
                request: self.creation(hint),
            },
            13..17 => Step::Watch {
                stream,
                request: self.cancellation(),
            },
            17..19 => Step::Watch {
                stream,
                request: PbWatchRequestUnion::ProgressRequest(Default::default()),
            },
            _ => Step::Close { stream },
        }
    }

    fn creation(&mut self, hint: &Hint) -> PbWatchRequestUnion {
        // The message has no name outside of the client library.
        let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
        let PbWatchRequestUnion::CreateRequest(create) = &mut request else {
            unreachable!("it was made one line above");
        };
        (create.key, create.range_end) = self.span();
        create.start_revision = match self.random.below(3) {
            // Below zero where nothing is compacted, etcd makes all watches that are behind lose what they are to read.
            0 if hint.compacted > 0 => self.revision(hint),
            0 => self.revision(hint).max(0),
            _ => 0,
        };
        create.progress_notify = self.random.chance(20);
        create.filters = match self.random.below(8) {
            0 => vec![0],
            1 => vec![1],
            2 => vec![0, 1],
            _ => Vec::new(),
        };
        create.prev_kv = self.random.chance(50);
        // Below -1 too, which is what answers without a watch have.
        create.watch_id = match self.random.below(6) {
            0 => self.random.between(1, 12),
            1 => -self.random.between(2, 4),
            _ => 0,
        };
        create.fragment = self.random.chance(20);
        request
    }

    fn cancellation(&mut self) -> PbWatchRequestUnion {
        let mut request = PbWatchRequestUnion::CancelRequest(Default::default());
        if let PbWatchRequestUnion::CancelRequest(cancel) = &mut request {
            cancel.watch_id = self.random.between(-4, 12);
            if cancel.watch_id == -1 {
                cancel.watch_id = 0;
            }
        }
        request
    }
}
