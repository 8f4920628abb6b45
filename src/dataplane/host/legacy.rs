//! iptables-legacy and ip6tables-legacy: their table of filters, read and replaced whole by options of a socket, which take NET_ADMIN.
//!
//! The kernel takes a table for another as long as that has as many rules as its maker believes. So iptables holds a lock while it
//! changes one, and so does this where the lock can be reached. In the agent's container it cannot: what else is in the host's
//! `/run` is nothing for an agent. There what the kernel refuses is tried again with what is there by then, and an iptables that
//! began before this and ended after it is refused in its turn: "Resource temporarily unavailable". That can only be while our
//! rule is put or taken away.

use super::Error;
use crate::dataplane::address::Version;
use crate::dataplane::netlink;
use crate::dataplane::xtables::{self, COUNTERS_AT, Info, Standing, Table};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// IPT_SO_GET_INFO and IPT_SO_SET_REPLACE, IPT_SO_GET_ENTRIES and IPT_SO_SET_ADD_COUNTERS (linux/netfilter_ipv4/ip_tables.h); those
/// of IPv6 have the same numbers (linux/netfilter_ipv6/ip6_tables.h).
const INFO: i32 = 64;
const REPLACE: i32 = 64;
const ENTRIES: i32 = 65;
const ADD_COUNTERS: i32 = 65;

/// How often a table that others change meanwhile is read again.
const ATTEMPTS: usize = 10;

/// The file that iptables locks.
const LOCK: &str = "/run/xtables.lock";

/// How long somebody else's lock is waited for in one go, and how often: who holds it for longer is left to the next audit.
const BUSY: (Duration, usize) = (Duration::from_millis(10), 50);

/// The door to the table of filters.
#[derive(Debug)]
pub(super) struct Legacy {
    version: Version,
    socket: OwnedFd,
}

fn refused(doing: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| {
        let doing = format!("{doing} the filters of iptables-legacy");
        netlink::Error { doing, errno }.into()
    }
}

impl Legacy {
    /// Opens both, in the network namespace of the calling thread; of a version that the kernel has not there is none. Any
    /// socket of the version does.
    pub(super) fn open() -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for version in Version::ALL {
            let family = match version {
                Version::V4 => AddressFamily::INET,
                Version::V6 => AddressFamily::INET6,
            };
            match socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
                Ok(socket) => all.push(Self { version, socket }),
                Err(Errno::AFNOSUPPORT) => {}
                Err(errno) => return Err(refused("open a socket to")(errno)),
            }
        }
        Ok(all)
    }

    /// Whose packets it is for.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Whose options its are.
    fn level(&self) -> i32 {
        match self.version {
            Version::V4 => libc::IPPROTO_IP,
            Version::V6 => libc::IPPROTO_IPV6,
        }
    }

    /// How our rule stands; nothing: there is no chain for it.
    pub(super) fn look(&self) -> Result<Option<Standing>, Error> {
        Ok(self.table()?.as_ref().and_then(xtables::find))
    }

    /// Puts our rule where it should be, or takes it away.
    pub(super) fn mend(&self, is_wanted: bool) -> Result<(), Error> {
        let _lock = lock()?;
        let mut last = Errno::AGAIN;
        for _ in 0..ATTEMPTS {
            let Some(mut table) = self.table()? else {
                return Ok(());
            };
            if xtables::find(&table).is_none_or(|standing| standing.is_right(is_wanted)) {
                return Ok(());
            }
            xtables::mend(&mut table, is_wanted);
            match self.replace(&table) {
                Ok(()) => return Ok(()),
                Err(errno @ Errno::AGAIN) => last = errno,
                Err(errno) => return Err(refused("change")(errno)),
            }
        }
        Err(refused("change")(last))
    }

    /// What the kernel says of the table; nothing: nobody has used it. Who asks for it would make it.
    pub(super) fn info(&self) -> Result<Option<Info>, Error> {
        let tables = std::fs::read_to_string(match self.version {
            Version::V4 => "/proc/thread-self/net/ip_tables_names",
            Version::V6 => "/proc/thread-self/net/ip6_tables_names",
        });
        if !tables.is_ok_and(|tables| tables.lines().any(|table| table == "filter")) {
            return Ok(None);
        }
        let mut bytes = Info::question();
        self.get(INFO, &mut bytes).map_err(refused("ask for"))?;
        let info = Info::parse(&bytes).ok_or(Errno::BADMSG);
        info.map(Some).map_err(refused("ask for"))
    }

    fn table(&self) -> Result<Option<Table>, Error> {
        let mut last = Errno::AGAIN;
        for _ in 0..ATTEMPTS {
            let Some(info) = self.info()? else {
                return Ok(None);
            };
            let mut bytes = info.listing();
            match self.get(ENTRIES, &mut bytes) {
                Ok(()) => {
                    let table = Table::parse(self.version, info, &bytes).ok_or(Errno::BADMSG);
                    return table.map(Some).map_err(refused("understand"));
                }
                // It has another size by now.
                Err(errno @ Errno::AGAIN) => last = errno,
                Err(errno) => return Err(refused("list")(errno)),
            }
        }
        Err(refused("list")(last))
    }

    /// Puts a table in place of the one that it was made of, with what its rules have counted.
    fn replace(&self, table: &Table) -> Result<(), Errno> {
        let mut counted = table.room();
        let mut bytes = table.replacement();
        let address = (counted.as_mut_ptr() as usize).to_ne_bytes();
        bytes[COUNTERS_AT..COUNTERS_AT + address.len()].copy_from_slice(&address);
        self.set(REPLACE, &bytes)?;
        // Somebody may have changed it again by now; what was counted is for people.
        let _ = self.set(ADD_COUNTERS, &table.carried(&counted));
        Ok(())
    }

    #[allow(unsafe_code, reason = "no library has these options of sockets")]
    fn get(&self, option: i32, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut length = bytes.len() as libc::socklen_t;
        let (socket, room) = (self.socket.as_raw_fd(), bytes.as_mut_ptr().cast());
        // SAFETY: the kernel writes at most `length` bytes to `room`, which has as many.
        let done = unsafe { libc::getsockopt(socket, self.level(), option, room, &mut length) };
        outcome(done)
    }

    /// Where `bytes` have an address, the kernel writes counters there, as many as they say: it is one of [`Table::room`].
    #[allow(unsafe_code, reason = "no library has these options of sockets")]
    fn set(&self, option: i32, bytes: &[u8]) -> Result<(), Errno> {
        let length = bytes.len() as libc::socklen_t;
        let (socket, value) = (self.socket.as_raw_fd(), bytes.as_ptr().cast());
        // SAFETY: the kernel reads `length` bytes of `value`, which has as many. What REPLACE has it write elsewhere is as long
        // as the room that `replace` gives the address of, and keeps until after the call.
        let done = unsafe { libc::setsockopt(socket, self.level(), option, value, length) };
        outcome(done)
    }
}

fn outcome(done: i32) -> Result<(), Errno> {
    match done {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// The lock of iptables, until it is dropped; nothing: it is not to be seen from here.
fn lock() -> Result<Option<File>, Error> {
    let Ok(file) = File::open(LOCK) else {
        return Ok(None);
    };
    let (pause, attempts) = BUSY;
    for _ in 0..attempts {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(pause),
            Err(errno) => return Err(refused("lock")(errno)),
        }
    }
    Err(refused("lock")(Errno::WOULDBLOCK))
}
