//! Where an engine is: the URL of a node's spec, parsed.

use super::Error;

/// A parsed engine URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix {
        /// Its path.
        path: String,
    },
    /// A port of another machine.
    Tcp {
        /// A name or an address, an IPv6 one without brackets.
        host: String,
        /// The port, where one is given.
        port: Option<u16>,
    },
}

impl Address {
    /// Reads `unix:///path` or `tcp://host[:port]`.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Config {
            message: format!(
                "engine URL `{url}`: {why}; write unix:///var/run/docker.sock or tcp://host:2376"
            ),
        };
        match url.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix { path: path.into() }),
            Some(("unix", _)) => Err(wrong("the path of a socket begins with `/`")),
            Some(("tcp", rest)) => tcp(rest.trim_end_matches('/')).ok_or_else(|| {
                wrong("after tcp:// comes a host, and a port from 1 to 65535 if any")
            }),
            Some(("ssh", _)) => Err(wrong("ssh is not provided yet")),
            Some((scheme, _)) => Err(wrong(&format!("the scheme `{scheme}` is not known"))),
            None => Err(wrong("it has no scheme")),
        }
    }

    /// `host:port` for requests; the port is Docker's where none was given.
    pub(super) fn authority(&self, is_tls: bool) -> String {
        match self {
            Self::Unix { .. } => "localhost".into(),
            Self::Tcp { host, port } => {
                let port = port.unwrap_or(if is_tls { 2376 } else { 2375 });
                match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                }
            }
        }
    }
}

fn tcp(rest: &str) -> Option<Address> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (host, tail) = inner.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match tail {
                "" => (host, None),
                tail => (host, Some(tail.strip_prefix(':')?)),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some(Address::Tcp {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let got = match Address::parse(url) {
            Ok(Address::Unix { path }) => format!("socket {path}"),
            Ok(tcp) => tcp.authority(true),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{url}: {got}");
    }

    #[test]
    fn reads_urls_of_engines() {
        check("unix:///var/run/docker.sock", "socket /var/run/docker.sock");
        check("tcp://n1:1234", "n1:1234");
        check("tcp://n1", "n1:2376");
        check("tcp://10.0.0.1:2375/", "10.0.0.1:2375");
        check("tcp://[fe80::1]:2376", "[fe80::1]:2376");
        check("tcp://[::1]", "[::1]:2376");
    }

    #[test]
    fn refuses_what_is_no_url_and_says_what_would_be() {
        for url in [
            "tcp://",
            "tcp://n1:0",
            "tcp://n1:x",
            "tcp://a b:1",
            "tcp://n1/path:1",
        ] {
            check(url, "write unix:///var/run/docker.sock or tcp://host:2376");
        }
        check("unix://docker.sock", "begins with `/`");
        check("ssh://n1", "not provided yet");
        check("npipe://x", "`npipe` is not known");
        check("/var/run/docker.sock", "no scheme");
    }
}
