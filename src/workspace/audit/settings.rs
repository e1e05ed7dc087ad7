//! What a git configuration sets, and which of it names no program.
//!
//! Invariants: whatever git would take for a setting is seen here as one. What
//! git reads in another way than it looks (continued lines, odd characters) is
//! not interpreted but refused.

/// Keys that name no program, no place to write to, no other configuration and
/// nobody to ask, each group with the reason. `*` stands for a subsection, or at
/// the end for the rest of the key. A key that is not here is not harmless: one
/// that makes git fetch what is missing (`extensions.partialClone`, `promisor`)
/// lets `git status` connect to whoever is named, one that loosens the checks of
/// names or lets other accounts write (`core.protectHFS`, `core.sharedRepository`)
/// takes a guard away.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        "Said or shown, and no more: words, colours, columns, what a list has and in which order.",
        &[
            "advice.*",
            "branch.*.description",
            "color.advice",
            "color.branch",
            "color.diff",
            "color.grep",
            "color.interactive",
            "color.pager",
            "color.push",
            "color.status",
            "color.ui",
            "column.branch",
            "column.status",
            "column.tag",
            "column.ui",
            "commit.status",
            "commit.verbose",
            "core.abbrev",
            "core.commentchar",
            "core.commentstring",
            "core.quotepath",
            "diff.colormoved",
            "diff.mnemonicprefix",
            "diff.noprefix",
            "fetch.output",
            "fetch.showforcedupdates",
            "log.abbrevcommit",
            "log.decorate",
            "log.follow",
            "log.showroot",
            "merge.stat",
            "stash.showpatch",
            "stash.showstat",
            "status.branch",
            "status.relativepaths",
            "status.short",
            "status.showstash",
            "status.showuntrackedfiles",
            "status.submodulesummary",
        ],
    ),
    (
        "Who a commit is by, and how its message is tidied: nothing else is written by it.",
        &["commit.cleanup", "user.email", "user.name", "user.useconfigonly"],
    ),
    (
        "How two contents are compared or joined, by git itself.",
        &[
            "diff.algorithm",
            "diff.renamelimit",
            "diff.renames",
            "merge.conflictstyle",
            "merge.ff",
            "merge.renamelimit",
            "merge.renames",
            "pull.ff",
            "pull.rebase",
            "rebase.autosquash",
            "rebase.autostash",
            "rebase.updaterefs",
        ],
    ),
    (
        "What files of this repository look like on disk, and when git takes one for unchanged: a wrong value shows a wrong difference.",
        &[
            "core.autocrlf",
            "core.checkstat",
            "core.eol",
            "core.filemode",
            "core.hidedotfiles",
            "core.ignorecase",
            "core.precomposeunicode",
            "core.preloadindex",
            "core.safecrlf",
            "core.sparsecheckout",
            "core.sparsecheckoutcone",
            "core.symlinks",
            "core.trustctime",
            "core.untrackedcache",
            "core.whitespace",
        ],
    ),
    (
        "How this repository's own data lies in its own folder, and how much of it is packed when. No path is named.",
        &[
            "core.bare",
            "core.bigfilethreshold",
            "core.commitgraph",
            "core.compression",
            "core.logallrefupdates",
            "core.loosecompression",
            "core.multipackindex",
            "core.repositoryformatversion",
            "core.splitindex",
            "extensions.noop",
            "extensions.preciousobjects",
            "extensions.relativeworktrees",
            "extensions.worktreeconfig",
            "feature.experimental",
            "feature.manyfiles",
            "fetch.fsckobjects",
            "fetch.unpacklimit",
            "fetch.writecommitgraph",
            "gc.aggressivedepth",
            "gc.aggressivewindow",
            "gc.auto",
            "gc.autodetach",
            "gc.autopacklimit",
            "gc.bigpackthreshold",
            "gc.cruftpacks",
            "gc.packrefs",
            "gc.rerereresolved",
            "gc.rerereunresolved",
            "gc.writecommitgraph",
            "index.recordendofindexentries",
            "index.recordoffsettable",
            "index.skiphash",
            "index.sparse",
            "index.threads",
            "index.version",
            "init.defaultbranch",
            "init.defaultobjectformat",
            "init.defaultrefformat",
            "lfs.repositoryformatversion",
            "maintenance.auto",
            "pack.allowpackreuse",
            "pack.compression",
            "pack.deltacachelimit",
            "pack.deltacachesize",
            "pack.depth",
            "pack.indexversion",
            "pack.packsizelimit",
            "pack.threads",
            "pack.usebitmaps",
            "pack.usesparse",
            "pack.window",
            "pack.windowmemory",
            "pack.writebitmaphashcache",
            "pack.writereverseindex",
            "receive.deny*",
            "transfer.fsckobjects",
            "transfer.hiderefs",
            "transfer.unpacklimit",
        ],
    ),
    (
        "Used when you fetch or push here by hand, and by nothing before. Addresses that run a program are refused by git (`protocol.ext.allow`).",
        &[
            "branch.*.merge",
            "branch.*.pushremote",
            "branch.*.rebase",
            "branch.*.remote",
            "branch.autosetupmerge",
            "branch.autosetuprebase",
            "fetch.parallel",
            "fetch.prune",
            "fetch.prunetags",
            "fetch.recursesubmodules",
            "lfs.*.access",
            "lfs.*.locksverify",
            "push.autosetupremote",
            "push.default",
            "push.followtags",
            "push.recursesubmodules",
            "push.useforceifincludes",
            "remote.*.fetch",
            "remote.*.mirror",
            "remote.*.prune",
            "remote.*.prunetags",
            "remote.*.push",
            "remote.*.pushurl",
            "remote.*.skipdefaultupdate",
            "remote.*.skipfetchall",
            "remote.*.tagopt",
            "remote.*.url",
            "remote.pushdefault",
        ],
    ),
    (
        "Which submodules are dealt with: their git folders are looked at like this one.",
        &["submodule.*.active", "submodule.*.branch", "submodule.*.url", "submodule.active", "submodule.recurse"],
    ),
];

/// Keys by which git does something that it would not do of itself: without it nothing
/// is run.
const OFF: [&str; 4] = ["commit.gpgsign", "core.fsmonitor", "rerere.enabled", "tag.gpgsign"];

/// What a configuration sets.
struct Setting<'a> {
    /// The key as it is told.
    key: String,
    /// The same with `*` for its subsection.
    plain: String,
    value: &'a [u8],
}

impl Setting<'_> {
    /// Where the files of the repository are: every submodule has one.
    fn is_worktree(&self) -> bool {
        self.plain == "core.worktree"
    }

    /// Where the refs are: as ever. Other values name a place, or have lists of files
    /// that nobody judges.
    fn has_plain_refs(&self) -> bool {
        self.plain == "extensions.refstorage" && self.value == b"files"
    }

    /// How objects are named, in plain words: by that their index is read.
    fn has_plain_objects(&self) -> bool {
        self.plain == "extensions.objectformat" && matches!(self.value, b"sha1" | b"sha256")
    }

    /// Something is switched off, in the plain word.
    fn is_off(&self) -> bool {
        OFF.contains(&&*self.plain) && self.value == b"false"
    }

    fn may_be(&self, is_work: &impl Fn(&str) -> bool) -> bool {
        std::str::from_utf8(self.value).is_ok_and(is_work)
    }
}

/// Whether objects are named by SHA-256.
pub(super) fn has_sha256(text: &[u8]) -> bool {
    let all = all(text).unwrap_or_default();
    all.iter().rev().find(|setting| setting.has_plain_objects()).is_some_and(|setting| setting.value == b"sha256")
}

/// Why the files of this repository are not to be where its configuration says;
/// `None` where they may be. That is judged however old the configuration is:
/// where a path leads changes without it.
pub(super) fn why_not_work(text: &[u8], is_work: impl Fn(&str) -> bool) -> Option<String> {
    let all = all(text).unwrap_or_default();
    let bad = all.iter().find(|setting| setting.is_worktree() && !setting.may_be(&is_work));
    bad.map(|setting| format!("it sets {}", setting.key))
}

/// Why git should not read this configuration; `None` where it may. `is_work`
/// says whether a path may be where the files of this repository are.
pub(super) fn why_not(text: &[u8], is_work: impl Fn(&str) -> bool) -> Option<String> {
    let all = match all(text) {
        Ok(all) => all,
        Err(why) => return Some(why.into()),
    };
    let is_fine = |setting: &&Setting<'_>| {
        is_harmless(&setting.plain)
            || setting.is_off()
            || setting.has_plain_refs()
            || setting.has_plain_objects()
            || setting.is_worktree() && setting.may_be(&is_work)
    };
    all.iter().find(|setting| !is_fine(setting)).map(|setting| format!("it sets {}", setting.key))
}

/// All that git would take for a setting; otherwise why it cannot be told.
fn all(text: &[u8]) -> Result<Vec<Setting<'_>>, &'static str> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut section = None;
    let mut found = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_odd = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        if line.ends_with(b"\\") || line.iter().any(is_odd) {
            return Err("it has a line that does not end where it seems to");
        }
        let mut rest = line.trim_ascii_start();
        while let Some(header) = rest.strip_prefix(b"[") {
            let (named, after) = header_of(header).ok_or("git cannot read it")?;
            section = Some(named);
            rest = after.trim_ascii_start();
        }
        if rest.is_empty() || matches!(rest.first(), Some(b'#' | b';')) {
            continue;
        }
        let (section, (name, value)) = section.as_ref().zip(variable_of(rest)).ok_or("git cannot read it")?;
        let (key, plain) = match section {
            (section, Some(sub)) => (format!("{section}.{sub}.{name}"), format!("{section}.*.{name}")),
            (section, None) => (format!("{section}.{name}"), format!("{section}.{name}")),
        };
        found.push(Setting { key, plain, value });
    }
    Ok(found)
}

type Section = (String, Option<String>);

/// The rest of `[section "sub"]` after its first bracket, and what follows.
fn header_of(text: &[u8]) -> Option<(Section, &[u8])> {
    let end = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')))?;
    let (name, rest) = text.split_at_checked(end)?;
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if let Some(after) = rest.strip_prefix(b"]") {
        // The old way to write a subsection.
        return Some(match name.split_once('.') {
            Some((section, sub)) => ((section.to_owned(), Some(sub.to_owned())), after),
            None => ((name, None), after),
        });
    }
    let mut rest = rest.trim_ascii_start().strip_prefix(b"\"")?.iter().enumerate();
    let quoted = text.get(end..)?.trim_ascii_start().get(1..)?;
    let mut sub = Vec::new();
    loop {
        match rest.next()? {
            (at, b'"') => {
                let after = quoted.get(at + 1..)?.strip_prefix(b"]")?;
                let sub = String::from_utf8_lossy(&sub).into_owned();
                // A dot in the name of the section is a subsection, too.
                return (!name.contains('.')).then_some(((name, Some(sub)), after));
            }
            (_, b'\\') => sub.push(*rest.next()?.1),
            (_, byte) => sub.push(*byte),
        }
    }
}

/// The name of a variable, and its value as it is written.
fn variable_of(line: &[u8]) -> Option<(String, &[u8])> {
    let end = line.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-')).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end)?;
    let rest = rest.trim_ascii();
    let value = if rest.is_empty() { rest } else { rest.strip_prefix(b"=")?.trim_ascii() };
    let name =
        std::str::from_utf8(name).ok().filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()));
    Some((name?.to_ascii_lowercase(), value))
}

/// `key` with small letters, and `*` for its subsection.
fn is_harmless(key: &str) -> bool {
    HARMLESS.iter().flat_map(|(_, keys)| *keys).any(|known| match known.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => *known == key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> Option<String> {
        why_not(text.as_bytes(), |_| false)
    }

    #[test]
    fn what_git_writes_itself_is_harmless() {
        let text = "\u{feff}# x\n[core]\n\trepositoryformatversion = 0\r\n\tbare = false ; y\n[remote \"o\\\\r\\\"igin\"]\n\
                    url = https://x/\\\"y\\\"#z\n[branch \"main\"] remote = origin\n[user]name=a\n[core] [index]\nsparse\n\
                    [submodule \"a.b\"] active\n[branch.old] merge = x\n[advice]\n\tdetachedHead = false\n";
        assert_eq!(why(text), None);
    }

    #[test]
    fn case_40_what_names_a_program_is_seen_however_it_is_written() {
        for (text, says) in [
            ("[core]\nfsmonitor = x", "core.fsmonitor"),
            ("[CORE]fsMonitor=x", "core.fsmonitor"),
            ("[user] [core] fsmonitor", "core.fsmonitor"),
            ("[a \"]\"]\n[filter \"x\"] clean = y", "filter.x.clean"),
            ("[filter.x]\nclean = y", "filter.x.clean"),
            ("[gc]\nrecentObjectsHook = x", "gc.recentobjectshook"),
            ("[init]\ntemplateDir = x", "init.templatedir"),
            ("[branch \"x\"]\nmergeOptions = -s evil", "branch.x.mergeoptions"),
            ("[include]\npath = x", "include.path"),
            ("[includeIf \"onbranch:x\"]\npath = x", "includeif.onbranch:x.path"),
            ("[url \"ext::x\"]\ninsteadOf = y", "url.ext::x.insteadof"),
            ("[remote \"x\"]\nvcs = y", "remote.x.vcs"),
            ("[remote \"x\"]\nproxy = y", "remote.x.proxy"),
            ("[submodule \"x\"]\nupdate = !y", "submodule.x.update"),
            ("[core]\nworktree = /", "core.worktree"),
            ("[extensions]\nrefStorage = files:///home/dev", "extensions.refstorage"),
            ("[rerere]\nenabled = true", "rerere.enabled"),
            ("[extensions]\npartialClone = o", "extensions.partialclone"),
            ("[remote \"o\"]\npromisor = true", "remote.o.promisor"),
            ("[core]\nsharedRepository = 0666", "core.sharedrepository"),
            ("[user]\n\tname = \"\\\\\" ; \\\n[core] ; \\\n\tfsmonitor = x ; \\\n# \"", "does not end"),
            ("[user]\n\tname = \"\\\r\n[core]\nfsmonitor=x\"", "does not end"),
            ("[user]\rname = x", "does not end"),
            ("[user]\nname = x\u{b}y", "does not end"),
            ("[user]\nname = x\0", "does not end"),
            ("name = x", "cannot read"),
            ("[user\nname = x", "cannot read"),
            ("[user]\nna_me = x", "cannot read"),
            ("[user]\n1 = x", "cannot read"),
            ("[user]\nname x", "cannot read"),
            ("[a.b \"c\"]\nname", "cannot read"),
            ("[a \"c\" ]\nname", "cannot read"),
            ("[a \"c]\nname", "cannot read"),
        ] {
            assert!(why(text).is_some_and(|why| why.contains(says)), "{text:?}: {:?}", why(text));
        }
    }
}
