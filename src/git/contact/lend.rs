//! The developer's logins for git inside a runtime. Who asks is not trusted: they get
//! an answer for the sites that were approved, by exactly their scheme, host and
//! port, a name and a password and nothing else, and can neither store nor erase one.
//! Which of the developer's accounts it is, they do not choose: the approved one, or
//! the one that the developer's git has for the site alone.

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

/// The longest name of an account, in bytes.
const MAX_PART: usize = 1024;

/// Logins of the developer's for some sites.
#[derive(Clone, Debug)]
pub struct Logins {
    /// Which git, with the developer's own configuration.
    pub git: Git,
    /// Any repository of ours.
    pub ground: PathBuf,
    /// For which sites, and which account there where one was approved.
    pub places: Vec<(Site, Option<String>)>,
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
struct CredentialRequest<'a> {
    site: Site,
    user: Option<&'a str>,
}

impl Logins {
    /// Answers a question as `git credential-cache` puts it to a socket: lines of
    /// `name=value`, of which one is `action=get`. Whoever is asked for it outside ends
    /// with the process `until`; nobody is, unless they `may_ask`.
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn answer(&self, question: &str, until: u32, may_ask: &dyn Fn() -> bool) -> Result<Loan> {
        // Git says what came of a login: nobody is told.
        if ["action=store", "action=erase"].iter().any(|known| question.lines().any(|line| line == *known)) {
            return Ok(Loan::Unknown);
        }
        let Some(asked) = read(question) else { return Ok(Loan::Refused) };
        let Some(approved) = self.approved(&asked).filter(|_| may_ask()) else { return Ok(Loan::Refused) };
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
        // For the site alone: a name or a path of theirs would find other logins.
        let Some(login) = contact.login_of(&asked.site, approved.as_deref(), "")? else { return Ok(Loan::Unknown) };
        let (user, password) = login.parts();
        if asked.user.is_some_and(|asked| asked != user) {
            return Ok(Loan::Refused);
        }
        if [&user, &password].iter().any(|part| part.contains(['\n', '\0'])) {
            return Ok(Loan::Unknown);
        }
        let words = format!("username={user}\npassword={password}\n").into_bytes();
        Ok(Loan::Given(words, Secret::new(password)))
    }

    /// Which account is meant, if that was approved: `None` for that of the site alone.
    fn approved(&self, asked: &CredentialRequest<'_>) -> Option<Option<String>> {
        let of_site = || self.places.iter().filter(|(site, _)| *site == asked.site).map(|(_, user)| user);
        let named = of_site().find(|user| user.is_some() && user.as_deref() == asked.user);
        let open = || of_site().find(|user| user.is_none());
        let first = || of_site().next().filter(|_| asked.user.is_none());
        named.or_else(open).or_else(first).cloned()
    }
}

/// A question, if it is one for a login, of which every part is said once.
fn read(question: &str) -> Option<CredentialRequest<'_>> {
    let value = |name: &str| {
        let mut values = question.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| *key == name);
        let first = values.next().map(|(_, value)| value);
        (values.next().is_none()).then_some(first)
    };
    let plain = |text: &&str| text.len() <= MAX_PART && !text.chars().any(char::is_control);
    (value("action")? == Some("get")).then_some(())?;
    let user = value("username")?;
    if !user.iter().all(plain) {
        return None;
    }
    Some(CredentialRequest { site: credential::site(question)?, user })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::env::Env;

    const HELPER: &str = "#!/bin/sh\necho \"$1\" >>LOG\ncat >>LOG\n[ \"$1\" = get ] || exit 0\n\
                          echo username=dev\necho password=lent-of-tests\necho password_expiry_utc=1\n";

    /// Logins for some sites by a helper that knows a password for everybody, and notes
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
        let place = |(site, user): (&str, Option<&str>)| (Site::parse(site).unwrap(), user.map(str::to_owned));
        let places = [("https://a.example", None), ("http://b.example:8080", None), ("https://c.example", Some("bot"))];
        let git = Git::find(&env).unwrap();
        Logins { git, ground, places: places.map(place).into(), patience: Duration::from_secs(20) }
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
            assert!(matches!(logins.answer(other, std::process::id(), &|| true).unwrap(), Loan::Refused), "{other}");
        }
        for told in ["store", "erase"] {
            let told = format!("action={told}\nprotocol=https\nhost=a.example\nusername=dev\npassword=of-somebody\n");
            assert!(matches!(logins.answer(&told, std::process::id(), &|| true).unwrap(), Loan::Unknown), "{told}");
        }
        // Nor by those who have asked too often.
        let good = "action=get\nprotocol=https\nhost=a.example\n";
        assert!(matches!(logins.answer(good, std::process::id(), &|| false).unwrap(), Loan::Refused));
        assert!(!folder.path().join("log").exists());
    }

    #[test]
    fn which_account_it_is_they_do_not_choose() {
        let folder = tempfile::tempdir().unwrap();
        let mut logins = logins(folder.path());
        let meant = |logins: &Logins, site: &str, user: Option<&str>| {
            logins.approved(&CredentialRequest { site: Site::parse(site).unwrap(), user })
        };
        let (open, one) = ("https://a.example", "https://c.example");
        assert_eq!(meant(&logins, open, None), Some(None));
        // Asked for the site alone, and given where it is that name.
        assert_eq!(meant(&logins, open, Some("admin")), Some(None));
        assert_eq!(meant(&logins, one, None), Some(Some("bot".into())));
        assert_eq!(meant(&logins, one, Some("bot")), Some(Some("bot".into())));
        assert_eq!(meant(&logins, one, Some("admin")), None);
        assert_eq!(meant(&logins, "https://d.example", None), None);
        logins.places.push((Site::parse(one).unwrap(), Some("other".into())));
        assert_eq!(meant(&logins, one, Some("other")), Some(Some("other".into())));
        assert_eq!(meant(&logins, one, None), Some(Some("bot".into())));
    }
}
