//! Whatever address is accepted, git goes where it says. Git itself is asked, with
//! a program in the place of ssh and a proxy that note where it would go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use envctl::identity::{RepoUrl, Scheme};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::cases;

/// What a stranger would write in the places of an address.
const PIECES: [&str; 40] = [
    "approved.example",
    "other.example",
    "git",
    "a",
    "b.git",
    "~",
    "x",
    "127.0.0.1",
    "[::1]",
    "::1",
    "[",
    "]",
    "@",
    "@[",
    "]:",
    ":",
    "::",
    "/",
    "//",
    "/../",
    "\\",
    "%",
    "%2f",
    "%40",
    "%5b",
    "%5D",
    "%5c",
    "%25",
    "%2540",
    "%00",
    "%0a",
    "%20",
    "?",
    "#",
    "-p",
    "-oProxyCommand=id",
    ":22",
    ":2222",
    ":0022",
    " ",
];

/// Mostly an address as people write it, with a few foreign pieces in it.
fn address() -> impl Strategy<Value = String> {
    let piece = || prop::sample::select(&PIECES[..]);
    let scheme = prop::sample::select(&["ssh://", "https://", "http://", "git+ssh://", "", "ssh:"][..]);
    let user = prop_oneof![3 => Just(""), 3 => Just("git@"), 1 => Just("git:pw@"), 1 => Just("a.b-c_d@")];
    let host =
        prop::sample::select(&["approved.example", "h", "127.0.0.1", "[::1]", "APPROVED.example", "a_b.example"][..]);
    let port = prop_oneof![3 => Just(""), 1 => Just(":22"), 1 => Just(":2222"), 1 => Just(":443")];
    let between = prop_oneof![6 => Just("/"), 1 => Just(":")];
    let path = prop::collection::vec(
        prop::sample::select(&["a", "/b.git", "/~me", "%20", "%41", "/v3", ".", "-", ":"][..]),
        1..5,
    );
    let foreign = prop::collection::vec((any::<prop::sample::Index>(), piece()), 0..3);
    (scheme, user, host, port, between, path, foreign).prop_map(|(scheme, user, host, port, between, path, foreign)| {
        let mut text = format!("{scheme}{user}{host}{port}{between}{}", path.concat());
        for (place, piece) in foreign {
            text.insert_str(place.index(text.len() + 1), piece);
        }
        text
    })
}

/// How git reads an address (`connect.c`), for ssh: the account and host, the
/// port.
fn as_git_reads(url: &str) -> Option<(String, Option<String>)> {
    let Some(long) = url.strip_prefix("ssh://") else {
        // The short form: the host ends at the first colon, unless an `@[` begins one.
        let (host, _) = url.split_once(':').filter(|_| !url.contains("@[") && !url.starts_with('['))?;
        return Some((host.to_owned(), None)).filter(|_| !host.contains('/'));
    };
    let decoded = decode(long);
    // An `@[` anywhere begins the host.
    let begin = decoded.find("@[").map_or(0, |at| at + 1);
    let end = if decoded[begin..].starts_with('[') { begin + decoded[begin..].find(']')? } else { begin };
    let slash = end + decoded[end..].find('/')?;
    let authority = &decoded[..slash];
    let inner = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority[inner..].find(':') {
        Some(colon) => (&authority[..inner + colon], Some(authority[inner + colon + 1..].to_owned())),
        None => (authority, None),
    };
    Some((host.replace(['[', ']'], ""), port))
}

fn decode(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match hex.filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The account, host and port that are shown.
fn shown(url: &RepoUrl) -> (String, Option<String>) {
    let site = url.site().unwrap();
    let host = site.host().replace(['[', ']'], "");
    let user = url.user().map(|user| format!("{user}@")).unwrap_or_default();
    (format!("{user}{host}"), url.port().map(|port| port.to_string()))
}

#[test]
fn an_accepted_address_is_read_by_git_as_it_is_shown() {
    let mut accepted = 0;
    let mut runner = TestRunner::new(cases(10_000));
    runner
        .run(&address(), |text| {
            let Ok(url) = text.parse::<RepoUrl>() else { return Ok(()) };
            let text = url.to_string();
            prop_assert_eq!(&text.parse::<RepoUrl>().unwrap(), &url, "it is shown in one way");
            prop_assert!(
                !text.contains(['\\', '\n', '\0']) && (url.is_file() || text.matches('@').count() <= 1),
                "{}",
                text
            );
            if url.scheme() == Scheme::Ssh {
                let read = as_git_reads(&text).map(|(host, port)| (host.to_lowercase(), port));
                let (host, port) = shown(&url);
                prop_assert_eq!(read, Some((host.to_lowercase(), port)), "{}", text);
            }
            Ok(())
        })
        .unwrap();
    for _ in 0..100 {
        let text = address().new_tree(&mut runner).unwrap().current();
        accepted += usize::from(text.parse::<RepoUrl>().is_ok());
    }
    assert!(accepted > 10, "{accepted} of 100 are addresses");
}

/// The real git: where it starts ssh for, or what it wants of a proxy.
#[test]
fn git_goes_where_an_accepted_address_says() {
    let dir = tempfile::tempdir().unwrap();
    let (ssh, log) = (dir.path().join("ssh"), dir.path().join("log"));
    fs::write(&ssh, format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >{}\nexit 255\n", log.display())).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = proxy.local_addr().unwrap().port();
    let wanted = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&wanted);
    std::thread::spawn(move || {
        for stream in proxy.incoming().flatten() {
            // Open until it is noted.
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            let _ = reader.read_line(&mut line);
            *noted.lock().unwrap() = line;
        }
    });
    let mut runner = TestRunner::new(cases(300));
    let urls =
        address().prop_filter_map("no address", |text| text.parse::<RepoUrl>().ok().filter(|url| url.site().is_some()));
    runner
        .run(&urls, |url| {
            let _ = fs::remove_file(&log);
            wanted.lock().unwrap().clear();
            let text = url.to_string();
            let status = Command::new("git")
                .args(["-c", &format!("http.proxy=http://127.0.0.1:{port}"), "ls-remote", "--", &text])
                .env("GIT_SSH_COMMAND", &ssh)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_TERMINAL_PROMPT", "0")
                .env("no_proxy", "")
                .env("NO_PROXY", "")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            prop_assert!(!status.success());
            let site = url.site().unwrap();
            if url.scheme() == Scheme::Ssh {
                let words = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
                let words: Vec<&str> = words.lines().collect();
                let (host, port) = shown(&url);
                let at = words.iter().position(|word| word.eq_ignore_ascii_case(&host));
                prop_assert!(at.is_some(), "{} became {:?}", text, words);
                let before = &words[..at.unwrap()];
                let given = before.iter().position(|word| *word == "-p").map(|at| before[at + 1].to_owned());
                prop_assert_eq!(given, port, "{} became {:?}", text, words);
                // One that is no text is shown as git got it.
                if let Some(path) = url.path() {
                    let path = path.replace('\'', "'\\''").replace('!', "'\\!'");
                    prop_assert_eq!(words[at.unwrap() + 1], format!("git-upload-pack '{path}'"), "{}", text);
                }
            } else {
                let line = wanted.lock().unwrap().to_lowercase();
                let host = site.to_string().split_once("://").unwrap().1.to_owned();
                let port = url.port().unwrap_or(if url.scheme() == Scheme::Https { 443 } else { 80 });
                let bare = site.host();
                let fits = line.starts_with(&format!("connect {bare}:{port} "))
                    || line.starts_with(&format!("get http://{host}/"))
                    || line.starts_with(&format!("get http://{bare}:{port}/"));
                prop_assert!(fits, "{} became {:?}", text, line);
            }
            Ok(())
        })
        .unwrap();
}
