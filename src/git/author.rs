//! Who commits, as git itself would find out: from the caller's variables and from
//! every file of configuration, those that are included for some remotes too.
//! `git-commit(1)`, "COMMIT INFORMATION".

use std::path::Path;

use super::Git;

/// Who commits. What nobody has set is absent: nothing is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
}

impl Git {
    /// The author of a commit in this repository. `mail` is the caller's `EMAIL`.
    pub fn author(&self, git_dir: &Path, mail: Option<String>) -> Author {
        self.author_by(git_dir, mail, true)
    }

    /// The same as far as it is known without a process: nobody, where only git could tell.
    pub fn author_at_hand(&self, git_dir: &Path, mail: Option<String>) -> Author {
        self.author_by(git_dir, mail, false)
    }

    fn author_by(&self, git_dir: &Path, mail: Option<String>, may_ask: bool) -> Author {
        let variable = |name: &str| self.own.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        let (name, email) = (variable("GIT_AUTHOR_NAME"), variable("GIT_AUTHOR_EMAIL"));
        let is_set = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.trim().is_empty());
        if is_set(&name) && is_set(&email) {
            return Author { name, email };
        }
        let redirected = self.own.iter().any(|(name, _)| name.starts_with("GIT_CONFIG"));
        let known = if redirected { None } else { of_developer(git_dir) };
        let ask = || if may_ask || redirected { self.asked(git_dir) } else { Author { name: None, email: None } };
        let set = known.unwrap_or_else(ask);
        let part =
            |variable: Option<String>, set: Option<String>| variable.or(set).filter(|value| !value.trim().is_empty());
        Author { name: part(name, set.name), email: part(email, set.email).or(mail) }
    }

    /// What the git program finds in its files.
    fn asked(&self, git_dir: &Path) -> Author {
        let asked = ["config", "--includes", "-z", "--get-regexp", r"^(user|author)\.(name|email)$"];
        // One that fails says nothing of anybody.
        let found = self.at(git_dir).args(asked).output(b"").map(|output| output.stdout).unwrap_or_default();
        let part = |key: &str| last(&found, &format!("author.{key}")).or_else(|| last(&found, &format!("user.{key}")));
        Author { name: part("name"), email: part("email") }
    }
}

/// What the developer's own file says, without a process: only where it says
/// everything, so that no other file counts, and where git's library reads it as
/// git does.
fn of_developer(git_dir: &Path) -> Option<Author> {
    let config = git2::Repository::open_bare(git_dir).ok()?.config().ok()?;
    let mut author = [None, None];
    let mut user = [None, None];
    let mut entries = config.entries(None).ok()?;
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        let (name, value) = (entry.name().ok()?, entry.value().ok().map(str::to_owned));
        if name.starts_with("includeif.hasconfig:") {
            return None;
        }
        let place = match name {
            "author.name" => &mut author[0],
            "author.email" => &mut author[1],
            "user.name" => &mut user[0],
            "user.email" => &mut user[1],
            _ => continue,
        };
        if !matches!(entry.level(), git2::ConfigLevel::Global | git2::ConfigLevel::XDG) {
            return None;
        }
        *place = value;
    }
    let [name, email] = author;
    let [user_name, user_email] = user;
    Some(Author { name: Some(name.or(user_name)?), email: Some(email.or(user_email)?) })
}

/// The last value of a key among what `git config -z` prints.
fn last(printed: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(printed);
    let mut values = text.split('\0').filter_map(|entry| entry.split_once('\n')).filter(|(name, _)| *name == key);
    values.next_back().map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts() {
        let printed = b"user.name\nAda\0user.email\na@home.example\0user.email\na@work.example\0";
        assert_eq!(last(printed, "user.email").as_deref(), Some("a@work.example"));
        assert_eq!(last(printed, "author.name"), None);
        assert_eq!(last(b"", "user.name"), None);
    }
}
