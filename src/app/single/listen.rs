//! Ports of `skep up`: the one that was asked for, or the next that is free.

use std::io;
use std::net::SocketAddr;

/// So many ports are tried after the usual one.
const TRIED: u16 = 100;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// There and nowhere else: a person said so.
    Exactly(SocketAddr),
    /// There, or at a port after it.
    From(SocketAddr),
}

impl Wish {
    /// What a person said, else `usual`.
    pub(super) fn new(said: Option<SocketAddr>, usual: SocketAddr) -> Self {
        said.map_or(Self::From(usual), Self::Exactly)
    }

    /// The address that is tried first.
    pub(super) fn first(self) -> SocketAddr {
        match self {
            Self::Exactly(address) | Self::From(address) => address,
        }
    }

    /// Binds the first address that is free; `bind` tells a taken address by its error.
    ///
    /// # Errors
    /// Those of `bind`: of the last address that was tried.
    pub(super) async fn bind<T, E>(
        self,
        bind: impl AsyncFn(SocketAddr) -> Result<T, E>,
        is_taken: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let mut address = self.first();
        let last = address.port().saturating_add(TRIED);
        loop {
            match bind(address).await {
                Err(error)
                    if matches!(self, Self::From(_))
                        && is_taken(&error)
                        && address.port() < last =>
                {
                    address.set_port(address.port() + 1);
                }
                result => return result,
            }
        }
    }
}

/// Whether an error says that somebody else listens there.
pub(super) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn loopback(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[tokio::test]
    async fn a_taken_port_is_passed_over_unless_a_person_named_it() {
        let other = TcpListener::bind(loopback(0)).await.unwrap();
        let taken = other.local_addr().unwrap();
        let next = Wish::From(taken)
            .bind(async |address| TcpListener::bind(address).await, is_taken)
            .await
            .unwrap();
        assert!(next.local_addr().unwrap().port() > taken.port());
        let exactly = Wish::Exactly(taken)
            .bind(async |address| TcpListener::bind(address).await, is_taken)
            .await;
        assert!(is_taken(&exactly.unwrap_err()));
    }

    #[tokio::test]
    async fn another_error_is_no_reason_to_look_further() {
        let mut tried = Vec::new();
        let tried_all = std::sync::Mutex::new(&mut tried);
        let result: Result<(), io::Error> = Wish::From(loopback(5))
            .bind(
                async |address: SocketAddr| {
                    tried_all.lock().unwrap().push(address.port());
                    Err(io::Error::from(io::ErrorKind::PermissionDenied))
                },
                is_taken,
            )
            .await;
        assert!(result.is_err());
        assert_eq!(tried, [5]);
    }
}
