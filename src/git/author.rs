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
        let asked = ["config", "--includes", "-z", "--get-regexp", r"^(user|author)\.(name|email)$"];
        // One that fails says nothing of anybody.
        let found = self.at(git_dir).args(asked).output(b"").map(|output| output.stdout).unwrap_or_default();
        let variable = |name: &str| self.own.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        let part = |variable: Option<String>, key: &str| {
            let keys = [format!("author.{key}"), format!("user.{key}")];
            let set = || keys.iter().find_map(|key| last(&found, key));
            variable.or_else(set).filter(|value| !value.trim().is_empty())
        };
        Author {
            name: part(variable("GIT_AUTHOR_NAME"), "name"),
            email: part(variable("GIT_AUTHOR_EMAIL"), "email").or(mail),
        }
    }
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
