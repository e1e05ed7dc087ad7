//! Where a connection goes: a scheme, a host and a port. That is what a
//! developer approves, and what is compared where the connection is made.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// By ssh.
    Ssh,
    /// Without any protection.
    Http,
    /// A folder of this machine.
    File,
}

impl Scheme {
    /// As URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Https => "https",
            Scheme::Ssh => "ssh",
            Scheme::Http => "http",
            Scheme::File => "file",
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Https => Some(443),
            Scheme::Ssh => Some(22),
            Scheme::Http => Some(80),
            Scheme::File => None,
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Scheme::Https, Scheme::Ssh, Scheme::Http].into_iter().find(|scheme| scheme.as_str() == text)
    }
}

/// A scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    scheme: Scheme,
    /// In small letters.
    host: String,
    /// Unless it is the scheme's own.
    port: Option<u16>,
}

impl Site {
    pub(super) fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        Site { scheme, host: host.to_ascii_lowercase(), port: port.filter(|port| Some(*port) != scheme.default_port()) }
    }

    /// `scheme://host[:port]`, with nothing or a `/` behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest)).ok()?;
        Some(Site::new(Scheme::of(scheme)?, host, port))
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host, in small letters; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same host with TLS, at the usual port.
    pub fn with_tls(&self) -> Self {
        Site::new(Scheme::Https, &self.host, None)
    }

    /// Whether the host is, by its name, this machine or in a network that is not
    /// public.
    pub fn is_near(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) => !is_public(address),
            Err(_) => host == "localhost" || host.ends_with(".localhost") || !host.contains('.'),
        }
    }

    /// Whether who named this meant this site. A name without a scheme,
    /// `host[:port]`, is for both ways that are protected: `https` and `ssh`.
    pub fn is_named(&self, name: &str) -> bool {
        if name.contains("://") {
            return Site::parse(name).as_ref() == Some(self);
        }
        let protected = matches!(self.scheme, Scheme::Https | Scheme::Ssh);
        protected && split_port(name).is_ok_and(|(host, port)| Site::new(self.scheme, host, port) == *self)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Whether an address is anybody's: not this machine's, not of a private or a
/// local network, not a special one.
pub fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V6(long) => long.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    match address {
        IpAddr::V4(short) => {
            let [a, b, c, _] = short.octets();
            let special = a == 0
                || a >= 240
                || (a, b & 0xc0) == (100, 64)
                || (a, b, c) == (192, 0, 0)
                || (a, b & 0xfe) == (198, 18);
            !(special
                || short.is_loopback()
                || short.is_private()
                || short.is_link_local()
                || short.is_multicast()
                || short.is_documentation())
        }
        // What is global is below 2000::/3; some of it stands for IPv4.
        IpAddr::V6(long) => {
            let [a, b, c, ..] = long.segments();
            let embedded = match a {
                0x2002 => Some(Ipv4Addr::from((u32::from(b) << 16) | u32::from(c))),
                _ => None,
            };
            let special = (a, b) == (0x2001, 0) || (a, b) == (0x2001, 0xdb8);
            a & 0xe000 == 0x2000 && !special && embedded.is_none_or(|short| is_public(IpAddr::V4(short)))
        }
    }
}

/// Whether an address that is `prefix` with `rest` behind it goes to a site that
/// the prefix alone decides.
pub fn settles(prefix: &str, rest: &str) -> bool {
    let begun = match prefix.split_once("://") {
        Some((_, authority)) => authority.contains('/'),
        // A folder of this machine, or the short form of ssh.
        None => prefix.contains(['/', ':']),
    };
    begun || rest.is_empty() || rest.starts_with('/')
}

/// A host (a DNS name, an IPv4 address, or an IPv6 address in brackets) and the
/// port behind it.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    const MALFORMED: &str = "the host is missing or malformed";
    let (host, port) = match text.rfind(']') {
        Some(end) if text.starts_with('[') => text.split_at(end + 1),
        Some(_) => return Err(MALFORMED),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = inner.map_or_else(|| is_name(host), |inner| inner.parse::<Ipv6Addr>().is_ok());
    if !good {
        return Err(MALFORMED);
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0).ok_or("the port is no port")?)
        }
        _ => return Err("the port is no number"),
    };
    Ok((host, port))
}

fn is_name(host: &str) -> bool {
    let label_ok = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && label.chars().all(inner)
    };
    if host.len() > 253 || !host.split('.').all(label_ok) {
        return false;
    }
    // What ends in a number is an address for the C library, however it is
    // written: only the usual form is one for us.
    let last = host.rsplit('.').next().unwrap_or(host).to_ascii_lowercase();
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !number || host.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_known_by_its_address() {
        let near = |host: &str| Site::parse(&format!("https://{host}")).unwrap().is_near();
        for host in [
            "localhost",
            "a.localhost",
            "intranet",
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[2002:7f00:1::]",
            "[64:ff9b::7f00:1]",
            "[ff02::1]",
        ] {
            assert!(near(host), "{host}");
        }
        for host in ["cdn.example", "8.8.8.8", "[2606:4700::1111]", "172.32.0.1", "100.128.0.1"] {
            assert!(!near(host), "{host}");
        }
    }

    #[test]
    fn a_prefix_decides_where_an_address_goes_or_leaves_it_open() {
        for (prefix, rest) in [
            ("ssh://git@a/", "x"),
            ("ssh://git@a", "/x"),
            ("git@a:", "x"),
            ("file:///m/", "x"),
            ("/m", "x"),
            ("ssh://a", ""),
        ] {
            assert!(settles(prefix, rest), "{prefix} {rest}");
        }
        for (prefix, rest) in [("ssh://git@", "a/x"), ("ssh://git@a", ".b/x"), ("ssh://git@a:2", "2/x"), ("", "a:x")] {
            assert!(!settles(prefix, rest), "{prefix} {rest}");
        }
    }

    #[test]
    fn a_name_is_for_its_scheme_host_and_port() {
        let site = |text: &str| Site::parse(text).unwrap();
        for (name, same) in [
            ("git.example", "https://git.example"),
            ("git.example", "ssh://git.example"),
            ("git.example:443", "https://git.example"),
            ("GIT.example:22", "ssh://git.example:22"),
            ("http://git.example:80/", "http://git.example"),
            ("ssh://git.example:2222", "ssh://git.example:2222"),
            ("[::1]:22", "ssh://[::1]"),
        ] {
            assert!(site(same).is_named(name), "{name} {same}");
        }
        for (name, other) in [
            ("git.example", "http://git.example"),
            ("git.example", "ssh://git.example:2222"),
            ("git.example:22", "https://git.example"),
            ("https://git.example", "ssh://git.example"),
            ("git.example", "https://git.example.other"),
            ("*", "https://git.example"),
            ("", "https://git.example"),
            ("ssh://x@git.example", "ssh://git.example"),
        ] {
            assert!(!site(other).is_named(name), "{name} {other}");
        }
    }
}
