//! Answering a registry's challenge: Basic, or a token from its token service.
//! A password or a refresh token leaves this process only for the registry
//! itself, or for a token service of the same site (CVE-2020-15157 and its
//! like). What a token service redirects to is not asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::credentials::RegistryLogin;
use crate::error::{cut, failure, integrity, policy};
use crate::store::AuthFiles;
use crate::web::name;

/// What is to be done in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AuthScope {
    Pull,
    Push,
    /// Pushing, and pulling from [`Auth::sources`].
    Mount,
    Delete,
}

/// When it was looked for, and what was found.
pub(super) type FoundLogin = (Instant, Option<RegistryLogin>);

/// What opens the registry for a while. Never printed.
#[derive(Clone)]
pub(super) enum Grant {
    Basic(String, String),
    Bearer(String),
}

impl Grant {
    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        match self {
            Grant::Basic(user, password) => format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            Grant::Bearer(token) => format!("Bearer {token}"),
        }
    }
}

pub(super) struct Auth {
    pub(super) host: String,
    pub(super) repository: String,
    pub(super) files: AuthFiles,
    /// A token service that the user named.
    pub(super) realm: Option<String>,
    pub(super) grants: Mutex<HashMap<AuthScope, Grant>>,
    /// What was found of the developer's, and when: a helper is not asked for each
    /// request.
    pub(super) login: Arc<Mutex<Option<FoundLogin>>>,
    /// Other repositories of the registry, from which blobs are taken over.
    pub(super) sources: Mutex<BTreeSet<String>>,
}

impl Auth {
    pub(super) fn grant(&self, scope: AuthScope) -> Option<Grant> {
        self.grants.lock().ok()?.get(&scope).cloned()
    }

    /// Notes a repository that is read as well; what was granted before does not
    /// cover it.
    pub(super) fn note_source(&self, repository: &str) {
        let is_new = self.sources.lock().is_ok_and(|mut sources| sources.insert(repository.to_owned()));
        if is_new && let Ok(mut grants) = self.grants.lock() {
            grants.remove(&AuthScope::Mount);
        }
    }

    /// What a token is asked for, one entry for each repository.
    pub(super) fn scopes(&self, scope: AuthScope) -> Vec<String> {
        let actions = match scope {
            AuthScope::Pull => "pull",
            AuthScope::Push | AuthScope::Mount => "pull,push",
            AuthScope::Delete => "pull,push,delete",
        };
        let mut scopes = vec![format!("repository:{}:{actions}", self.repository)];
        if scope == AuthScope::Mount
            && let Ok(sources) = self.sources.lock()
        {
            scopes.extend(sources.iter().map(|source| format!("repository:{source}:pull")));
        }
        scopes
    }

    pub(super) fn denied(&self, why: &str) -> crate::error::Fault {
        failure(format!("{} denies access to {}: {why}", self.host, self.repository))
            .hint(format!("log in with: docker login {0} (or podman, or oras)", self.host))
    }

    /// Whether the user named this token service.
    pub(super) fn is_named(&self, realm: &Url) -> bool {
        let named = self.realm.as_deref().and_then(|named| Url::parse(named).ok());
        named.is_some_and(|named| named.origin() == realm.origin())
    }

    pub(super) fn refused(&self, realm: &Url, why: &str) -> crate::error::Fault {
        let fault = policy(format!("{} names {} as its token service, {why}", self.host, cut(realm.as_str())));
        if !matches!(realm.scheme(), "https" | "http") {
            return fault.hint("a token service has an https address: ask whoever runs the registry");
        }
        fault.hint(format!(
            "if you trust it: [registries.\"{}\"] realm = \"{}\" in config.toml",
            self.host,
            cut(&realm.origin().ascii_serialization())
        ))
    }

    /// Whether what this process knows may be sent there.
    pub(super) fn check_realm(&self, base: &Url, realm: &Url, secret: bool) -> Result<()> {
        if !realm.username().is_empty() || realm.password().is_some() {
            return Err(integrity(format!("{} names a token service with a user name in it", self.host)).into());
        }
        if self.is_named(realm) {
            return Ok(());
        }
        match realm.scheme() {
            "https" => {}
            // As open as the registry itself, and no further.
            "http" if base.scheme() == "http" && base.host_str() == realm.host_str() => {}
            _ => return Err(self.refused(realm, "which is not reached by https").into()),
        }
        if secret && !same_site(base.host_str().unwrap_or_default(), realm.host_str().unwrap_or_default()) {
            let why = "which belongs to another site: your credentials are not sent there";
            return Err(self.refused(realm, why).into());
        }
        Ok(())
    }
}

/// Whether two hosts belong to one registrable domain by the public suffix list
/// (`auth.example.com` and `registry.example.com`), or are the same.
fn same_site(a: &str, b: &str) -> bool {
    let (a, b) = (name(a), name(b));
    if a == b {
        return true;
    }
    let is_address = |host: &str| host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[');
    if is_address(&a) || is_address(&b) {
        return false;
    }
    matches!((psl::domain_str(&a), psl::domain_str(&b)), (Some(a), Some(b)) if a == b)
}

/// One challenge of a `WWW-Authenticate` header, RFC 9110 section 11.6.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case.
    pub(super) scheme: String,
    values: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    for part in split_quoted(header) {
        let part = part.trim();
        let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
        // `Scheme key=value` begins a challenge, `key=value` goes on with it.
        let parameter = if first.contains('=') {
            part
        } else {
            found.push(Challenge { scheme: first.to_ascii_lowercase(), values: Vec::new() });
            rest.trim()
        };
        if let (Some((key, value)), Some(last)) = (parameter.split_once('='), found.last_mut()) {
            let value = value.trim().trim_matches('"').replace("\\\"", "\"");
            last.values.push((key.trim().to_ascii_lowercase(), value));
        }
    }
    found
}

/// Splits at commas outside quotes.
fn split_quoted(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(host: &str) -> Auth {
        Auth {
            host: host.into(),
            repository: "acme/x".into(),
            files: AuthFiles::default(),
            realm: None,
            grants: Mutex::default(),
            login: Arc::default(),
            sources: Mutex::default(),
        }
    }

    #[test]
    fn a_token_covers_what_is_taken_over() {
        let auth = auth("r.example");
        auth.grants.lock().unwrap().insert(AuthScope::Mount, Grant::Bearer("old".into()));
        auth.note_source("acme/y");
        assert!(auth.grant(AuthScope::Mount).is_none());
        assert_eq!(auth.scopes(AuthScope::Mount), ["repository:acme/x:pull,push", "repository:acme/y:pull"]);
        assert_eq!(auth.scopes(AuthScope::Push), ["repository:acme/x:pull,push"]);
    }

    #[test]
    fn challenges_are_read_as_they_come() {
        let header = r#"Bearer realm="https://auth.example/token",service="r, example",scope="a:b:c", Basic realm="x""#;
        let found = parse(header);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].value("realm"), Some("https://auth.example/token"));
        assert_eq!(found[0].value("service"), Some("r, example"));
        assert_eq!((found[1].scheme.as_str(), found[1].value("realm")), ("basic", Some("x")));
        for odd in ["", ",", "=", "Bearer", "\"", "Bearer realm=\"", "a=b", "Negotiate abc=="] {
            parse(odd);
        }
    }

    #[test]
    fn a_site_ends_at_a_public_suffix() {
        for (a, b) in [
            ("registry.example.com", "auth.example.com"),
            ("registry.acme.co.uk", "auth.acme.co.uk"),
            ("registry-1.docker.io", "auth.docker.io"),
            ("r.home.test", "R.home.test."),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert!(same_site(a, b) && same_site(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("registry.a.co.uk", "auth.b.co.uk"),
            ("a.co.uk", "co.uk"),
            ("acme.github.io", "evil.github.io"),
            ("a.s3.amazonaws.com", "b.s3.amazonaws.com"),
            ("registry.a.com", "auth.b.com"),
            ("a.com", "com"),
            ("localhost", "otherhost"),
            ("10.0.0.1", "11.0.0.1"),
            ("[fd00::1]", "[fd00::2]"),
        ] {
            assert!(!same_site(a, b) && !same_site(b, a), "{a} {b}");
        }
    }

    #[test]
    fn case_22_credentials_go_to_the_same_site_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        let registry = auth("registry.example.com");
        let base = url("https://registry.example.com");
        for good in ["https://auth.example.com/token", "https://registry.example.com/auth"] {
            registry.check_realm(&base, &url(good), true).unwrap();
        }
        for bad in [
            "https://evil.example/token",
            "https://example.com.evil.example/t",
            "http://auth.example.com/token",
            "ftp://auth.example.com/",
            "https://10.0.0.1/",
            "file:///etc/passwd",
        ] {
            let error = registry.check_realm(&base, &url(bad), true).unwrap_err();
            assert_eq!(crate::error::kind_of(&error), crate::error::Kind::Policy, "{bad}");
            assert!(!crate::error::hint_of(&error).unwrap().contains("null"), "{bad}");
        }
        // Without credentials there is nothing to lose.
        registry.check_realm(&base, &url("https://tokens.other.example/"), false).unwrap();
        assert!(registry.check_realm(&base, &url("http://tokens.other.example/"), false).is_err());
        let named = Auth { realm: Some("https://tokens.other.example".into()), ..auth("r.example.com") };
        named.check_realm(&base, &url("https://tokens.other.example/t"), true).unwrap();
        assert!(named.check_realm(&base, &url("https://tokens.other.example.evil.test/t"), true).is_err());
        assert!(registry.check_realm(&base, &url("https://dev:word@auth.example.com/"), false).is_err());
        let loopback = auth("127.0.0.1:5000");
        let plain = url("http://127.0.0.1:5000");
        loopback.check_realm(&plain, &url("http://127.0.0.1:5001/auth"), true).unwrap();
        assert!(loopback.check_realm(&plain, &url("http://127.0.0.2:5001/auth"), true).is_err());
    }
}
