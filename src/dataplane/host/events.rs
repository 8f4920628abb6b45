//! What the kernel tells by itself: that something changed.

use crate::dataplane::netlink::socket::{Family, Socket};
use rustix::event::{PollFd, PollFlags, poll};
use std::sync::Arc;
use tokio::sync::Notify;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_RULE. Neighbours and routes change all the time on a busy node: those of
/// ours are looked at in turn.
const LINKS: u32 = 0x1 | 0x10 | 0x80;

/// NFNLGRP_NFTABLES, as a mask.
const TABLES: u32 = 1 << 6;

/// Changes of links, addresses, rules and tables, by whomever.
#[derive(Debug)]
pub struct Events {
    told: Arc<Notify>,
}

impl Events {
    /// Listens as long as the process lives, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel has no netlink.
    pub fn open() -> Result<Self, super::Error> {
        let sockets = [
            Socket::open(Family::Route, LINKS)?,
            Socket::open(Family::Netfilter, TABLES)?,
        ];
        let told = Arc::new(Notify::new());
        let listener = told.clone();
        // A thread of its own, not the runtime's: waiting for a socket that is none of its own types takes unsafe code.
        std::thread::spawn(move || listen(&sockets, &listener));
        Ok(Self { told })
    }

    /// Returns when something has changed since the last call. Safe to drop.
    pub async fn changed(&self) {
        self.told.notified().await;
    }
}

fn listen(sockets: &[Socket; 2], told: &Notify) -> ! {
    loop {
        let mut waiting = sockets
            .each_ref()
            .map(|socket| PollFd::new(socket, PollFlags::IN));
        // Interrupted by a signal: as if something had come.
        let _ = poll(&mut waiting, None);
        for socket in sockets {
            socket.drain();
        }
        told.notify_one();
    }
}
