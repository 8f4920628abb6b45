//! A netlink socket: requests, dumps and batches, one at a time.

use super::message::{Message, flag, received, u32_at};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto,
    socket_with, sockopt,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The kernel's NLMSG_ERROR and NLMSG_DONE.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// NLM_F_DUMP_INTR: what was listed changed meanwhile.
const INTERRUPTED: u16 = 0x10;

/// How often a list that changed under our eyes is read again.
const ATTEMPTS: usize = 10;

/// Room for what is sent in one go: 100,000 elements of maps. The kernel charges it only while it is used.
const SEND_BUFFER: usize = 64 << 20;

/// Room for what the kernel answers or tells meanwhile.
const RECEIVE_BUFFER: usize = 8 << 20;

/// How many requests are told in one go: were all refused, the answers would fit into the buffer for them.
const PART: usize = 1_000;

/// The largest datagram of a dump: the kernel makes them as large as the reader's buffer, up to 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// What the kernel did not do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the kernel refused to {doing}: {errno}")]
pub struct Error {
    /// What was asked, as a verb.
    pub doing: String,
    /// Its reason.
    pub errno: Errno,
}

impl Error {
    /// Whether the same may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        // Among them: something else was just made or taken away, which the next look at the kernel shows.
        !matches!(self.errno, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP)
    }
}

/// Which part of the kernel.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataplane) enum Family {
    /// Links, addresses, neighbours, routes, rules.
    Route,
    /// nf_tables and conntrack.
    Netfilter,
}

/// The socket; it speaks of the network namespace that its thread was in when it was opened.
#[derive(Debug)]
pub(in crate::dataplane) struct Socket {
    file: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens one; `groups` is the mask of what the kernel shall tell by itself.
    pub(in crate::dataplane) fn open(family: Family, groups: u32) -> Result<Self, Error> {
        let failed = |errno| Error {
            doing: format!("open a socket to {family:?}"),
            errno,
        };
        let protocol: Option<Protocol> = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let kind = SocketType::RAW;
        let flags = SocketFlags::CLOEXEC;
        let file = socket_with(AddressFamily::NETLINK, kind, flags, protocol).map_err(failed)?;
        bind(&file, &SocketAddrNetlink::new(0, groups)).map_err(failed)?;
        // Without the right to exceed the limit it stays at the default, which is enough for small changes.
        let _ = sockopt::set_socket_send_buffer_size_force(&file, SEND_BUFFER);
        let _ = sockopt::set_socket_recv_buffer_size_force(&file, RECEIVE_BUFFER);
        Ok(Self { file, sequence: 0 })
    }

    /// Asks for one thing and waits for the answer that says whether it was done.
    pub(in crate::dataplane) fn request(
        &mut self,
        doing: &str,
        mut message: Message,
    ) -> Result<(), Error> {
        message.flags |= flag::ACK;
        self.sequence += 1;
        let mut bytes = Vec::new();
        message.write(self.sequence, &mut bytes);
        self.send(doing, &bytes)?;
        let last = self.sequence;
        self.answers(doing, |kind, sequence, body| match kind {
            ERROR if sequence == last => Some(code(body)),
            _ => None,
        })
    }

    /// Asks for many things, one after another, and waits until all were done or one was not.
    ///
    /// The kernel says by itself what it refuses; only the last of each part is asked for an answer.
    pub(in crate::dataplane) fn requests(
        &mut self,
        doing: &str,
        mut messages: Vec<Message>,
    ) -> Result<(), Error> {
        for part in messages.chunks_mut(PART) {
            let first = self.sequence + 1;
            let mut bytes = Vec::new();
            if let Some(last) = part.last_mut() {
                last.flags |= flag::ACK;
            }
            for message in part {
                self.sequence += 1;
                message.write(self.sequence, &mut bytes);
            }
            let last = self.sequence;
            self.send(doing, &bytes)?;
            self.answers(doing, |kind, sequence, body| match kind {
                ERROR if sequence == last => Some(code(body)),
                ERROR if (first..last).contains(&sequence) => Some(Err(code(body).err()?)),
                _ => None,
            })?;
        }
        Ok(())
    }

    /// Lists what the message asks for; `each` gets every item's type and body.
    pub(in crate::dataplane) fn dump(
        &mut self,
        doing: &str,
        message: &Message,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Error> {
        let items = self.list(doing, message)?;
        for (kind, body) in &items {
            each(*kind, body);
        }
        Ok(())
    }

    fn list(&mut self, doing: &str, message: &Message) -> Result<Vec<(u16, Vec<u8>)>, Error> {
        for _ in 0..ATTEMPTS {
            self.sequence += 1;
            let mut bytes = Vec::new();
            let mut asked = message.clone();
            asked.flags |= flag::DUMP;
            asked.write(self.sequence, &mut bytes);
            self.send(doing, &bytes)?;
            let mut items = Vec::new();
            if self.collect(doing, &mut items)? {
                return Ok(items);
            }
        }
        Err(Error {
            doing: doing.to_owned(),
            errno: Errno::INTR,
        })
    }

    /// Reads the parts of a list up to its end; false: it changed meanwhile.
    fn collect(&mut self, doing: &str, items: &mut Vec<(u16, Vec<u8>)>) -> Result<bool, Error> {
        let last = self.sequence;
        let mut buffer = vec![0; DATAGRAM];
        let mut whole = true;
        loop {
            let length = self.receive(doing, &mut buffer, RecvFlags::empty())?;
            for part in received(&buffer[..length]) {
                if part.sequence != last {
                    continue;
                }
                whole &= part.flags & INTERRUPTED == 0;
                match part.kind {
                    DONE => return Ok(whole),
                    ERROR => {
                        return code(part.body)
                            .map(|()| whole)
                            .map_err(|errno| at(doing, errno));
                    }
                    kind => items.push((kind, part.body.to_vec())),
                }
            }
        }
    }

    /// Sends many messages as one; nf_tables does all of them or none.
    ///
    /// The kernel answers while it is sent to, so whatever it has to say is there afterwards.
    pub(in crate::dataplane) fn batch(
        &mut self,
        doing: &str,
        messages: &[Message],
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let first = self.sequence + 1;
        for message in messages {
            self.sequence += 1;
            message.write(self.sequence, &mut bytes);
        }
        self.send(doing, &bytes)?;
        let mut buffer = vec![0; DATAGRAM];
        let mut failed = None;
        loop {
            match recv(&self.file, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    for part in received(&buffer[..length]) {
                        if part.kind != ERROR || part.sequence < first {
                            continue;
                        }
                        if let (Err(errno), None) = (code(part.body), &failed) {
                            let number = part.sequence - first;
                            failed = Some(at(&format!("{doing} (message {number})"), errno));
                        }
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed.unwrap_or_else(|| at(doing, errno))),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Throws away what the kernel told by itself.
    pub(in crate::dataplane) fn drain(&self) {
        let mut buffer = vec![0; DATAGRAM];
        // An overflow (ENOBUFS) is an answer too: there is more than one need know.
        while !matches!(
            recv(&self.file, &mut buffer[..], RecvFlags::DONTWAIT),
            Err(Errno::AGAIN)
        ) {}
    }

    fn send(&self, doing: &str, bytes: &[u8]) -> Result<(), Error> {
        let kernel = SocketAddrNetlink::new(0, 0);
        loop {
            match sendto(&self.file, bytes, SendFlags::empty(), &kernel) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(at(doing, errno)),
            }
        }
    }

    fn receive(&self, doing: &str, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Error> {
        loop {
            match recv(&self.file, &mut *buffer, flags) {
                Ok((length, _)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(at(doing, errno)),
            }
        }
    }

    /// Reads until `find` has an answer.
    fn answers(
        &self,
        doing: &str,
        find: impl Fn(u16, u32, &[u8]) -> Option<Result<(), Errno>>,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = self.receive(doing, &mut buffer, RecvFlags::empty())?;
            for part in received(&buffer[..length]) {
                if let Some(answer) = find(part.kind, part.sequence, part.body) {
                    return answer.map_err(|errno| at(doing, errno));
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn at(doing: &str, errno: Errno) -> Error {
    Error {
        doing: doing.to_owned(),
        errno,
    }
}

/// What an answer says: zero is yes.
fn code(body: &[u8]) -> Result<(), Errno> {
    match u32_at(body, 0).unwrap_or_default().cast_signed() {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(-code)),
    }
}
