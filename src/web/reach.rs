//! Where a server may lead a connection: the gate through which every request
//! goes, for reading and for writing, to registries and to stores of large files.
//!
//! The developer named or approved the server: its scheme, host and port.
//! Whatever else it leads to is asked over TLS alone, without credentials, and
//! never at an address of this machine or its network, unless the server itself
//! is there.
//! Names are looked up in here, so that the address that was judged is the one
//! that is connected to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What a connection leads to, as seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The server itself.
    Home,
    /// Somebody else, who gets no credentials.
    Away,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ground {
    Public,
    /// This machine's network.
    Private,
    /// The same cable; clouds keep credentials there.
    Link,
    /// This machine.
    Loopback,
}

/// The gate of one server.
#[derive(Clone, Debug)]
pub(crate) struct Reach(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    base: Url,
    /// Hosts that the developer named besides: a token service.
    named: BTreeSet<String>,
    /// Hosts through which connections go.
    proxies: BTreeSet<String>,
    /// Where the server is: the most public of all that it was ever looked up as. Whoever
    /// answers for its name may add an address of this machine to their own.
    ground: Mutex<Option<Ground>>,
}

/// An address that is not connected to.
#[derive(Debug)]
pub(crate) struct Closed(String);

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Closed {}

impl Reach {
    pub(crate) fn new(
        base: &Url,
        named: impl IntoIterator<Item = Url>,
        proxies: impl IntoIterator<Item = Url>,
    ) -> Self {
        let hosts = |urls: &mut dyn Iterator<Item = Url>| urls.filter_map(|url| url.host_str().map(name)).collect();
        Reach(Arc::new(Gate {
            base: base.clone(),
            named: hosts(&mut named.into_iter()),
            proxies: hosts(&mut proxies.into_iter()),
            ground: Mutex::new(address(base).map(ground)),
        }))
    }

    /// Whether a reading may go on at `to`; `secure` is whether it came over
    /// TLS so far.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn read(&self, to: &Url, secure: bool) -> Result<Goal, String> {
        let base = &self.0.base;
        // As open as the server itself, and no further.
        let as_open = to.scheme() == "http" && base.scheme() == "http" && to.host() == base.host() && !secure;
        self.judge(to, as_open)
    }

    /// Whether something may be written there.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn write(&self, to: &Url) -> Result<Goal, String> {
        self.judge(to, false)
    }

    fn judge(&self, to: &Url, as_open: bool) -> Result<Goal, String> {
        if !to.username().is_empty() || to.password().is_some() {
            return Err("the new address has a user name in it".into());
        }
        if to.origin() == self.0.base.origin() && to.has_host() {
            return Ok(Goal::Home);
        }
        if to.scheme() != "https" && !as_open {
            return Err("the new address is not reached by https".into());
        }
        let host = name(to.host_str().unwrap_or_default());
        if host.is_empty() {
            return Err("the new address has no host".into());
        }
        let local = host == "localhost" || host.ends_with(".localhost");
        let grounds = address(to).map(ground).or(local.then_some(Ground::Loopback));
        let is_home = Some(host.as_str()) == self.0.base.host_str().map(name).as_deref();
        if !is_home && (grounds.is_some_and(|ground| !self.is_open(ground)) || self.0.proxies.contains(&host)) {
            return Err(closed(&host).to_string());
        }
        Ok(Goal::Away)
    }

    fn is_open(&self, ground: Ground) -> bool {
        ground == Ground::Public || self.0.ground.lock().is_ok_and(|own| *own == Some(ground))
    }

    /// Which of the addresses of a name may be connected to.
    fn sift(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Closed> {
        let host = name(host);
        if Some(host.as_str()) == self.0.base.host_str().map(name).as_deref() {
            if let Ok(mut own) = self.0.ground.lock() {
                *own = found.iter().map(|address| ground(address.ip())).chain(*own).min();
            }
            return Ok(found);
        }
        if self.0.named.contains(&host) || self.0.proxies.contains(&host) {
            return Ok(found);
        }
        let (open, shut): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| self.is_open(ground(address.ip())));
        if open.is_empty() && !shut.is_empty() { Err(closed(&host)) } else { Ok(open) }
    }
}

fn closed(host: &str) -> Closed {
    let host: String = host.chars().take(253).collect();
    Closed(format!("{host} is on this machine or in its network, and the server that leads there is not"))
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs()?.collect();
                Ok::<_, std::io::Error>((name, found))
            });
            let (name, found) = found.await??;
            Ok(Box::new(reach.sift(name.as_str(), found)?.into_iter()) as Addrs)
        })
    }
}

/// Hosts are the same in either case, and with a dot at their end.
pub(crate) fn name(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn ground(address: IpAddr) -> Ground {
    match address {
        IpAddr::V4(address) => ground_v4(address),
        IpAddr::V6(address) => ground_v6(address),
    }
}

fn ground_v4(address: Ipv4Addr) -> Ground {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        // Zero is this machine, too, when it is connected to.
        (0 | 127, ..) => Ground::Loopback,
        (169, 254, _) => Ground::Link,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Ground::Private,
        // Protocol assignments, documentation, benchmarks, groups, reserved.
        (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) | (224.., ..) => Ground::Private,
        _ => Ground::Public,
    }
}

fn ground_v6(address: Ipv6Addr) -> Ground {
    let parts = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        ground_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Ground::Loopback,
        // Addresses of version 4 in other clothes.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        [0x64, 0xff9b, 1, ..] => Ground::Private,
        [first, ..] if first & 0xffc0 == 0xfe80 => Ground::Link,
        // The rest of what is not given out to the world.
        [first, ..] if first & 0xe000 != 0x2000 => Ground::Private,
        _ => Ground::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn reach(base: &str) -> Reach {
        Reach::new(&url(base), [], [url("http://proxy.corp:3128")])
    }

    fn found(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn case_21_a_redirect_never_leaves_tls() {
        let (tls, plain) = (reach("https://r.example/"), reach("http://r.example/"));
        assert_eq!(tls.read(&url("https://r.example/x"), true), Ok(Goal::Home));
        assert_eq!(tls.read(&url("https://r.example:443/x"), true), Ok(Goal::Home));
        assert_eq!(tls.read(&url("https://cdn.example/y"), true), Ok(Goal::Away));
        assert_eq!(tls.read(&url("https://r.example:444/y"), true), Ok(Goal::Away));
        assert_eq!(plain.read(&url("http://r.example:81/x"), false), Ok(Goal::Away));
        assert!(plain.read(&url("http://r.example:81/x"), true).is_err());
        assert!(plain.write(&url("http://r.example:81/x")).is_err());
        for bad in ["http://r.example/", "http://cdn.example/", "ftp://a/x", "file:///etc/passwd", "data:,x"] {
            assert!(tls.read(&url(bad), true).is_err() && tls.write(&url(bad)).is_err(), "{bad}");
        }
        assert!(plain.read(&url("http://cdn.example/"), false).is_err());
        assert!(tls.read(&url("https://dev:word@r.example/"), true).is_err());
    }

    #[test]
    fn nobody_is_led_to_this_machine_or_its_network() {
        let public = reach("https://r.example/");
        for bad in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001:5000/",
            "https://0.0.0.0/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/",
            "https://172.16.9.9/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://proxy.corp/",
        ] {
            assert!(public.read(&url(bad), true).is_err() && public.write(&url(bad)).is_err(), "{bad}");
        }
        for good in ["https://93.184.216.34/", "https://[2606:2800:220:1::1]/", "https://172.15.0.1/"] {
            assert_eq!(public.read(&url(good), true), Ok(Goal::Away), "{good}");
        }
        // Names are judged by where they lead.
        assert!(public.sift("cdn.example", found(&["127.0.0.1", "10.1.2.3", "::1"])).is_err());
        let mixed = public.sift("cdn.example", found(&["169.254.1.1", "93.184.216.34"])).unwrap();
        assert_eq!(mixed, found(&["93.184.216.34"]));
        assert_eq!(public.sift("PROXY.corp", found(&["10.9.9.9"])).unwrap().len(), 1);
    }

    #[test]
    fn a_registry_in_a_network_may_lead_to_others_there_and_no_further() {
        let corporate = reach("https://registry.corp/");
        assert!(corporate.read(&url("https://10.0.0.9/"), true).is_err(), "nobody has looked yet");
        assert_eq!(corporate.sift("Registry.corp.", found(&["10.0.0.5"])).unwrap(), found(&["10.0.0.5"]));
        assert_eq!(corporate.read(&url("https://10.0.0.9/"), true), Ok(Goal::Away));
        assert!(corporate.sift("storage.corp", found(&["10.0.0.9"])).is_ok());
        for bad in ["127.0.0.1", "169.254.169.254"] {
            assert!(corporate.sift("storage.corp", found(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_has_addresses_here_too_opens_nothing_here() {
        let public = reach("https://r.example/");
        let both = found(&["127.0.0.9", "93.184.216.34", "10.0.0.1"]);
        assert_eq!(public.sift("r.example", both.clone()).unwrap(), both);
        for bad in ["127.0.0.1", "10.0.0.1", "169.254.169.254"] {
            assert!(public.read(&url(&format!("https://{bad}/")), true).is_err(), "{bad}");
            assert!(public.sift("auth.example", found(&[bad])).is_err(), "{bad}");
        }
        // Nor where it moves later.
        public.sift("r.example", found(&["127.0.0.9"])).unwrap();
        assert!(public.sift("auth.example", found(&["127.0.0.1"])).is_err());
    }
}
