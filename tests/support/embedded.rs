//! The embedded store behind its gRPC server, in this process, with its data in a directory that goes with it.

use skep::embedded::server::Listener;
use skep::embedded::store::{Options, Store};
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on a free port of the loopback interface.
pub(crate) struct Embedded {
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    data: TempDir,
}

impl Embedded {
    /// An empty one.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        Self::on(TempDir::new().unwrap(), options).await
    }

    /// One that goes on with what lies in the directory.
    async fn on(data: TempDir, options: Options) -> Self {
        let (store, report) = Store::open(data.path(), options).unwrap();
        assert!(report.is_clean(), "{report:?}");
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = Listener::bind(any, None).await.unwrap();
        let address = listener.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = listener.serve(store.clone(), async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(async { serving.await.unwrap() });
        Self {
            store,
            address,
            stop,
            served,
            data,
        }
    }

    /// Stops it in good order and starts it anew, on another port.
    pub(crate) async fn restarted(self, options: Options) -> Self {
        let Self {
            store,
            stop,
            served,
            data,
            ..
        } = self;
        stop.send(()).unwrap();
        served.await.unwrap();
        drop(store);
        Self::on(data, options).await
    }
}
