//! The developer's logins for git inside a runtime. Who asks is not trusted: they get
//! an answer for the sites that were approved, by exactly their scheme, host and
//! port, a name and a password and nothing else, and can neither store nor erase one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::credential;
use super::login;
use super::order::{Manner, Order};
use super::own::Own;
use super::way::Contact;
use crate::git::Git;
use crate::identity::{RepoUrl, Site};
use crate::secret::Secret;

/// The longest name or path that is passed on to a helper, in bytes.
const MAX_PART: usize = 1024;

/// Logins of the developer's for some sites.
#[derive(Clone, Debug)]
pub struct Logins {
    /// Which git, with the developer's own configuration.
    pub git: Git,
    /// Any repository of ours.
    pub ground: PathBuf,
    /// For which sites.
    pub sites: Vec<Site>,
    /// How long a helper may be silent.
    pub patience: Duration,
}

/// What a question of git's came to.
#[derive(Debug)]
pub enum Loan {
    /// A login, in git's words, and the password in it.
    Given(Vec<u8>, Secret),
    /// Nobody here knows one.
    Unknown,
    /// What was asked is not to be had here.
    Refused,
}

/// What git asks for.
struct Asked<'a> {
    site: Site,
    user: Option<&'a str>,
    path: &'a str,
}

impl Logins {
    /// Answers a question as `git credential-cache` puts it to a socket: lines of
    /// `name=value`, of which one is `action=get`. Whoever is asked for it outside ends
    /// with the process `until`.
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn answer(&self, question: &str, until: u32) -> Result<Loan> {
        // Git says what came of a login: nobody is told.
        if ["action=store", "action=erase"].iter().any(|known| question.lines().any(|line| line == *known)) {
            return Ok(Loan::Unknown);
        }
        let Some(asked) = read(question).filter(|asked| self.sites.contains(&asked.site)) else {
            return Ok(Loan::Refused);
        };
        let own = Own::read(&self.git, &self.ground)?;
        // Only its site counts.
        let real: RepoUrl = format!("{}/any", asked.site).parse()?;
        let manner = Manner { interactive: false, patience: self.patience, most: u64::MAX, needed: true };
        let mut order = Order::new(&real, manner, &own, &self.git.own)?;
        order.until = Some(until);
        login::remember_what_git_finds(&own, &real, order.home());
        let (scheme, ssh_variant, ground) = (real.scheme(), own.variant(), self.ground.clone());
        let target = real.to_string();
        let contact = Contact { git: &self.git, order, target, scheme, ssh_variant, own: Some(own), ground };
        let Some(login) = contact.login_of(&asked.site, asked.user, asked.path)? else { return Ok(Loan::Unknown) };
        let (user, password) = login.parts();
        if [&user, &password].iter().any(|part| part.contains(['\n', '\0'])) {
            return Ok(Loan::Unknown);
        }
        let words = format!("username={user}\npassword={password}\n").into_bytes();
        Ok(Loan::Given(words, Secret::new(password)))
    }
}

/// A question, if it is one for a login, of which every part is said once.
fn read(question: &str) -> Option<Asked<'_>> {
    let value = |name: &str| {
        let mut values = question.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| *key == name);
        let first = values.next().map(|(_, value)| value);
        (values.next().is_none()).then_some(first)
    };
    let plain = |text: &&str| text.len() <= MAX_PART && !text.chars().any(char::is_control);
    (value("action")? == Some("get")).then_some(())?;
    let (user, path) = (value("username")?, value("path")?);
    if !user.iter().chain(&path).all(plain) {
        return None;
    }
    Some(Asked { site: credential::site(question)?, user, path: path.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::env::Env;

    const HELPER: &str = "#!/bin/sh\necho \"$1\" >>LOG\ncat >>LOG\n[ \"$1\" = get ] || exit 0\n\
                          echo username=dev\necho password=lent-of-tests\necho password_expiry_utc=1\n";

    /// Logins for two sites by a helper that knows a password for everybody, and notes
    /// who asks.
    fn logins(folder: &std::path::Path) -> Logins {
        let helper = folder.join("helper");
        let log = folder.join("log").display().to_string();
        std::fs::write(&helper, HELPER.replace("LOG", &log)).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.join("gitconfig");
        std::fs::write(&config, format!("[credential]\nhelper = {}\n", helper.display())).unwrap();
        let ground = folder.join("ground.git");
        git2::Repository::init_bare(&ground).unwrap();
        let env = Env {
            path: Env::from_process().path,
            home: Some(folder.to_owned()),
            git: vec![("GIT_CONFIG_GLOBAL".into(), config.into()), ("GIT_CONFIG_NOSYSTEM".into(), "1".into())],
            ..Env::default()
        };
        let sites = ["https://a.example", "http://b.example:8080"].map(|site| Site::parse(site).unwrap());
        let git = Git::find(&env).unwrap();
        Logins { git, ground, sites: sites.into(), patience: Duration::from_secs(20) }
    }

    #[test]
    fn what_is_asked_for_is_said_once_and_plainly() {
        let asked = |question: &str| read(question).map(|asked| asked.site.to_string());
        let good = "action=get\ntimeout=900\nprotocol=https\nhost=A.example:443\nusername=x\npath=a/b\n";
        assert_eq!(asked(good).as_deref(), Some("https://a.example"));
        for bad in [
            "protocol=https\nhost=a.example\n",
            "action=store\nprotocol=https\nhost=a.example\nusername=x\npassword=y\n",
            "action=erase\nprotocol=https\nhost=a.example\n",
            "action=exit\n",
            "action=get\naction=get\nprotocol=https\nhost=a.example\n",
            "action=get\nprotocol=https\nprotocol=http\nhost=a.example\n",
            "action=get\nprotocol=https\nhost=a.example\nhost=b.example\n",
            "action=get\nprotocol=https\nhost=x@a.example\n",
            "action=get\nprotocol=https\nhost=a.example/../b\n",
            "action=get\nprotocol=ssh://a.example\nhost=x\n",
            "action=get\nprotocol=https\nhost=a.example\nusername=a\u{1b}[2J\n",
        ] {
            assert_eq!(asked(bad), None, "{bad}");
        }
    }

    #[test]
    fn nobody_is_asked_for_a_place_that_was_not_approved() {
        let folder = tempfile::tempdir().unwrap();
        let logins = logins(folder.path());
        for other in [
            "action=get\nprotocol=https\nhost=evil.example\n",
            "action=get\nprotocol=http\nhost=a.example\n",
            "action=get\nprotocol=https\nhost=a.example:8443\n",
            "action=get\nprotocol=http\nhost=b.example\n",
            "action=get\nprotocol=https\nhost=a.example.evil.example\n",
        ] {
            assert!(matches!(logins.answer(other, std::process::id()).unwrap(), Loan::Refused), "{other}");
        }
        for told in ["store", "erase"] {
            let told = format!("action={told}\nprotocol=https\nhost=a.example\nusername=dev\npassword=of-somebody\n");
            assert!(matches!(logins.answer(&told, std::process::id()).unwrap(), Loan::Unknown), "{told}");
        }
        assert!(!folder.path().join("log").exists());
    }
}
