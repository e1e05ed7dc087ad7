//! Ids of this machine that a runtime may have besides the developer's own: a range
//! in `/etc/subuid` and `/etc/subgid`, and for root, where there is none, ids that
//! belong to nobody.
//!
//! Invariant: no id that is handed out here is one of an account, of a group, or of
//! another account's range, as far as the files of this machine say.

use std::fs;
use std::sync::OnceLock;

use rustix::thread::CapabilitySet;

/// The first of them, and how many.
pub(super) type Ids = (u32, u32);

/// What a developer may hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subordinates {
    pub(super) uids: Ids,
    pub(super) gids: Ids,
    /// No file lists them, so that the helpers would refuse them.
    pub(super) unlisted: bool,
}

/// Where root looks for ids that belong to nobody, best first. The first lies above
/// what directory services hand out to people (2,000,200,000 by SSSD's default) and
/// below what systemd has for images of others; the other is for root in a container,
/// which has no more than 65,536 ids, and lies above the accounts that people make there
/// and below those of systemd.
const PLACES: [Ids; 2] = [(0x7d00_0000, 65_536), (20_000, 40_000)];

/// What this account may hand out; read once.
pub(super) fn subordinates(uid: u32) -> Option<Subordinates> {
    static READ: OnceLock<(u32, Option<Subordinates>)> = OnceLock::new();
    let read = || listed(uid).or_else(|| if uid == 0 { unlisted() } else { None });
    let (of, found) = READ.get_or_init(|| (uid, read()));
    if *of == uid { *found } else { read() }
}

/// The first ranges of an account in `/etc/subuid` and `/etc/subgid`.
fn listed(uid: u32) -> Option<Subordinates> {
    let name = account_name(uid);
    let range = |file| first_range(&fs::read_to_string(file).ok()?, uid, name.as_deref());
    Some(Subordinates { uids: range("/etc/subuid")?, gids: range("/etc/subgid")?, unlisted: false })
}

fn first_range(text: &str, uid: u32, name: Option<&str>) -> Option<Ids> {
    ranges(text).find_map(|(owner, ids)| (Some(owner) == name || owner.parse() == Ok(uid)).then_some(ids))
}

/// All ranges of such a file, each with its owner.
fn ranges(text: &str) -> impl Iterator<Item = (&str, Ids)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (owner, start, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        (count > 0 && u32::checked_add(start, count).is_some()).then_some((owner, (start, count)))
    })
}

/// For root that may write any map: ids that nobody has.
fn unlisted() -> Option<Subordinates> {
    let maps = CapabilitySet::SETUID | CapabilitySet::SETGID;
    // What belongs to such an id has to be made, and removed again.
    let files = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    let may = maps | files;
    if !rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(may)) {
        return None;
    }
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let free = |map: &str, accounts: &str, subordinate: &str| free(&read(map), &read(accounts), &read(subordinate));
    Some(Subordinates {
        uids: free("/proc/self/uid_map", "/etc/passwd", "/etc/subuid")?,
        gids: free("/proc/self/gid_map", "/etc/group", "/etc/subgid")?,
        unlisted: true,
    })
}

/// The first place that exists in the map of this process and belongs to nobody.
fn free(map: &str, accounts: &str, subordinate: &str) -> Option<Ids> {
    let of_map = |line: &str| -> Option<Ids> {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
    };
    let has = |(start, count): Ids, id: u64| (u64::from(start)..u64::from(start) + u64::from(count)).contains(&id);
    PLACES.into_iter().find(|place| {
        let last = u64::from(place.0) + u64::from(place.1) - 1;
        let exists = map.lines().filter_map(of_map).any(|one| has(one, place.0.into()) && has(one, last));
        let mut taken = accounts.lines().filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok());
        let apart = |other: Ids| u64::from(other.0) > last || !has(other, place.0.into()) && other.0 < place.0;
        exists && !taken.any(|id| has(*place, id.into())) && ranges(subordinate).all(|(_, other)| apart(other))
    })
}

fn account_name(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "         0          0 4294967295\n";

    #[test]
    fn the_range_of_an_account_is_found_by_name_and_by_number() {
        let text = "other:1:2\nbad:x:1\nme:0:0\nme:4294967295:2\n1000:100000:65536\nme:200000:65536\n";
        assert_eq!(first_range(text, 1000, Some("me")), Some((100_000, 65_536)));
        assert_eq!(first_range(text, 7, Some("me")), Some((200_000, 65_536)));
        assert_eq!(first_range(text, 7, None), None);
    }

    #[test]
    fn root_takes_ids_that_nobody_has() {
        let accounts =
            "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        let [wide, narrow] = PLACES;
        assert_eq!(free(ALL, accounts, "me:100000:65536\n"), Some(wide));
        // An account or a range in it, at its ends and around it.
        for taken in [format!("x:x:{}:0::/:\n", wide.0), format!("x:x:{}:0::/:\n", wide.0 + 65_535)] {
            assert_eq!(free(ALL, &taken, ""), Some(narrow));
        }
        for (start, count) in [(wide.0 - 1, 2), (wide.0 + 65_535, 1), (wide.0 - 10, 100_000), (wide.0 + 9, 9)] {
            assert_eq!(free(ALL, accounts, &format!("me:{start}:{count}\n")), Some(narrow), "{start}");
        }
        for (start, count) in [(wide.0 - 2, 2), (wide.0 + 65_536, 9)] {
            assert_eq!(free(ALL, accounts, &format!("me:{start}:{count}\n")), Some(wide), "{start}");
        }
        // In a container.
        assert_eq!(free("0 100000 65536\n", accounts, ""), Some(narrow));
        assert_eq!(free("0 1000 1\n1 100000 65535\n", accounts, ""), Some(narrow));
        assert_eq!(free("0 1000 1\n", accounts, ""), None);
        assert_eq!(free("0 100000 65536\n", "x:x:20000:0::/:\n", ""), None);
        assert_eq!(free("", accounts, ""), None);
    }
}
