//! Why an entry is not the one that is wanted, in a line: packages by name and version
//! where lockfiles name them, files and other things otherwise.

mod nearest;
mod why;

pub use why::{Reason, cache_reasons};

use super::inputs::pins;
use super::state::{Caches, scopes};
use super::wanted::Wanted;
use crate::cache::{Components, LockfilePins, Record, Trees};
use crate::handoff::task::Resolved;
use crate::handoff::words::{quote, shown_list};

/// What differs of a key's components.
#[derive(Clone, Debug, Default)]
pub(in crate::handoff::caches) struct Differences {
    /// Lockfiles, and their packages.
    pub(in crate::handoff::caches) packages: Vec<(String, Vec<String>)>,
    /// The names of inputs besides them.
    pub(in crate::handoff::caches) files: Vec<String>,
    /// What is no input.
    pub(in crate::handoff::caches) others: Vec<String>,
}

impl Differences {
    pub(in crate::handoff::caches) fn of(
        before: (&Components, Option<&LockfilePins>),
        now: (&Components, &LockfilePins),
    ) -> Self {
        let mut found = Differences::default();
        for (name, ..) in before.0.difference(now.0) {
            let Some(path) = name.strip_prefix("input ") else {
                found.others.push(name);
                continue;
            };
            match before.1.and_then(|pins| pins.difference(now.1, path)).filter(|packages| !packages.is_empty()) {
                Some(packages) => found.packages.push((path.to_owned(), packages)),
                None => found.files.push(quote(path)),
            }
        }
        found
    }

    pub(in crate::handoff::caches) fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty() && self.others.is_empty()
    }

    /// What another entry was made for, by its inputs.
    pub(in crate::handoff::caches) fn for_another(&self) -> String {
        let lockfiles =
            self.packages.iter().map(|(path, packages)| format!("{} ({})", quote(path), shown_list(packages)));
        shown_list(&lockfiles.chain(self.files.iter().cloned()).collect::<Vec<_>>())
    }

    /// All of it in a line. What a manifest asks for is seen in its lockfile.
    pub(in crate::handoff::caches) fn in_a_line(&self) -> String {
        let lockfiles =
            self.packages.iter().map(|(path, packages)| format!("{}: {}", quote(path), shown_list(packages)));
        let mut all: Vec<String> = lockfiles.collect();
        let rest: Vec<String> = self.files.iter().chain(&self.others).cloned().collect();
        all.extend((!rest.is_empty()).then(|| shown_list(&rest)));
        all.join("; ")
    }
}

/// Of all entries the one before that which a task wants: which its workspace was
/// given, or else the last one that it may use.
pub(in crate::handoff::caches) fn before<T>(
    all: impl Iterator<Item = (T, Record)>,
    wanted: &Wanted,
    resolved: &Resolved,
) -> Option<(T, Record)> {
    let given = resolved.pin.as_ref().map_or(&[][..], |pin| &pin.trees);
    let scopes = scopes(resolved);
    let is_given = |record: &Record| given.contains(&Trees::name(record));
    let named = all.filter(|(_, record)| record.components.name == wanted.name && record.key != wanted.key);
    named
        .filter(|(_, record)| scopes.contains(&record.scope) || is_given(record))
        .max_by_key(|(_, record)| (is_given(record), record.sealed_at))
}

impl Caches<'_> {
    /// What an entry was made by that is not so now.
    pub(in crate::handoff::caches) fn differences(&self, record: &Record, now: &Components) -> Differences {
        let before = self.trees.pins(record);
        Differences::of((&record.components, before.as_ref()), (now, &pins(self.workspace, &now.inputs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn packages_are_named_where_lockfiles_name_them() {
        let components = |lock: &str, setup: &str| {
            let mut made =
                Components::new("npm", Digest::of(b"i"), "linux/amd64".into()).made("/w", "node_modules", setup);
            for path in ["web/package-lock.json", "web/package.json"] {
                made.inputs.insert(path.into(), Some(Digest::of(lock.as_bytes())));
            }
            made
        };
        let pinned = |version: &str| {
            let mut pins = LockfilePins::default();
            let lock = format!(r#"{{"packages": {{"node_modules/left-pad": {{"version": "{version}"}}}}}}"#);
            pins.read("web/package-lock.json", lock.as_bytes());
            pins
        };
        let (before, now) = (components("1", "npm ci"), components("2", "npm ci"));
        let told = |pins: Option<&LockfilePins>, now: &Components| {
            Differences::of((&before, pins), (now, &pinned("1.3.0"))).in_a_line()
        };
        assert_eq!(
            told(Some(&pinned("1.2.0")), &now),
            "web/package-lock.json: left-pad 1.2.0 → 1.3.0; web/package.json"
        );
        assert_eq!(told(None, &now), "web/package-lock.json, web/package.json");
        assert_eq!(told(Some(&pinned("1.3.0")), &components("1", "npm i")), "setup");
        assert!(Differences::of((&before, None), (&before, &LockfilePins::default())).is_empty());
    }
}
