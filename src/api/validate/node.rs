//! What a node may say.

use super::super::node::{EngineSpec, NodeSpec, TlsFiles};
use super::super::path::Path;
use super::{Found, Refusal};

/// All that is wrong with a node.
///
/// That a `unix://` engine without `manager` belongs to the manager that accepts it is settled at acceptance.
pub fn node(spec: &NodeSpec) -> Vec<Refusal> {
    let mut found = Found::default();
    let path = Path::of("engine");
    engine(&spec.engine, &path, &mut found);
    let local = spec.engine.url.starts_with("unix://");
    found.refuse_if(
        spec.manager.is_some() && !local,
        || Path::of("manager"),
        "only a unix:// engine belongs to one manager: leave this out",
    );
    let nameless = spec.manager.as_deref() == Some("");
    found.refuse_if(
        nameless,
        || Path::of("manager"),
        "expected a manager's name",
    );
    found.refuse_if(
        spec.address.is_some_and(|address| address.is_unspecified()),
        || Path::of("address"),
        "is no address that other nodes can reach",
    );
    found.0
}

fn engine(engine: &EngineSpec, path: &Path, found: &mut Found) {
    let url = engine.url.as_str();
    let path_of_url = path.key("url");
    match url.split_once("://") {
        Some(("unix", socket)) => {
            let wrong = !socket.starts_with('/');
            let message = "expected an absolute path: unix:///var/run/docker.sock";
            found.refuse_if(wrong, || path_of_url, message);
            let message = "a socket of the own machine needs no TLS: leave this out";
            found.refuse_if(engine.tls.is_some(), || path.key("tls"), message);
        }
        Some(("tcp", address)) => {
            let message = format!("expected tcp://HOST:PORT, found {url:?}");
            found.refuse_if(!is_host_and_port(address), || path_of_url, message);
        }
        Some(("ssh", _)) => {
            found.refuse(
                path_of_url,
                "ssh:// is not provided yet: write tcp:// with TLS",
            );
        }
        Some(("http" | "https", _)) => {
            found.refuse(path_of_url, "write tcp://HOST:PORT, with `tls` for TLS");
        }
        Some(_) | None => {
            let message =
                format!("expected unix:///var/run/docker.sock or tcp://HOST:PORT, found {url:?}");
            found.refuse(path_of_url, message);
        }
    }
    if let Some(tls) = &engine.tls {
        files(tls, &path.key("tls"), found);
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let bracketed = |host: &str| {
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let named = |host: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !host.is_empty() && host.bytes().all(inner)
    };
    (bracketed(host) || named(host)) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Rule K1: a key in the store is root on the node for everyone who reads the store.
fn files(tls: &TlsFiles, path: &Path, found: &mut Found) {
    for (name, value) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
        if value.contains("BEGIN") {
            let message = "expected the path of a file on the managers, found what looks like its content: keys do not belong into the store";
            found.refuse(path.key(name), message);
        } else if !value.starts_with('/') {
            let message = format!("expected an absolute path on the managers, found {value:?}");
            found.refuse(path.key(name), message);
        }
    }
}
