//! `~/.netrc`, a file of passwords by host.

use std::path::Path;

use anyhow::Result;

use crate::disk;

/// No honest file of passwords is longer.
const MAX_NETRC: u64 = 1 << 20;

/// The name and the password for a host.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn find(home: &Path, host: &str) -> Result<Option<(String, String)>> {
    let text = disk::read_file(&home.join(".netrc"), MAX_NETRC)?.unwrap_or_default();
    Ok(entry(&String::from_utf8_lossy(&text), host))
}

/// The first entry of a host, else the one for all others.
fn entry(netrc: &str, host: &str) -> Option<(String, String)> {
    let mut words = words(netrc).into_iter().peekable();
    let mut rest = None;
    while let Some(word) = words.next() {
        let is_ours = match word {
            "machine" => words.next().unwrap_or_default().eq_ignore_ascii_case(host),
            "default" => false,
            _ => continue,
        };
        let (mut login, mut password) = (String::new(), String::new());
        while let Some(key) = words.next_if(|word| matches!(*word, "login" | "password" | "account")) {
            let value = words.next().unwrap_or_default();
            match key {
                "login" => value.clone_into(&mut login),
                "password" => value.clone_into(&mut password),
                _ => {}
            }
        }
        if is_ours {
            return Some((login, password));
        }
        if word == "default" {
            rest = Some((login, password));
        }
    }
    rest
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
    fn an_entry_is_for_its_host() {
        let text = "# mine\nmachine A.example login x\n  password #p1\nmachine b.example login y password p2\n\
                    macdef init\nmachine c.example login evil password evil\n\ndefault login z password p3\n";
        let of = |host: &str| entry(text, host).unwrap();
        assert_eq!(of("a.example"), ("x".into(), "#p1".into()));
        assert_eq!(of("b.example"), ("y".into(), "p2".into()));
        assert_eq!(of("c.example"), ("z".into(), "p3".into()));
        assert_eq!(entry("machine b.example login y password p2", "a.example"), None);
    }
}
