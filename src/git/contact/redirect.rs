//! Where a remote sends git on to. Git does not follow; what the remote named is
//! judged like any other address.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::Result;

use super::order::Order;
use crate::identity::RepoUrl;

/// A redirect is what a remote answers first.
const MAX_TRACE: u64 = 1 << 20;

/// What git appends to the address of a repository.
const REFS: &str = "/info/refs";

/// The new address, from git's own record of what it heard.
pub(super) fn found(mut trace: &File, order: &Order) -> Result<Option<RepoUrl>> {
    let mut text = Vec::new();
    trace.seek(SeekFrom::Start(0))?;
    trace.take(MAX_TRACE).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let heads = text.lines().filter_map(|line| line.split_once("<= Recv header: ").map(|(_, head)| head.trim()));
    let mut heads = heads.filter_map(|head| head.split_once(':'));
    let place = heads.rfind(|(name, _)| name.eq_ignore_ascii_case("location"));
    Ok(place.and_then(|(_, place)| address(place.trim(), &order.real)))
}

/// The address of the repository, of the place of its refs.
fn address(place: &str, from: &str) -> Option<RepoUrl> {
    let (place, _) = place.split_once('?').unwrap_or((place, ""));
    let whole = if place.starts_with('/') && !place.starts_with("//") {
        let (scheme, rest) = from.split_once("://")?;
        format!("{scheme}://{}{place}", rest.split('/').next()?)
    } else {
        place.to_owned()
    };
    let base = whole.strip_suffix(REFS)?;
    let known = base.starts_with("https://") || base.starts_with("http://");
    known.then(|| base.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_repository_is_found() {
        let of = |place: &str| address(place, "https://a.example/x").map(|url| url.to_string());
        assert_eq!(
            of("https://b.example/y.git/info/refs?service=git-upload-pack").as_deref(),
            Some("https://b.example/y.git")
        );
        assert_eq!(of("/x.git/info/refs?service=x").as_deref(), Some("https://a.example/x.git"));
        for bad in [
            "/login",
            "ssh://b/x/info/refs",
            "file:///x/info/refs",
            "//b.example/x/info/refs",
            "https://b/@[c]/info/refs",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
