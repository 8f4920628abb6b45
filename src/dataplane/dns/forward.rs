//! Questions that are not ours go to the node's resolvers as they came, and answers come back as they are.
//!
//! One resolver after the other, twice, within what the engine's embedded resolver waits (4 s). Nothing is kept, so a
//! forged answer would reach its asker only: a socket of its own for each question, with a port that the kernel draws, is enough.

use super::message::{Transport, is_answer};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one resolver may take: most answer within a tenth of that, and the next one is to have its turn.
const ONE: Duration = Duration::from_millis(1_200);

/// How long all of them may take.
const ALL: Duration = Duration::from_millis(3_500);

/// How often each is asked: a datagram may be lost.
const ROUNDS: usize = 2;

/// The largest answer by datagram; nobody offers to take more.
const DATAGRAM: usize = 4_096;

/// What the node's resolvers say; `None`: none of them did in time.
pub(super) async fn forward(
    request: &[u8],
    resolvers: &[SocketAddr],
    transport: Transport,
) -> Option<Reply> {
    let all = async {
        for round in 0..ROUNDS {
            for resolver in resolvers {
                if round > 0 && transport == Transport::Tcp {
                    return None;
                }
                let asked = async {
                    match transport {
                        Transport::Udp => datagram(request, *resolver).await,
                        Transport::Tcp => stream(request, *resolver).await,
                    }
                };
                if let Ok(Ok(reply)) = timeout(ONE, asked).await {
                    return Some(reply);
                }
            }
        }
        None
    };
    timeout(ALL, all).await.ok().flatten()
}

/// What a resolver said.
pub(super) enum Reply {
    /// This.
    Whole(Vec<u8>),
    /// More than fits into our hands.
    TooLong,
}

async fn datagram(request: &[u8], resolver: SocketAddr) -> io::Result<Reply> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(request).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if !is_answer(request, &buffer[..length]) {
            continue;
        }
        if length == DATAGRAM {
            return Ok(Reply::TooLong);
        }
        buffer.truncate(length);
        return Ok(Reply::Whole(buffer));
    }
}

async fn stream(request: &[u8], resolver: SocketAddr) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(resolver).await?;
    write(&mut stream, request).await?;
    let answer = read(&mut stream).await?;
    match is_answer(request, &answer) {
        true => Ok(Reply::Whole(answer)),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads a message with its length in front.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length in front.
pub(super) async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}
