//! A home folder for git-lfs. It reads `~/.netrc` by itself, in which an entry may
//! be for any host; here it finds those of the approved hosts only, and the
//! developer's settings of git as they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::super::Git;
use super::order::Order;
use crate::disk;
use crate::identity::Site;

/// The name of the file of passwords.
const NETRC: &str = ".netrc";

/// No honest file of passwords is longer.
const MAX_NETRC: u64 = 1 << 20;

/// The folder, and the file of settings in it; `None` where the developer's own
/// home does as well.
pub(super) fn of(git: &Git, git_dir: &Path, order: &Order) -> Result<Option<(TempDir, PathBuf)>> {
    let home = order.own.iter().find(|(name, _)| name == "HOME").and_then(|(_, home)| home.as_deref());
    let Some(home) = home.map(Path::new) else { return Ok(None) };
    let Some(netrc) = disk::read_file(&home.join(NETRC), MAX_NETRC)? else { return Ok(None) };
    let sites = order.beside.iter().filter_map(|site| Site::parse(site));
    let own = order.address().and_then(|address| address.site());
    let hosts: BTreeSet<String> = sites.chain(own).map(|site| site.host().to_owned()).collect();
    // Private by its mode.
    let place =
        tempfile::Builder::new().prefix("envctl-home-").tempdir().context("cannot create a temporary folder")?;
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
    };
    write(NETRC, &narrowed(&String::from_utf8_lossy(&netrc), &hosts))?;
    let settings = write("gitconfig", "")?;
    let mut config = git2::Config::open(&settings)?;
    let listed = git.at(git_dir).args(["config", "--null", "--list", "--show-scope"]).run(b"")?;
    let listed = String::from_utf8_lossy(&listed);
    let mut words = listed.split('\0');
    while let (Some(scope), Some(entry)) = (words.next(), words.next()) {
        if scope == "system" || scope == "global" {
            let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
            let value =
                value.strip_prefix("~/").map_or_else(|| value.into(), |rest| home.join(rest).display().to_string());
            // What libgit2 does not take git-lfs does not need.
            let _ = config.set_multivar(key, "^$", &value);
        }
    }
    Ok(Some((place, settings)))
}

/// The entries of these hosts; what is for all others counts for them alone.
fn narrowed(netrc: &str, hosts: &BTreeSet<String>) -> String {
    let mut words = words(netrc).into_iter().peekable();
    let (mut out, mut known, mut rest) = (String::new(), BTreeSet::new(), String::new());
    while let Some(word) = words.next() {
        let name = match word {
            "machine" => words.next().unwrap_or_default().to_ascii_lowercase(),
            "default" => String::new(),
            _ => continue,
        };
        let mut login = String::new();
        while let Some(key) = words.next_if(|word| matches!(*word, "login" | "password" | "account")) {
            login.push_str(&format!(" {key} {}", words.next().unwrap_or_default()));
        }
        if word == "default" {
            rest = login;
        } else if hosts.contains(&name) {
            out.push_str(&format!("machine {name}{login}\n"));
            known.insert(name);
        }
    }
    if !rest.is_empty() {
        hosts.difference(&known).for_each(|host| out.push_str(&format!("machine {host}{rest}\n")));
    }
    out
}

/// All words, but for comments and for macros, which end with an empty line.
fn words(netrc: &str) -> Vec<&str> {
    let (mut all, mut in_macro) = (Vec::new(), false);
    for line in netrc.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        for word in line.split_whitespace() {
            if word.starts_with('#') && all.last().is_none_or(|last| *last != "password") {
                break;
            }
            if word == "macdef" {
                in_macro = true;
                break;
            }
            all.push(word);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_of_the_approved_hosts_are_there() {
        let hosts = BTreeSet::from(["a.example".to_owned(), "c.example".to_owned()]);
        let text = "# mine\nmachine A.example login x\n  password #p1\nmachine b.example login y password p2\n\
                    macdef init\nmachine c.example login evil password evil\n\ndefault login z password p3\n";
        let entries = "machine a.example login x password #p1\nmachine c.example login z password p3\n";
        assert_eq!(narrowed(text, &hosts), entries);
        assert_eq!(narrowed("machine b.example login y password p2", &hosts), "");
        assert_eq!(narrowed("default login z password", &BTreeSet::new()), "");
    }
}
