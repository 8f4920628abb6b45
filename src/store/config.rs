//! Where the store is and who we are to it: flags and variables, with etcdctl's own names.
//!
//! Order: the flag, `SKEP_<NAME>`, `ETCDCTL_<NAME>`, the default. Resolving is pure: the environment is an argument.
//! Passwords never show in `Debug`.

use crate::api::key::DEFAULT_PREFIX;
use std::convert::Infallible;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where etcd listens unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

/// The flags that name a store, as etcdctl has them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Endpoints of etcd, separated by commas [default: 127.0.0.1:2379]
    #[arg(long, global = true, value_name = "HOST:PORT,...")]
    pub endpoints: Option<String>,
    /// File with the certificates of the authorities that signed etcd's certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub cacert: Option<String>,
    /// File with the certificate that identifies us
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<String>,
    /// File with the key of that certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<String>,
    /// User of etcd, with or without the password
    #[arg(long, global = true, value_name = "NAME[:PASSWORD]")]
    pub user: Option<Secret>,
    /// Password of that user
    #[arg(long, global = true, value_name = "PASSWORD")]
    pub password: Option<Secret>,
    /// Prefix of all keys of this cluster [default: /skep/]
    #[arg(long, global = true, value_name = "PREFIX")]
    pub prefix: Option<String>,
}

/// Where the store is and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// With scheme: `http://127.0.0.1:2379`. At least one.
    pub endpoints: Vec<String>,
    /// Certificates of the authorities that signed etcd's.
    pub cacert: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// User of etcd.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Prefix of all keys; ends in `/`.
    pub prefix: String,
}

/// Settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No endpoint is left.
    #[error("no endpoint of etcd is given: write --endpoints HOST:PORT")]
    NoEndpoint,
    /// One half of a pair.
    #[error("--{given} needs --{missing} as well")]
    Half {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// Certificates for a connection in the clear.
    #[error(
        "{endpoint} is not encrypted but certificates are given: write https:// or leave the scheme out"
    )]
    ClearWithCertificates {
        /// The endpoint.
        endpoint: String,
    },
    /// Not an endpoint.
    #[error(
        "`{endpoint}` is no endpoint of etcd: {why}; --endpoints, SKEP_ENDPOINTS or ETCDCTL_ENDPOINTS take HOST:PORT, http://HOST:PORT or https://HOST:PORT, separated by commas"
    )]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file that is not there or holds something else.
    #[error(
        "{} cannot be used for --{setting} (SKEP_{variable}, ETCDCTL_{variable}): {why}",
        path.display()
    )]
    File {
        /// The flag without its dashes.
        setting: &'static str,
        /// The variables without their prefixes.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody to trust.
    #[error(
        "{endpoint} needs --cacert FILE, the authority that signed its certificate (for public ones: the system's bundle)"
    )]
    NoAuthority {
        /// The endpoint.
        endpoint: String,
    },
}

impl ConfigError {
    fn endpoint(endpoint: &str, why: &'static str) -> Self {
        Self::Endpoint {
            endpoint: endpoint.to_owned(),
            why,
        }
    }

    /// Whether the same settings may be right later: never.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl StoreArgs {
    /// Joins flags, environment and defaults.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn resolve(
        &self,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<StoreConfig, ConfigError> {
        let set = |flag: Option<&String>, name: &str| {
            let from = |prefix: &str| env(&format!("{prefix}{name}")).filter(|v| !v.is_empty());
            flag.cloned()
                .or_else(|| from("SKEP_"))
                .or_else(|| from("ETCDCTL_"))
        };
        let path = |flag: Option<&String>, name: &str| set(flag, name).map(PathBuf::from);
        let secret = |flag: &Option<Secret>, name: &str| set(flag.as_ref().map(|s| &s.0), name);

        let endpoints = set(self.endpoints.as_ref(), "ENDPOINTS");
        let (user, password) = credentials(
            secret(&self.user, "USER"),
            secret(&self.password, "PASSWORD"),
        )?;
        let config = StoreConfig {
            endpoints: split(endpoints.as_deref().unwrap_or(DEFAULT_ENDPOINT)),
            cacert: path(self.cacert.as_ref(), "CACERT"),
            cert: path(self.cert.as_ref(), "CERT"),
            key: path(self.key.as_ref(), "KEY"),
            user,
            password,
            prefix: prefix(set(self.prefix.as_ref(), "PREFIX")),
        };
        config.checked()
    }
}

impl StoreConfig {
    /// A store at one endpoint without encryption or user.
    pub fn plain(endpoint: &str) -> Self {
        Self {
            endpoints: vec![format!("http://{endpoint}")],
            cacert: None,
            cert: None,
            key: None,
            user: None,
            password: None,
            prefix: DEFAULT_PREFIX.into(),
        }
    }

    /// Whether any certificate is named, which asks for TLS.
    pub fn wants_tls(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some()
    }

    /// Completes the endpoints with their scheme and checks what has to go together.
    fn checked(mut self) -> Result<Self, ConfigError> {
        if self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        let half = |given, missing| Err(ConfigError::Half { given, missing });
        match (&self.cert, &self.key) {
            (Some(_), None) => return half("cert", "key"),
            (None, Some(_)) => return half("key", "cert"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let tls = self.wants_tls();
        for endpoint in &mut self.endpoints {
            check_endpoint(endpoint)?;
            if !endpoint.contains("://") {
                *endpoint = format!("{}://{endpoint}", if tls { "https" } else { "http" });
            }
            let endpoint = endpoint.clone();
            if tls && endpoint.starts_with("http://") {
                return Err(ConfigError::ClearWithCertificates { endpoint });
            }
            if endpoint.starts_with("https://") && self.cacert.is_none() {
                return Err(ConfigError::NoAuthority { endpoint });
            }
        }
        Ok(self)
    }
}

/// Whether this is `HOST:PORT` with or without a scheme; an IPv6 address stands in brackets.
fn check_endpoint(endpoint: &str) -> Result<(), ConfigError> {
    let wrong = |why| Err(ConfigError::endpoint(endpoint, why));
    let rest = match endpoint.split_once("://") {
        Some(("http" | "https", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some(_) => return wrong("its scheme is neither http nor https"),
        None => endpoint,
    };
    let Some((host, port)) = rest.rsplit_once(':') else {
        return match rest {
            "" => wrong("it has no host"),
            _ => wrong("it has no port"),
        };
    };
    if !port.parse().is_ok_and(|port: u16| port > 0) {
        return wrong("a port is a number from 1 to 65535, and nothing follows it");
    }
    let is_host = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(is_plain)
        }
    };
    match (is_host, host) {
        (true, _) => Ok(()),
        (false, "") => wrong("it has no host"),
        (false, _) => wrong("a host is a name, an IPv4 address, or an IPv6 address in brackets"),
    }
}

fn split(endpoints: &str) -> Vec<String> {
    endpoints
        .split(',')
        .map(str::trim)
        .filter(|endpoint| !endpoint.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A separate password wins; without one the user carries it behind the first colon.
fn credentials(
    user: Option<String>,
    password: Option<String>,
) -> Result<(Option<String>, Option<Secret>), ConfigError> {
    let half = |given, missing| Err(ConfigError::Half { given, missing });
    match (user, password) {
        (None, None) => Ok((None, None)),
        (None, Some(_)) => half("password", "user"),
        (Some(user), Some(password)) => Ok((Some(user), Some(Secret(password)))),
        (Some(user), None) => match user.split_once(':') {
            Some((name, password)) => Ok((Some(name.into()), Some(Secret(password.into())))),
            None => half("user", "password"),
        },
    }
}

/// Prefixes end in `/` (rule S10).
fn prefix(given: Option<String>) -> String {
    let mut prefix = given.unwrap_or_else(|| DEFAULT_PREFIX.into());
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: StoreArgs, env: &[(&str, &str)]) -> Result<StoreConfig, ConfigError> {
        flags.resolve(|name| {
            let found = env.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_flag_wins_over_skep_which_wins_over_etcdctl_which_wins_over_the_default() {
        let endpoints = |flags: StoreArgs, env: &[(&str, &str)]| {
            resolve(flags, env).unwrap().endpoints.join(" ")
        };
        let flag = StoreArgs {
            endpoints: Some("flag:1, flag:2".into()),
            ..StoreArgs::default()
        };
        let etcdctl = ("ETCDCTL_ENDPOINTS", "etcdctl:1");
        let skep = ("SKEP_ENDPOINTS", "skep:1");
        assert_eq!(
            endpoints(flag, &[etcdctl, skep]),
            "http://flag:1 http://flag:2"
        );
        let none = StoreArgs::default;
        assert_eq!(endpoints(none(), &[etcdctl, skep]), "http://skep:1");
        assert_eq!(endpoints(none(), &[etcdctl]), "http://etcdctl:1");
        assert_eq!(
            endpoints(none(), &[("SKEP_ENDPOINTS", "")]),
            "http://127.0.0.1:2379"
        );
        assert_eq!(
            resolve(none(), &[]).unwrap(),
            StoreConfig::plain(DEFAULT_ENDPOINT)
        );
        let prefixed = resolve(none(), &[("SKEP_PREFIX", "/mine")]).unwrap();
        assert_eq!(prefixed.prefix, "/mine/");
    }

    #[test]
    fn certificates_ask_for_tls() {
        let tls = [("SKEP_CACERT", "ca"), ("SKEP_CERT", "c"), ("SKEP_KEY", "k")];
        let config = resolve(StoreArgs::default(), &tls).unwrap();
        assert_eq!(config.endpoints, ["https://127.0.0.1:2379"]);
        let error =
            |env: &[(&str, &str)]| resolve(StoreArgs::default(), env).unwrap_err().to_string();
        assert_eq!(error(&[("SKEP_CERT", "c")]), "--cert needs --key as well");
        assert_eq!(error(&[("SKEP_KEY", "k")]), "--key needs --cert as well");
        let clear = error(&[("SKEP_CACERT", "ca"), ("SKEP_ENDPOINTS", "http://a:1")]);
        assert!(clear.starts_with("http://a:1 is not encrypted"), "{clear}");
        let nobody = error(&[("SKEP_ENDPOINTS", "https://a:1")]);
        assert!(nobody.starts_with("https://a:1 needs --cacert"), "{nobody}");
        assert!(error(&[("SKEP_ENDPOINTS", " ,")]).starts_with("no endpoint"));
    }

    #[test]
    fn an_endpoint_has_a_host_and_a_port() {
        let check = |endpoints: &str, said: &str| {
            let found = match resolve(StoreArgs::default(), &[("SKEP_ENDPOINTS", endpoints)]) {
                Ok(config) => config.endpoints.join(" "),
                Err(error) => error.to_string(),
            };
            assert!(found.starts_with(said), "{endpoints}: {found}");
            if said.starts_with('`') {
                assert!(
                    found.contains("take HOST:PORT, http://HOST:PORT"),
                    "{found}"
                );
            }
        };
        check("http://a:1/", "http://a:1/");
        check("a.b-c_d:1,[::1]:2", "http://a.b-c_d:1 http://[::1]:2");
        check(
            "http://",
            "`http://` is no endpoint of etcd: it has no host",
        );
        check(
            "http://:1",
            "`http://:1` is no endpoint of etcd: it has no host",
        );
        check("a:1,b", "`b` is no endpoint of etcd: it has no port");
        check(
            "unix://x:1",
            "`unix://x:1` is no endpoint of etcd: its scheme",
        );
        for endpoint in ["a:", "a:x", "a:0", "a:65536", "a:1/", "http://a:1/v3"] {
            check(
                endpoint,
                &format!("`{endpoint}` is no endpoint of etcd: a port"),
            );
        }
        for endpoint in ["a b:1", "a@b:1", "::1:1", "[::1:1", "[x]:1", "a/b:1"] {
            check(
                endpoint,
                &format!("`{endpoint}` is no endpoint of etcd: a host"),
            );
        }
    }

    #[test]
    fn a_password_comes_with_the_user_or_apart_and_never_shows() {
        let who = |env: &[(&str, &str)]| {
            let config = resolve(StoreArgs::default(), env).unwrap();
            assert!(!format!("{config:?}").contains("sesame"), "{config:?}");
            (config.user.unwrap(), config.password.unwrap().0)
        };
        let both = ("ali".to_owned(), "sesame:1".to_owned());
        assert_eq!(who(&[("ETCDCTL_USER", "ali:sesame:1")]), both);
        let apart = [("SKEP_USER", "ali"), ("ETCDCTL_PASSWORD", "sesame:1")];
        assert_eq!(who(&apart), both);
        let flags = StoreArgs {
            user: Some(Secret("ali:sesame".into())),
            ..StoreArgs::default()
        };
        assert!(!format!("{flags:?}").contains("sesame"), "{flags:?}");
        let error =
            |env: &[(&str, &str)]| resolve(StoreArgs::default(), env).unwrap_err().to_string();
        assert_eq!(
            error(&[("SKEP_USER", "ali")]),
            "--user needs --password as well"
        );
        assert_eq!(
            error(&[("SKEP_PASSWORD", "x")]),
            "--password needs --user as well"
        );
    }
}
