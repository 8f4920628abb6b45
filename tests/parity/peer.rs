//! One of the two servers, as a process of its own: started, ended or killed, and started again on what it wrote.

use crate::keys;
use crate::raw::Raw;
use crate::streams::WatchStream;
use crate::support::etcd::Etcd;
use crate::support::process::Process;
use crate::support::wait::until;
use etcd_client::proto::{
    PbPutRequest, PbPutResponse, PbStatusRequest, PbStatusResponse, PbWatchRequestUnion,
};
use std::net::TcpListener;
use std::time::Duration;
use tempfile::TempDir;

/// How many watch streams a client has.
pub(crate) const STREAMS: usize = 3;

/// How long a server may take to start, to end, or to tell what it has to tell.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and its client.
pub(crate) struct Peer {
    server: Server,
    pub(crate) raw: Raw,
    pub(crate) streams: [Option<WatchStream>; STREAMS],
}

enum Server {
    Real(Box<Etcd>),
    Ours(Ours),
}

/// The embedded store, served alone.
struct Ours {
    process: Option<Process>,
    address: String,
    dir: TempDir,
}

impl Peer {
    /// A real etcd, empty.
    pub(crate) async fn real() -> Self {
        let etcd = Etcd::of(crate::series(), &[]).await;
        let raw = Raw::new(&etcd.endpoint());
        Self::new(Server::Real(Box::new(etcd)), raw)
    }

    /// The embedded store, empty.
    pub(crate) async fn ours() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let mut ours = Ours {
            process: None,
            address,
            dir: TempDir::new().unwrap(),
        };
        ours.run().await;
        let raw = Raw::new(&ours.address);
        Self::new(Server::Ours(ours), raw)
    }

    fn new(server: Server, raw: Raw) -> Self {
        Self {
            server,
            raw,
            streams: [const { None }; STREAMS],
        }
    }

    /// Ends the server, or kills it, and starts it again. The client's streams are gone with it.
    pub(crate) async fn restart(&mut self, kill: bool) {
        self.streams = [const { None }; STREAMS];
        let address = match &mut self.server {
            Server::Real(etcd) => {
                if kill {
                    etcd.kill();
                } else {
                    etcd.stop().await;
                }
                etcd.run().await;
                etcd.endpoint()
            }
            Server::Ours(ours) => {
                let mut process = ours.process.take().unwrap();
                if kill {
                    process.kill();
                } else {
                    process.terminate(PATIENCE).await;
                }
                ours.run().await;
                ours.address.clone()
            }
        };
        self.raw = Raw::new(&address);
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        match &self.server {
            Server::Real(etcd) => etcd.endpoint(),
            Server::Ours(ours) => ours.address.clone(),
        }
    }

    /// A watch stream, opened if it is not.
    pub(crate) fn stream(&mut self, number: usize) -> &WatchStream {
        let raw = &self.raw;
        self.streams[number].get_or_insert_with(|| WatchStream::open(raw))
    }

    /// Returns when watches that began before are level with the store: etcd looks ten times a second for those that are
    /// behind, at all of them in one go, so that a later one that has caught up vouches for them.
    pub(crate) async fn level(&self) {
        let put = PbPutRequest {
            key: keys::PROBE.into(),
            ..PbPutRequest::default()
        };
        let put: PbPutResponse = match self.raw.call("KV/Put", put).await {
            Ok(put) => put,
            // A full store: there is nothing to vouch with, and watches are as quick as ever.
            Err(_) => return,
        };
        let revision = put.header.unwrap().revision;
        let stream = WatchStream::open(&self.raw);
        let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
        if let PbWatchRequestUnion::CreateRequest(create) = &mut request {
            create.key = keys::PROBE.into();
            create.start_revision = revision;
        }
        stream.send(request);
        until(PATIENCE, "a watch is level with the store", async || {
            let answers = stream.answers();
            answers
                .iter()
                .any(|answer| !answer.events.is_empty())
                .then_some(())
        })
        .await;
    }
}

impl Ours {
    /// Starts it on the data that is there and waits until it answers.
    async fn run(&mut self) {
        let data = self.dir.path().join("data");
        let data = data.to_str().unwrap();
        let arguments = [
            "store",
            "serve",
            "--listen",
            &self.address,
            "--data-dir",
            data,
        ];
        let mut process = Process::skep("embedded", &arguments, self.dir.path());
        let raw = Raw::new(&self.address);
        until(PATIENCE, "the embedded store answers", async || {
            assert!(process.is_running(), "it ended:\n{}", process.tail());
            let status = PbStatusRequest::default();
            let told: Result<PbStatusResponse, _> = raw.call("Maintenance/Status", status).await;
            told.ok()
        })
        .await;
        self.process = Some(process);
    }
}
