//! The developer's names and passwords, as git would find them. Each of them is
//! known to the filter of everything that is printed before anybody gets it: a
//! server may repeat what it was sent.

use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::netrc;
use super::own::Own;
use super::way::Contact;
use crate::identity::{RepoUrl, Site};
use crate::secret;

/// A name and a password for one site. Never printed.
#[derive(Clone)]
pub(super) struct Login {
    user: String,
    password: String,
    /// A helper gave it, and is told what came of it.
    from_helper: bool,
}

impl Login {
    fn new(user: String, password: String) -> Self {
        secret::remember_login(&user, &password);
        Login { user, password, from_helper: false }
    }

    /// Name and password.
    pub(super) fn parts(self) -> (String, String) {
        (self.user, self.password)
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// Lets the filter know what a git that goes there sends by itself.
pub(super) fn remember_what_git_finds(own: &Own, real: &RepoUrl, home: Option<&Path>) {
    let Some(site) = real.site() else { return };
    let found = home.and_then(|home| netrc::find(home, site.host()).ok().flatten());
    for (user, password) in found.into_iter().chain(own.in_rules(&site)) {
        secret::remember_login(&user, &password);
    }
    for header in own.headers() {
        let value = header.rsplit(' ').next().unwrap_or(header);
        secret::remember(value);
        let plain = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((user, password)) = plain.as_deref().and_then(|plain| plain.split_once(':')) {
            secret::remember_login(user, password);
        }
    }
}

/// What helpers said, one after the other.
pub(super) fn remember_words(words: &str) {
    let mut user = "";
    for (name, value) in words.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "username" => user = value,
            "password" => secret::remember_login(user, value),
            "credential" | "oauth_refresh_token" => secret::remember(value),
            _ => {}
        }
    }
}

impl Contact<'_> {
    /// The login for a site, if that is one which may be given any.
    ///
    /// # Errors
    /// When who knows it cannot be asked.
    pub(super) fn login(&self, site: &Site) -> Result<Option<Login>> {
        self.login_of(site, None, &self.own_path())
    }

    /// The same for one user, where one is named, and for a path of the site, which
    /// only some helpers care for.
    pub(super) fn login_of(&self, site: &Site, user: Option<&str>, path: &str) -> Result<Option<Login>> {
        let fits = |name: &str| user.is_none_or(|user| user == name);
        if !self.order.covers(site) {
            return Ok(None);
        }
        let rule = self.own.as_ref().and_then(|own| own.in_rules(site).find(|(name, _)| fits(name)));
        if let Some((user, password)) = rule {
            return Ok(Some(Login::new(user, password)));
        }
        if let Some(home) = self.order.home()
            && let Some((user, password)) = netrc::find(home, site.host())?.filter(|(name, _)| fits(name))
        {
            return Ok(Some(Login::new(user, password)));
        }
        let named = user.map_or_else(String::new, |user| format!("username={user}\n"));
        let answer = self.helper("get", &format!("{}{named}", question(site, path)))?;
        let words = String::from_utf8_lossy(&answer).into_owned();
        remember_words(&words);
        let value = |name: &str| words.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let login = value("username").zip(value("password")).filter(|(name, _)| fits(name));
        Ok(login.map(|(user, password)| Login { from_helper: true, ..Login::new(user.into(), password.into()) }))
    }

    /// Tells the helper whether a login was good.
    pub(super) fn tell_helper(&self, site: &Site, login: &Login, good: bool) {
        if login.from_helper {
            let question = question(site, &self.own_path());
            let question = format!("{question}username={}\npassword={}\n", login.user, login.password);
            let _ = self.helper(if good { "store" } else { "erase" }, &question);
        }
    }

    fn own_path(&self) -> String {
        self.order.address().and_then(|address| address.path()).unwrap_or_default()
    }

    fn helper(&self, action: &str, question: &str) -> Result<Vec<u8>> {
        let program = self.order.program.clone();
        let answer = self.started(&program, &["git-credential", action], question.as_bytes())?;
        Ok(if answer.ok { answer.stdout } else { Vec::new() })
    }
}

fn question(site: &Site, path: &str) -> String {
    let host = site.to_string();
    let host = host.split_once("://").map_or("", |(_, host)| host);
    format!("protocol={}\nhost={host}\npath={}\n", site.scheme().as_str(), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_in_each_spelling() {
        secret::remember_login("dev", "pass word/of-tests");
        let told = ["pass word/of-tests", "pass%20word%2Fof-tests", &STANDARD.encode("dev:pass word/of-tests")];
        for spelling in told {
            assert!(!secret::hide(&format!("remote: you said {spelling}")).contains(spelling), "{spelling}");
        }
        remember_words("protocol=https\nusername=dev\npassword=another-of-tests\n");
        assert_eq!(secret::hide("another-of-tests"), "[secret]");
    }
}
