//! Short texts for ports and mounts: pure functions from the text to the long form.

use super::container::{BindOptions, Mount, MountKind, VolumeOptions};
use super::port_range::PortRange;
use super::service::{PortMode, Protocol, ServicePort};
use std::net::IpAddr;

/// Reads `[host:|ADDRESS:][published:]target[/protocol]`; either may be a range, `8080-8082:80-82`.
///
/// `host:` opens the port on the task's node only, an address on that address of it; without both the port is open on
/// every node.
///
/// # Errors
/// The text is no such port.
pub fn port(text: &str) -> Result<ServicePort<PortRange>, String> {
    let wrong = || {
        format!(
            "`{text}` is no port: write \"80\", \"8080:80\", \"8080:80/udp\", \"8080-8082:80-82\" or \"host:8080:80\""
        )
    };
    let (numbers, protocol) = match text.rsplit_once('/') {
        Some((numbers, word)) => (numbers, Protocol::parse(word).ok_or_else(wrong)?),
        None => (text, Protocol::Tcp),
    };
    let (mode, host_ip, numbers) = host(numbers).ok_or_else(wrong)?;
    let number = |text: &str| PortRange::parse(text).ok_or_else(wrong);
    let (published, target) = match numbers.split_once(':') {
        Some((published, target)) => (Some(number(published)?), number(target)?),
        None => (None, number(numbers)?),
    };
    Ok(ServicePort {
        name: None,
        target,
        published,
        protocol,
        mode,
        host_ip,
        source: Default::default(),
        locality: Default::default(),
    })
}

/// Takes the part that says where a port is open.
fn host(text: &str) -> Option<(PortMode, Option<IpAddr>, &str)> {
    if let Some(rest) = text.strip_prefix("host:") {
        return Some((PortMode::Host, None, rest));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:")?;
        return Some((PortMode::Host, Some(address.parse().ok()?), rest));
    }
    match text.split_once(':') {
        Some((address, rest)) if address.contains('.') => {
            Some((PortMode::Host, Some(address.parse().ok()?), rest))
        }
        Some(_) | None => Some((PortMode::Ingress, None, text)),
    }
}

/// Reads `[source:]target[:options]`; an absolute source is a path of the node, another one a volume's name.
///
/// # Errors
/// The text is no such mount; relative paths are refused, there is no directory that they could be relative to.
pub fn mount(text: &str) -> Result<Mount, String> {
    let wrong = || format!("`{text}` is no mount: write \"volume:/path\" or \"/path:/path:ro\"");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(wrong()),
    };
    if !target.starts_with('/') || source == Some("") {
        return Err(wrong());
    }
    let mut mount = Mount {
        kind: match source {
            Some(path) if path.starts_with('/') => MountKind::Bind,
            Some(path) if path.starts_with(['.', '~']) => {
                return Err(format!(
                    "`{path}` is relative: a node needs an absolute path"
                ));
            }
            Some(_) | None => MountKind::Volume,
        },
        source: source.map(str::to_owned),
        target: target.to_owned(),
        ..Mount::default()
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        apply(option, &mut mount)?;
    }
    Ok(mount)
}

fn apply(option: &str, mount: &mut Mount) -> Result<(), String> {
    match (option, mount.kind) {
        ("ro", _) => mount.read_only = true,
        ("rw", _) => {}
        ("nocopy", MountKind::Volume) => {
            mount.volume = Some(VolumeOptions {
                no_copy: true,
                ..VolumeOptions::default()
            });
        }
        ("private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave", MountKind::Bind) => {
            mount.bind = Some(BindOptions {
                propagation: Some(option.to_owned()),
                ..BindOptions::default()
            });
        }
        _ => {
            return Err(format!(
                "`{option}` is no option of this mount: known are ro, rw, for volumes nocopy, for paths rprivate, rshared, rslave ..."
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::port_range::each;

    #[test]
    fn ports_read_as_docker_writes_them() {
        let check = |text: &str, long: &str| {
            let ports = each(port(text).expect(text)).expect(text);
            let [port] = ports.as_slice() else {
                panic!("{text} is {} ports", ports.len());
            };
            let published = port
                .published
                .map_or("-".to_owned(), |port| port.to_string());
            let place = port
                .host_ip
                .map_or(format!("{:?}", port.mode), |ip| ip.to_string());
            let protocol = port.protocol.as_str();
            assert_eq!(
                format!("{place} {published} {} {protocol}", port.target),
                long,
                "{text}"
            );
        };
        check("80", "Ingress - 80 tcp");
        check("8080:80", "Ingress 8080 80 tcp");
        check("8080:80/udp", "Ingress 8080 80 udp");
        check("53/udp", "Ingress - 53 udp");
        check("host:8080:80", "Host 8080 80 tcp");
        check("host:80", "Host - 80 tcp");
        check("127.0.0.1:8080:80", "127.0.0.1 8080 80 tcp");
        check("[::1]:8080:80/sctp", "::1 8080 80 sctp");
        for wrong in [
            "",
            "0",
            "70000",
            "a:b",
            "80/xyz",
            "8010-8000:80",
            "8000-:80",
            "0-3:80",
            "1:2:3",
            "+80",
            "host:",
            "::1:80:80",
        ] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_is_each_port_of_it() {
        let check = |text: &str, expected: &str| {
            let ports = port(text).and_then(each);
            let show = |port: &ServicePort| {
                let published = port.published.map_or("*".into(), |port| port.to_string());
                format!("{published}:{}/{}", port.target, port.protocol.as_str())
            };
            let shown = ports.map(|ports| ports.iter().map(show).collect::<Vec<_>>().join(" "));
            assert_eq!(shown.unwrap_or_else(|why| why), expected, "{text}");
        };
        check("8080-8082:80-82", "8080:80/tcp 8081:81/tcp 8082:82/tcp");
        check(
            "30000-30002:80/udp",
            "30000:80/udp 30001:80/udp 30002:80/udp",
        );
        check("80-81", "*:80/tcp *:81/tcp");
        check("127.0.0.1:1-2:1-2", "1:1/tcp 2:2/tcp");
        check("80-80:443", "80:443/tcp");
        check(
            "8080-8082:80-81",
            "3 published ports cannot lead to 2 ports: write as many, or one that all lead to",
        );
        check(
            "8080:80-81",
            "1 published ports cannot lead to 2 ports: write as many, or one that all lead to",
        );
    }

    #[test]
    fn mounts_read_as_docker_writes_them() {
        let check =
            |text: &str, kind: MountKind, source: Option<&str>, target: &str, read_only: bool| {
                let mount = mount(text).expect(text);
                assert_eq!(mount.kind, kind, "{text}");
                assert_eq!(mount.source.as_deref(), source, "{text}");
                assert_eq!(
                    (mount.target.as_str(), mount.read_only),
                    (target, read_only),
                    "{text}"
                );
            };
        check(
            "data:/var/lib/data:ro",
            MountKind::Volume,
            Some("data"),
            "/var/lib/data",
            true,
        );
        check("/srv:/www", MountKind::Bind, Some("/srv"), "/www", false);
        check(
            "/srv:/www:ro,rslave",
            MountKind::Bind,
            Some("/srv"),
            "/www",
            true,
        );
        check("/cache", MountKind::Volume, None, "/cache", false);
        for wrong in [
            "",
            "data",
            "./a:/b",
            "~/a:/b",
            "a:b",
            "a:/b:xx",
            "a:/b:rslave",
            ":/b",
            "a:/b:ro:c",
        ] {
            assert!(mount(wrong).is_err(), "{wrong}");
        }
    }
}
