//! Clients and servers over TCP. All of them are threads of this process, so that no start of a program is measured.

use super::space::Space;
use crate::report::instant;
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Two servers, so that connections by different ways never have the same addresses and ports: connection tracking would
/// have to give one of them another port.
#[derive(Clone, Copy)]
pub(super) enum Server {
    Plain = 5_000,
    Translated = 6_000,
}

/// What a server's port does, behind its number.
const SINK: u16 = 1;
const ECHO: u16 = 2;

/// Threads that take connections: as many clients never wait for each other.
const ACCEPTORS: usize = 4;

/// How much is written and read in one go.
const BUFFER: usize = 128 << 10;

/// After which a connection has failed.
const PATIENCE: Duration = Duration::from_secs(5);

impl Server {
    /// Takes all that is sent.
    pub(super) fn sink(self) -> u16 {
        self as u16 + SINK
    }

    /// Answers each byte.
    pub(super) fn echo(self) -> u16 {
        self as u16 + ECHO
    }
}

/// Serves all ports until the program ends.
pub(super) fn serve(space: &Space) {
    for server in [Server::Plain, Server::Translated] {
        listen(space, server.sink(), drain);
        listen(space, server.echo(), answer);
    }
}

fn listen(space: &Space, port: u16, work: fn(&TcpStream) -> io::Result<()>) {
    let listener = space.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
    let listener = listener.expect("a new namespace has all its ports");
    for _ in 0..ACCEPTORS {
        let listener = listener.try_clone().expect("a listener can be shared");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // What becomes of a connection is the client's to say.
                let _ = work(&stream);
            }
        });
    }
}

/// Reads to the end, and says so with one byte.
fn drain(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while stream.read(&mut buffer)? > 0 {}
    stream.write_all(&[1])
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Connects; the connection will end at once and leave nothing that waits: a port is free again.
fn connect(to: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::V4(to), PATIENCE)?;
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Gigabits per second over one connection, from its first byte to the server's word that it has the last.
#[allow(clippy::cast_precision_loss, reason = "bits of seconds")]
pub(super) fn throughput(from: &Space, to: SocketAddrV4, time: Duration) -> f64 {
    let run = || -> io::Result<f64> {
        let mut stream = connect(to)?;
        let (buffer, start, mut sent) = (vec![0; BUFFER], instant(), 0_u64);
        while start.elapsed() < time {
            sent += stream.write(&buffer)? as u64;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.read_exact(&mut [0])?;
        Ok(sent as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64())
    };
    let rate = from.within(run);
    rate.unwrap_or_else(|error| panic!("{to}: {error}"))
}

/// Connections per second, one after another, with one byte there and back each.
#[allow(clippy::cast_precision_loss, reason = "connections of a second")]
pub(super) fn connections(from: &Space, to: SocketAddrV4, time: Duration) -> f64 {
    let run = || -> io::Result<f64> {
        let (start, mut made) = (instant(), 0_u64);
        while start.elapsed() < time {
            ask(to)?;
            made += 1;
        }
        Ok(made as f64 / start.elapsed().as_secs_f64())
    };
    let rate = from.within(run);
    rate.unwrap_or_else(|error| panic!("{to}: {error}"))
}

/// One connection with one byte there and back.
fn ask(to: SocketAddrV4) -> io::Result<()> {
    let mut stream = connect(to)?;
    stream.write_all(&[7])?;
    stream.read_exact(&mut [0])
}

/// The time that each of so many connections takes to open.
pub(super) fn latencies(from: &Space, to: SocketAddrV4, count: usize) -> Vec<Duration> {
    let run = || -> io::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = instant();
            let stream = TcpStream::connect_timeout(&SocketAddr::V4(to), PATIENCE)?;
            times.push(start.elapsed());
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        Ok(times)
    };
    let times = from.within(run);
    times.unwrap_or_else(|error| panic!("{to}: {error}"))
}

/// Connects again and again while `going` says so: how many connections there were, and what went wrong with which.
pub(super) fn load(
    from: &Space,
    to: SocketAddrV4,
    going: impl Fn() -> bool + Sync,
) -> (usize, Vec<String>) {
    from.within(|| {
        let (mut made, mut failed) = (0, Vec::new());
        while going() {
            made += 1;
            if let Err(error) = ask(to) {
                failed.push(format!("{to}, connection {made}: {error}"));
            }
        }
        (made, failed)
    })
}
