//! Short texts for ports and mounts: pure functions from the text to the long form.

use super::container::{BindOptions, Mount, MountKind, VolumeOptions};
use super::service::{PortMode, Protocol, ServicePort};
use super::unit::Port;
use std::net::IpAddr;

/// Reads `[host:|ADDRESS:][published:]target[/protocol]`.
///
/// `host:` opens the port on the task's node only, an address on that address of it; without both the port is open on
/// every node.
///
/// # Errors
/// The text is no such port; ranges are refused.
pub fn port(text: &str) -> Result<ServicePort, String> {
    let wrong = || {
        format!(
            "`{text}` is no port: write \"80\", \"8080:80\", \"8080:80/udp\" or \"host:8080:80\""
        )
    };
    let (numbers, protocol) = match text.rsplit_once('/') {
        Some((numbers, word)) => (numbers, Protocol::parse(word).ok_or_else(wrong)?),
        None => (text, Protocol::Tcp),
    };
    let (mode, host_ip, numbers) = host(numbers).ok_or_else(wrong)?;
    if numbers.contains('-') {
        return Err(format!("`{text}` is a range: list each port of it"));
    }
    let number = |text: &str| match text.parse::<u16>() {
        Ok(number) if number > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(Port(number)),
        Ok(_) | Err(_) => Err(wrong()),
    };
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

    #[test]
    fn ports_read_as_docker_writes_them() {
        let check = |text: &str, long: &str| {
            let port = port(text).expect(text);
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
            "8000-8010:80",
            "1:2:3",
            "+80",
            "host:",
            "::1:80:80",
        ] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
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
