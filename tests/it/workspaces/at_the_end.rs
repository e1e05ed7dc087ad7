//! What is left of weeks when nobody comes back: what the limits allow, and with
//! `prune` nothing.

use std::path::{Path, PathBuf};

use super::weeks::{Weeks, folders};

/// What the caches may hold together, in bytes.
pub const MOST: u64 = 64 << 10;

/// What may stay beside them: the ledger, and notes of when.
const BESIDE: u64 = 64 << 10;

impl Weeks {
    /// Months pass in which nothing but the collection runs.
    pub(super) fn age(&mut self) {
        self.trip.at_rest();
        // A clock that was wrong is right again.
        self.day = self.day.max(0);
        for _ in 0..5 {
            self.day += 40;
            self.dev(&["gc"]).ok();
        }
        let dev = &self.trip.lab.dev;
        let held: u64 = [dev.cache(), dev.data(), dev.state()].iter().map(|place| bytes(place)).sum();
        let list = || [dev.cache(), dev.data(), dev.state()].iter().flat_map(|place| listed(place)).collect::<Vec<_>>();
        assert!(held <= MOST + BESIDE, "{held} bytes are kept:\n{}", list().join("\n"));
        for place in ["workspaces", "recovery", "salvages", "pins", "identities"] {
            let there = listed(&dev.data().join(place));
            assert!(there.is_empty(), "{place} holds\n{}", there.join("\n"));
        }
        // A folder or a lock for each task that ever was would be kept for ever as well.
        for place in [dev.data().join("workspaces"), dev.data().join("locks"), dev.cache().join("locks")] {
            assert_eq!(folders(&place), Vec::<PathBuf>::new());
        }
        self.dev(&["cache", "prune", "--all"]).ok();
        for folder in ["blobs/sha256", "layers", "trees", "brought"] {
            assert_eq!(bytes(&dev.cache().join(folder)), 0, "{folder}:\n{}", list().join("\n"));
        }
        assert!(folders(&dev.data().join("repos")).is_empty(), "a mirror that nobody needs");
    }
}

fn bytes(place: &Path) -> u64 {
    let Ok(meta) = place.symlink_metadata() else { return 0 };
    if meta.is_dir() { folders(place).iter().map(|path| bytes(path)).sum() } else { meta.len() }
}

fn listed(place: &Path) -> Vec<String> {
    let Ok(meta) = place.symlink_metadata() else { return Vec::new() };
    if !meta.is_dir() {
        return vec![format!("{:9} {}", meta.len(), place.display())];
    }
    folders(place).iter().flat_map(|path| listed(path)).collect()
}
