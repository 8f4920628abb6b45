//! [`Watches`]: the watches of one stream, their ids and what is said of them, in etcd's order of answers.

use super::{Api, convert, fragment};
use crate::embedded::mvcc::{Event, Span};
use crate::embedded::store::{News, Seen, Wanted, Watcher};
use etcd_client::proto::PbWatchResponse;
use std::collections::{BTreeMap, VecDeque};

/// etcd's number of the filter that leaves out puts.
const NO_PUT: i32 = 0;
/// And of the one that leaves out deletions.
const NO_DELETE: i32 = 1;

/// What a client asks for.
pub(super) struct Request {
    pub(super) key: Vec<u8>,
    pub(super) range_end: Vec<u8>,
    pub(super) start_revision: i64,
    pub(super) progress_notify: bool,
    pub(super) filters: Vec<i32>,
    pub(super) prev_kv: bool,
    pub(super) watch_id: i64,
    pub(super) fragment: bool,
}

/// One watch of the stream.
#[derive(Debug)]
struct Watch {
    /// Its number in the store; none: it ended by a compaction, but its id is taken until it is cancelled.
    number: Option<u64>,
    puts: bool,
    deletions: bool,
    fragment: bool,
    progress: bool,
    /// Whether it told anything since the last progress.
    is_fresh: bool,
}

/// The watches of one stream.
pub(super) struct Watches {
    api: Api,
    watcher: Watcher,
    next_id: i64,
    watches: BTreeMap<i64, Watch>,
    /// The ids by the store's numbers.
    ids: BTreeMap<u64, i64>,
}

impl Watches {
    pub(super) fn new(api: Api) -> Self {
        Self {
            watcher: api.store.watcher(),
            api,
            next_id: 0,
            watches: BTreeMap::new(),
            ids: BTreeMap::new(),
        }
    }

    /// Waits until there are news. Safe to drop.
    pub(super) async fn waiting(&self) {
        self.watcher.changed().await;
    }

    /// Begins a watch; the answer says whether it did.
    pub(super) fn create(&mut self, request: Request) -> PbWatchResponse {
        // An empty key means the first that there can be.
        let key = match request.key {
            key if key.is_empty() => vec![0],
            key => key,
        };
        let span = Span::new(key, request.range_end);
        if span.is_empty() {
            return self.refused("mvcc: watcher range is empty");
        }
        if request.watch_id != 0 && self.watches.contains_key(&request.watch_id) {
            return self.refused("mvcc: duplicate watch ID provided on the WatchStream");
        }
        let id = match request.watch_id {
            0 => self.fresh_id(),
            id => id,
        };
        let (number, revision) = self.watcher.add(Wanted {
            span,
            start: request.start_revision,
            previous: request.prev_kv,
        });
        let watch = Watch {
            number: Some(number),
            puts: !request.filters.contains(&NO_PUT),
            deletions: !request.filters.contains(&NO_DELETE),
            fragment: request.fragment,
            progress: request.progress_notify,
            is_fresh: true,
        };
        self.watches.insert(id, watch);
        self.ids.insert(number, id);
        PbWatchResponse {
            created: true,
            ..self.answer(id, revision)
        }
    }

    fn fresh_id(&mut self) -> i64 {
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn refused(&self, reason: &str) -> PbWatchResponse {
        PbWatchResponse {
            created: true,
            canceled: true,
            cancel_reason: reason.into(),
            ..self.answer(-1, self.api.store.revision())
        }
    }

    /// Ends a watch. An unknown id is met with silence.
    pub(super) fn cancel(&mut self, id: i64) -> Option<PbWatchResponse> {
        let watch = self.watches.remove(&id)?;
        if let Some(number) = watch.number {
            self.watcher.remove(number);
            self.ids.remove(&number);
        }
        Some(PbWatchResponse {
            canceled: true,
            ..self.answer(id, self.api.store.revision())
        })
    }

    /// Where the stream stands, said to no watch in particular. What is older has to be told before it.
    pub(super) fn stand(&mut self) -> VecDeque<PbWatchResponse> {
        let (mut answers, revision) = self.all_news();
        answers.push_back(self.answer(-1, revision));
        answers
    }

    /// The next answers, empty where filters left nothing; none: there is nothing to tell.
    pub(super) fn news(&mut self) -> Option<VecDeque<PbWatchResponse>> {
        let news = self.watcher.take()?;
        Some(self.told(news))
    }

    /// All answers that there are, and the revision up to which they tell everything.
    fn all_news(&mut self) -> (VecDeque<PbWatchResponse>, i64) {
        let mut all = VecDeque::new();
        loop {
            match self.watcher.next() {
                Ok(news) => all.extend(self.told(news)),
                Err(durable) => return (all, durable),
            }
        }
    }

    fn told(&mut self, news: News) -> VecDeque<PbWatchResponse> {
        match news {
            News::Compacted { watch, oldest } => self.compacted(watch, oldest),
            News::Events {
                watch,
                revision,
                events,
            } => self.events(watch, revision, &events),
        }
    }

    fn compacted(&mut self, number: u64, oldest: i64) -> VecDeque<PbWatchResponse> {
        let Some(id) = self.ids.remove(&number) else {
            return VecDeque::new();
        };
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.number = None;
        }
        let answer = PbWatchResponse {
            canceled: true,
            compact_revision: oldest,
            ..self.answer(id, 0)
        };
        [answer].into()
    }

    fn events(&mut self, number: u64, revision: i64, seen: &[Seen]) -> VecDeque<PbWatchResponse> {
        let Some((id, watch)) = self
            .ids
            .get(&number)
            .and_then(|id| Some((*id, self.watches.get_mut(id)?)))
        else {
            return VecDeque::new();
        };
        let wanted = seen.iter().filter(|seen| match seen.event {
            Event::Put(_) => watch.puts,
            Event::Delete(..) => watch.deletions,
        });
        let events: Vec<_> = wanted
            .map(|seen| convert::event(&seen.event, seen.previous.as_ref()))
            .collect();
        if events.is_empty() {
            return VecDeque::new();
        }
        watch.is_fresh = true;
        let splits = watch.fragment;
        let answer = PbWatchResponse {
            events,
            ..self.answer(id, revision)
        };
        if splits {
            fragment::split(answer)
        } else {
            [answer].into()
        }
    }

    /// Tells where the store stands to the watches that asked for it and were told nothing since the last time.
    pub(super) fn progress(&mut self) -> VecDeque<PbWatchResponse> {
        let (mut answers, revision) = self.all_news();
        let mut silent = Vec::new();
        for (id, watch) in &mut self.watches {
            if !std::mem::take(&mut watch.is_fresh) && watch.progress && watch.number.is_some() {
                silent.push(*id);
            }
        }
        answers.extend(silent.into_iter().map(|id| self.answer(id, revision)));
        answers
    }

    fn answer(&self, id: i64, revision: i64) -> PbWatchResponse {
        PbWatchResponse {
            header: self.api.header(revision),
            watch_id: id,
            ..PbWatchResponse::default()
        }
    }
}
