//! What is asked of a server, and how much of it it does in a second.

use super::server::Server;
use crate::report::instant;
use etcd_client::{Client, GetOptions, Txn, TxnOp, WatchOptions, WatchStream};
use futures::StreamExt;
use futures::future::join_all;

/// Things in a second.
pub(super) type Rate = f64;

/// Puts one after another in a sample.
const SEQUENTIAL: usize = 300;
/// Puts in a sample with many in flight, and how many are.
const CONCURRENT: usize = 5_000;
const IN_FLIGHT: usize = 100;
/// Transactions in a sample, and operations in each.
const TXNS: usize = 40;
const OPERATIONS: usize = 120;
/// Keys of a range, their size, and ranges in a sample.
const KEYS: usize = 50_000;
const KEY_VALUE: usize = 100;
const RANGES: usize = 4;
/// Watchers, on so many connections, and puts in a sample.
const WATCHERS: usize = 1_000;
const CONNECTIONS: usize = 10;
const PUTS: usize = 20;

/// A kind of load.
#[derive(Clone, Copy)]
pub(super) enum Load {
    Sequential,
    Concurrent,
    Txn,
    Range,
    Fanout,
}

impl Load {
    pub(super) const ALL: [Self; 5] = [
        Self::Sequential,
        Self::Concurrent,
        Self::Txn,
        Self::Range,
        Self::Fanout,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sequential => "store-puts",
            Self::Concurrent => "store-flight",
            Self::Txn => "store-txns",
            Self::Range => "store-ranges",
            Self::Fanout => "store-watches",
        }
    }

    pub(super) fn about(self) -> String {
        match self {
            Self::Sequential => format!("{SEQUENTIAL} durable puts one after another"),
            Self::Concurrent => format!("{CONCURRENT} durable puts, {IN_FLIGHT} in flight"),
            Self::Txn => format!("{TXNS} transactions of {OPERATIONS} puts one after another"),
            Self::Range => format!("{RANGES} ranges of {KEYS} keys of {KEY_VALUE} bytes"),
            Self::Fanout => format!("{PUTS} puts seen by each of {WATCHERS} watchers"),
        }
    }

    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Sequential | Self::Concurrent => "puts/s",
            Self::Txn => "objects/s",
            Self::Range => "keys/s",
            Self::Fanout => "events/s",
        }
    }

    /// Brings a server to where the load begins.
    pub(super) async fn prepare(self, server: &Server) -> Prepared {
        let client = server.client().await;
        let mut watchers = Vec::new();
        match self {
            Self::Sequential | Self::Concurrent | Self::Txn => {}
            Self::Range => fill(server, KEYS, KEY_VALUE).await,
            Self::Fanout => watchers = watch(server).await,
        }
        Prepared {
            load: self,
            client,
            watchers,
            round: 0,
        }
    }
}

/// A server that waits for its load.
pub(super) struct Prepared {
    load: Load,
    client: Client,
    watchers: Vec<WatchStream>,
    round: usize,
}

impl Prepared {
    /// Puts the load on the server once.
    pub(super) async fn run(&mut self) -> Rate {
        self.round += 1;
        let start = instant();
        let done = match self.load {
            Load::Sequential => self.sequential().await,
            Load::Concurrent => self.concurrent().await,
            Load::Txn => self.txns().await,
            Load::Range => self.ranges().await,
            Load::Fanout => self.fanout().await,
        };
        #[allow(clippy::cast_precision_loss, reason = "things are few")]
        let rate = done as f64 / start.elapsed().as_secs_f64();
        rate
    }

    async fn sequential(&mut self) -> usize {
        for number in 0..SEQUENTIAL {
            put(&mut self.client, number).await;
        }
        SEQUENTIAL
    }

    async fn concurrent(&mut self) -> usize {
        futures::stream::iter(0..CONCURRENT)
            .for_each_concurrent(IN_FLIGHT, |number| {
                let mut client = self.client.clone();
                async move { put(&mut client, number).await }
            })
            .await;
        CONCURRENT
    }

    async fn txns(&mut self) -> usize {
        for number in 0..TXNS {
            let key = |place| format!("/txn/{:06}", number * OPERATIONS + place);
            let puts = (0..OPERATIONS).map(|place| TxnOp::put(key(place), vec![b'v'; 100], None));
            let txn = Txn::new().and_then(puts.collect::<Vec<_>>());
            self.client.txn(txn).await.expect("the server takes it");
        }
        TXNS * OPERATIONS
    }

    async fn ranges(&mut self) -> usize {
        // Answers are larger than what the client takes by default.
        let mut client = self
            .client
            .kv_client()
            .max_decoding_message_size(usize::MAX);
        for _ in 0..RANGES {
            let all = GetOptions::new().with_prefix();
            let found = client.get("/fill/", Some(all)).await;
            let found = found.expect("the server answers");
            assert_eq!(found.kvs().len(), KEYS, "the range is whole");
        }
        RANGES * KEYS
    }

    async fn fanout(&mut self) -> usize {
        let seen = join_all(self.watchers.iter_mut().map(async |watcher| {
            let mut seen = 0;
            while seen < PUTS {
                let answer = watcher.message().await.expect("the watch goes on");
                seen += answer.map_or(0, |answer| answer.events().len());
            }
            seen
        }));
        let mut client = self.client.clone();
        let puts = async {
            for number in 0..PUTS {
                let value = format!("{number}");
                client
                    .put("/watched", value, None)
                    .await
                    .expect("the server takes it");
            }
        };
        let (seen, ()) = tokio::join!(seen, puts);
        seen.into_iter().sum()
    }
}

async fn put(client: &mut Client, number: usize) {
    let key = format!("/put/{:05}", number % 10_000);
    let done = client.put(key, vec![b'v'; 256], None).await;
    done.expect("the server takes a put");
}

/// Writes so many keys with values of this size.
pub(super) async fn fill(server: &Server, keys: usize, size: usize) {
    let mut client = server.client().await;
    for first in (0..keys).step_by(100) {
        let numbers = first..(first + 100).min(keys);
        let puts =
            numbers.map(|number| TxnOp::put(format!("/fill/{number:08}"), vec![b'v'; size], None));
        let txn = Txn::new().and_then(puts.collect::<Vec<_>>());
        client.txn(txn).await.expect("the server takes it");
    }
}

/// Watchers of one key, each on a stream of its own.
async fn watch(server: &Server) -> Vec<WatchStream> {
    let mut watchers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = server.client().await;
        for _ in 0..WATCHERS / CONNECTIONS {
            let options = WatchOptions::new();
            let stream = client.watch("/watched", Some(options)).await;
            let mut stream = stream.expect("the server takes a watch");
            let created = stream.message().await.expect("the watch goes on");
            assert!(created.is_some_and(|answer| answer.created()));
            watchers.push(stream);
        }
    }
    watchers
}
