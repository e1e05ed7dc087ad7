//! What git starts in the place of ssh: it compares where ssh would go with what
//! was allowed, and becomes the developer's own ssh.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use super::order::{Order, tell};
use crate::identity::{RepoUrl, Scheme};

/// As ssh itself ends when it does not get through.
const FAILED: u8 = 255;

/// What git, and envctl for large files, hand to ssh.
#[derive(Debug, Default, PartialEq)]
struct Words<'a> {
    destination: &'a str,
    port: Option<u16>,
    command: Vec<&'a str>,
    openssh: bool,
}

pub(super) fn run(order: &Order, args: &[&OsStr]) -> ExitCode {
    // The path may be in any encoding; account, host and port are plain.
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let Some(address) = order.address().filter(|address| address.scheme() == Scheme::Ssh) else {
        tell("ssh was to be started, which was not approved");
        return ExitCode::from(FAILED);
    };
    let Some(read) = read(&words).filter(|read| leads_to(read, &address)) else {
        tell(&format!("ssh would not go to {}, which was approved", order.real));
        return ExitCode::from(FAILED);
    };
    let (program, line) = &order.ssh;
    let mut command = if *line {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{program} \"$@\""), program]);
        shell
    } else {
        Command::new(program)
    };
    if !order.interactive && (order.openssh || read.openssh) {
        command.args(["-o", "BatchMode=yes"]);
    }
    command.args(args);
    order.give_back(&mut command);
    // Only comes back when it failed.
    let why = command.exec();
    tell(&format!("cannot start {program}: {why}"));
    ExitCode::from(FAILED)
}

/// The words, if they are such as those.
fn read<'a>(words: &[&'a str]) -> Option<Words<'a>> {
    let mut found = Words::default();
    let mut rest = words.iter().copied();
    loop {
        let word = rest.next()?;
        match word {
            "-4" | "-6" | "-T" | "-batch" => {}
            "-G" => found.openssh = true,
            "-o" => {
                found.openssh = true;
                option(rest.next()?)?;
            }
            "-p" | "-P" => found.port = Some(rest.next()?.parse().ok()?),
            "--" => {
                found.destination = rest.next()?;
                break;
            }
            _ if word.starts_with("-o") => option(word.get(2..)?)?,
            _ if word.starts_with('-') => return None,
            _ => {
                found.destination = word;
                break;
            }
        }
    }
    found.command = rest.collect();
    Some(found)
}

/// Settings of ssh that git makes.
fn option(text: &str) -> Option<()> {
    let (name, value) = text.split_once('=')?;
    (matches!(name, "ControlMaster" | "ControlPath") || (name, value) == ("SendEnv", "GIT_PROTOCOL")).then_some(())
}

/// Whether they lead to exactly this account, host and port.
fn leads_to(words: &Words<'_>, address: &RepoUrl) -> bool {
    let (user, host) = match words.destination.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, words.destination),
    };
    let wanted = address.site().map(|site| site.host().trim_start_matches('[').trim_end_matches(']').to_owned());
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    user == address.user() && Some(host) == wanted && words.port == address.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_approved_place_is_reached() {
        let goes = |words: &[&str], url: &str| {
            read(words).is_some_and(|words| leads_to(&words, &url.parse::<RepoUrl>().unwrap()))
        };
        let url = "ssh://git@a.example:2222/x";
        for good in [
            &["-o", "SendEnv=GIT_PROTOCOL", "-p", "2222", "git@a.example", "git-upload-pack '/x'"][..],
            &["-p", "2222", "--", "git@a.example", "git-lfs-authenticate /x download"],
            &[
                "-oControlMaster=yes",
                "-oControlPath=/tmp/s",
                "-p",
                "2222",
                "git@A.example",
                "git-lfs-transfer /x download",
            ],
            &["-G", "-p", "2222", "git@a.example"],
        ] {
            assert!(goes(good, url), "{good:?}");
        }
        for bad in [
            &["-p", "2222", "git@b.example", "x"][..],
            &["-p", "22", "git@a.example", "x"],
            &["git@a.example", "x"],
            &["-p", "2222", "root@a.example", "x"],
            &["-p", "2222", "a.example", "x"],
            &["-o", "ProxyCommand=id", "-p", "2222", "git@a.example", "x"],
            &["-oProxyCommand=id", "-p", "2222", "git@a.example", "x"],
            &["-F", "/tmp/config", "-p", "2222", "git@a.example", "x"],
            &["-p", "2222"],
            &[],
        ] {
            assert!(!goes(bad, url), "{bad:?}");
        }
        assert!(goes(&["git@::1", "x"], "ssh://git@[::1]/x"));
    }
}
