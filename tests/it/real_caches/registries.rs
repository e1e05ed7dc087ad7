//! How the package registries are reached from here: what npm and pip would
//! do on this machine, in the words of a setup inside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::support::Lab;

/// Where the workspace has the certificates.
pub const CERTIFICATES: &str = "certificates.pem";

pub struct Registries {
    variables: BTreeMap<String, String>,
    /// Whom to trust, where this machine says so.
    pub certificates: String,
    /// `private`; `host` for what listens on loopback, and for a person who may
    /// not have a private one.
    pub network: &'static str,
}

impl Registries {
    pub fn for_developer(lab: &Lab) -> Self {
        let mut variables = BTreeMap::new();
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
            for name in [name.to_owned(), name.to_lowercase()] {
                variables.extend(variable(&name).map(|value| (name, value)));
            }
        }
        let mut trusted = vec![variable("SSL_CERT_FILE"), variable("NODE_EXTRA_CA_CERTS")];
        for name in ["registry", "proxy", "https-proxy", "noproxy", "strict-ssl"] {
            variables.extend(npm(name).map(|value| (format!("npm_config_{}", name.replace('-', "_")), value)));
        }
        trusted.insert(0, npm("cafile"));
        let pip = pip();
        for name in ["index-url", "extra-index-url", "proxy", "trusted-host", "timeout"] {
            let value = pip.get(name).or_else(|| pip.get(&format!("default-{name}")));
            variables
                .extend(value.map(|value| (format!("PIP_{}", name.replace('-', "_").to_uppercase()), value.clone())));
        }
        trusted.insert(0, pip.get("cert").cloned());
        let certificates = trusted.into_iter().flatten().find_map(|path| fs::read_to_string(path).ok());
        if certificates.is_some() {
            let path = format!("/workspace/{CERTIFICATES}");
            let names = ["PIP_CERT", "npm_config_cafile", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
            variables.extend(names.map(|name| (name.to_owned(), path.clone())));
        }
        let is_near = |value: &String| ["//localhost", "//127.", "//[::1]"].iter().any(|host| value.contains(host));
        let tun = fs::metadata("/dev/net/tun").unwrap().mode();
        let is_closed = lab.dev.is_unprivileged() && tun & 0o006 != 0o006;
        let network = if is_closed || variables.values().any(is_near) { "host" } else { "private" };
        Registries { variables, certificates: certificates.unwrap_or_default(), network }
    }

    /// An inline table for `envctl.toml`.
    pub fn env(&self) -> String {
        let pairs = self.variables.iter().map(|(name, value)| format!("{name} = {value:?}"));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }
}

/// A setting of npm: from the environment, the user's file, the machine's.
fn npm(name: &str) -> Option<String> {
    let spelled = format!("npm_config_{}", name.replace('-', "_"));
    variable(&spelled).or_else(|| variable(&spelled.to_uppercase())).or_else(|| {
        let home = variable("HOME").unwrap_or_default();
        [format!("{home}/.npmrc"), "/etc/npmrc".into(), "/usr/etc/npmrc".into()].iter().find_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            let pairs = text.lines().rev().filter_map(|line| line.split_once('='));
            let mut values = pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value);
            values.next().map(|value| value.trim().trim_matches('"').to_owned())
        })
    })
}

/// All settings of pip; the environment counts most.
fn pip() -> BTreeMap<String, String> {
    let output = Command::new("python3").args(["-m", "pip", "config", "list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let own = pairs.map(|(key, value)| (key.starts_with(":env:"), key, value.trim_matches('\'')));
    let mut found: Vec<_> = own.collect();
    found.sort_by_key(|(environment, ..)| *environment);
    let short = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    found.into_iter().map(|(_, key, value)| (short(key), value.to_owned())).collect()
}

#[allow(clippy::disallowed_methods, reason = "the registries are found where the tests were started")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
