//! Where git-lfs may go. A server names the places of large files, and when it is
//! asked by ssh also the address to ask for them: any host with TLS, without the
//! developer's credentials, and without TLS the approved one alone.

use std::io::{Read, Write};
use std::process::{Command, ExitCode};

use serde::Deserialize;

use super::order::Order;
use super::tell;
use crate::identity::{RepoUrl, Scheme};

/// No honest answer is longer.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    href: String,
}

/// Settings by which git-lfs reaches nothing without TLS but what was approved:
/// they rewrite every place that a server names, and the longest rule wins.
pub(super) fn settings(order: &Order) -> Vec<String> {
    // Programs do not mind how a scheme is spelled, rules do.
    let spellings = (0..16u8).map(|bits| {
        let letter = |(at, c): (usize, char)| if bits >> at & 1 == 1 { c.to_ascii_uppercase() } else { c };
        "http".chars().enumerate().map(letter).collect::<String>()
    });
    let refused = spellings.map(|scheme| format!("url.refused://x/.insteadOf={scheme}://"));
    let own = order.address().and_then(|address| {
        let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = address.site()?.host().to_owned();
        matches!(address.scheme(), Scheme::Http | Scheme::Ssh).then(|| format!("http://{host}{port}"))
    });
    let named = order.beside.iter().filter(|site| site.starts_with("http://")).cloned();
    let allowed = own.into_iter().chain(named).map(|site| format!("url.{site}/.insteadOf={site}/"));
    ["lfs.transfer.enablehrefrewrite=true".to_owned()].into_iter().chain(refused).chain(allowed).collect()
}

/// Asks the server, and passes on an answer that leads to where git-lfs may go.
pub(super) fn authenticate(order: &Order, command: &mut Command) -> ExitCode {
    let Ok(mut child) = command.spawn() else {
        tell("cannot start ssh");
        return ExitCode::FAILURE;
    };
    let mut text = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let _ = pipe.take(MAX_ANSWER).read_to_end(&mut text);
    }
    let code = child.wait().ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    if code != Some(0) {
        return ExitCode::from(code.unwrap_or(u8::MAX));
    }
    let answer: Option<Answer> = serde_json::from_slice(&text).ok();
    let Some(answer) = answer.filter(|answer| answer.href.is_empty() || may_go(&answer.href, order)) else {
        tell("the server says that large files are where git-lfs may not go");
        return ExitCode::FAILURE;
    };
    drop(answer);
    let _ = std::io::stdout().write_all(&text);
    ExitCode::SUCCESS
}

/// Another address on the approved host, or one with TLS that is not in a
/// network of the developer's own.
fn may_go(href: &str, order: &Order) -> bool {
    let (Ok(url), Some(approved)) = (href.parse::<RepoUrl>(), order.address().and_then(|address| address.site()))
    else {
        return false;
    };
    let Some(site) = url.site() else { return false };
    match site.scheme() {
        Scheme::Https | Scheme::Http if site.host() == approved.host() => true,
        Scheme::Https => !site.is_near(),
        _ => false,
    }
}
