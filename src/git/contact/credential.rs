//! The credential helper that git sees. It knows for whom git asks: for the
//! approved place the developer's own helpers are asked, for any other nobody is.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use super::order::{Order, tell};
use crate::identity::Site;

/// More than git ever says about what it wants.
const MAX_QUESTION: u64 = 64 << 10;

pub(super) fn run(order: &Order, args: &[&OsStr]) -> ExitCode {
    let mut question = Vec::new();
    let read = std::io::stdin().lock().take(MAX_QUESTION).read_to_end(&mut question);
    let action = match args.first().and_then(|word| word.to_str()) {
        Some("get") => "fill",
        Some("store") => "approve",
        Some("erase") => "reject",
        // What it does not know a helper leaves alone.
        _ => return ExitCode::SUCCESS,
    };
    let question = String::from_utf8_lossy(&question);
    let site = read.ok().and_then(|_| site(&question));
    if !site.as_ref().is_some_and(|site| order.covers(site)) {
        if action == "fill" {
            let who = site.map_or_else(|| "a server without a name".to_owned(), |site| site.to_string());
            tell(&format!("{who} wants a password, and only {} was approved", order.real));
            // Nobody else is asked either.
            let _ = std::io::stdout().write_all(b"quit=1\n");
        }
        return ExitCode::SUCCESS;
    }
    let mut command = Command::new("git");
    command.args(["credential", action]);
    order.give_back(&mut command);
    // What a helper says may be the password: nobody repeats it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return ExitCode::FAILURE };
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(question.as_bytes());
        let _ = pipe.write_all(b"\n");
    }
    let mut words = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let _ = pipe.take(MAX_QUESTION).read_to_end(&mut words);
    }
    // Before git has it, and with it a server that may repeat it.
    if !whisper(order, &words) {
        let _ = (child.kill(), child.wait());
        return ExitCode::FAILURE;
    }
    let _ = std::io::stdout().write_all(&words);
    let ended = child.wait().is_ok_and(|status| status.success());
    if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells who prints what must not be printed.
fn whisper(order: &Order, words: &[u8]) -> bool {
    let Some(ears) = &order.ears else { return true };
    let told = OpenOptions::new().append(true).open(ears).and_then(|mut file| file.write_all(words));
    told.is_ok()
}

/// For whom git asks.
pub(super) fn site(question: &str) -> Option<Site> {
    let value = |name: &str| {
        let mut values = question.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| *key == name);
        let first = values.next()?.1;
        values.next().is_none().then_some(first)
    };
    Site::parse(&format!("{}://{}", value("protocol")?, value("host")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_asks_for_a_place() {
        let of = |question: &str| site(question).map(|site| site.to_string());
        assert_eq!(of("protocol=https\nhost=A.example:443\n").as_deref(), Some("https://a.example"));
        assert_eq!(of("protocol=http\nhost=127.0.0.1:80\npath=x\n").as_deref(), Some("http://127.0.0.1"));
        for bad in [
            "host=a.example\n",
            "protocol=https\nhost=a@b\n",
            "protocol=cert\nhost=\n",
            "protocol=https\nhost=a\nhost=b\n",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
