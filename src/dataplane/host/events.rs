//! What the kernel tells by itself: that something changed; and iptables-legacy, of which it tells nothing.

use super::legacy::Legacy;
use crate::dataplane::netlink::socket::{Family, Socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::sync::Arc;
use tokio::sync::Notify;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_RULE, RTMGRP_IPV6_IFADDR, RTNLGRP_IPV6_RULE. Neighbours and routes change all the
/// time on a busy node: those of ours are looked at in turn.
const LINKS: u32 = 0x1 | 0x10 | 0x80 | 0x100 | 1 << 18;

/// NFNLGRP_NFTABLES, as a mask.
const TABLES: u32 = 1 << 6;

/// How often it is asked whether the filters of iptables-legacy are the same.
const POLL: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

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
        let legacy = Legacy::open()?;
        let told = Arc::new(Notify::new());
        let listener = told.clone();
        // A thread of its own, not the runtime's: waiting for a socket that is none of its own types takes unsafe code.
        std::thread::spawn(move || listen(&sockets, &legacy, &listener));
        Ok(Self { told })
    }

    /// Returns when something has changed since the last call. Safe to drop.
    pub async fn changed(&self) {
        self.told.notified().await;
    }
}

fn listen(sockets: &[Socket; 2], legacy: &[Legacy], told: &Notify) -> ! {
    // What cannot be read is told by who looks at the whole kernel.
    let read = || -> Vec<_> {
        let infos = legacy
            .iter()
            .map(|legacy| legacy.info().unwrap_or_default());
        infos.collect()
    };
    let mut last = read();
    loop {
        let mut waiting = sockets
            .each_ref()
            .map(|socket| PollFd::new(socket, PollFlags::IN));
        // Interrupted by a signal: as if something had come.
        let is_told = poll(&mut waiting, Some(&POLL)) != Ok(0);
        for socket in sockets {
            socket.drain();
        }
        let now = read();
        if is_told || now != last {
            told.notify_one();
        }
        last = now;
    }
}
