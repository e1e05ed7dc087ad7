//! What a git configuration sets, and which of it names no program.
//!
//! Invariants: whatever git would take for a setting is seen here as one. What
//! git reads in another way than it looks (continued lines, odd characters) is
//! not interpreted but refused.

/// Keys that name no program, no place to write to and no other configuration.
/// `*` stands for a subsection, or at the end for the rest of the key.
const HARMLESS: &[&str] = &[
    // Read by nothing but a table of switches.
    "advice.*",
    "branch.*.description",
    "branch.*.merge",
    "branch.*.pushremote",
    "branch.*.rebase",
    "branch.*.remote",
    "branch.autosetupmerge",
    "branch.autosetuprebase",
    "branch.sort",
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
    "commit.cleanup",
    "commit.status",
    "commit.verbose",
    "core.abbrev",
    "core.autocrlf",
    "core.bare",
    "core.bigfilethreshold",
    "core.checkstat",
    "core.commentchar",
    "core.commentstring",
    "core.commitgraph",
    "core.compression",
    "core.eol",
    "core.filemode",
    "core.hidedotfiles",
    "core.ignorecase",
    "core.logallrefupdates",
    "core.loosecompression",
    "core.multipackindex",
    "core.precomposeunicode",
    "core.preloadindex",
    "core.protecthfs",
    "core.protectntfs",
    "core.quotepath",
    "core.repositoryformatversion",
    "core.safecrlf",
    "core.sharedrepository",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.splitindex",
    "core.symlinks",
    "core.trustctime",
    "core.untrackedcache",
    "core.whitespace",
    "diff.algorithm",
    "diff.colormoved",
    "diff.mnemonicprefix",
    "diff.noprefix",
    "diff.renamelimit",
    "diff.renames",
    "extensions.noop",
    "extensions.objectformat",
    "extensions.partialclone",
    "extensions.preciousobjects",
    "extensions.refstorage",
    "extensions.relativeworktrees",
    // What it turns on is looked at as well.
    "extensions.worktreeconfig",
    "feature.experimental",
    "feature.manyfiles",
    "fetch.fsckobjects",
    "fetch.output",
    "fetch.parallel",
    "fetch.prune",
    "fetch.prunetags",
    "fetch.recursesubmodules",
    "fetch.showforcedupdates",
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
    "gc.pruneexpire",
    "gc.reflogexpire",
    "gc.reflogexpireunreachable",
    "gc.rerereresolved",
    "gc.rerereunresolved",
    "gc.worktreepruneexpire",
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
    "lfs.*.access",
    "lfs.*.locksverify",
    "lfs.repositoryformatversion",
    "log.abbrevcommit",
    "log.date",
    "log.decorate",
    "log.follow",
    "log.showroot",
    "maintenance.auto",
    "maintenance.strategy",
    "merge.conflictstyle",
    "merge.ff",
    "merge.renamelimit",
    "merge.renames",
    "merge.stat",
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
    "pull.ff",
    "pull.rebase",
    "push.autosetupremote",
    "push.default",
    "push.followtags",
    "push.recursesubmodules",
    "push.useforceifincludes",
    "rebase.autosquash",
    "rebase.autostash",
    "rebase.updaterefs",
    "receive.deny*",
    "remote.*.fetch",
    "remote.*.mirror",
    "remote.*.partialclonefilter",
    "remote.*.promisor",
    "remote.*.prune",
    "remote.*.prunetags",
    "remote.*.push",
    "remote.*.pushurl",
    "remote.*.skipdefaultupdate",
    "remote.*.skipfetchall",
    "remote.*.tagopt",
    "remote.*.url",
    "remote.pushdefault",
    "rerere.autoupdate",
    "rerere.enabled",
    "stash.showpatch",
    "stash.showstat",
    "status.branch",
    "status.relativepaths",
    "status.short",
    "status.showstash",
    "status.showuntrackedfiles",
    "status.submodulesummary",
    "submodule.*.active",
    "submodule.*.branch",
    "submodule.*.url",
    "submodule.active",
    "submodule.recurse",
    "tag.sort",
    "transfer.fsckobjects",
    "transfer.hiderefs",
    "transfer.unpacklimit",
    "user.email",
    "user.name",
    "user.useconfigonly",
];

/// Why git should not read this configuration; `None` where it may. `is_work`
/// says whether a path may be where the files of this repository are.
pub(super) fn why_not(text: &[u8], is_work: impl Fn(&str) -> bool) -> Option<String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut section = None;
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_odd = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        if line.ends_with(b"\\") || line.iter().any(is_odd) {
            return Some("it has a line that does not end where it seems to".into());
        }
        let mut rest = line.trim_ascii_start();
        while let Some(header) = rest.strip_prefix(b"[") {
            let Some((named, after)) = header_of(header) else { return Some("git cannot read it".into()) };
            section = Some(named);
            rest = after.trim_ascii_start();
        }
        if rest.is_empty() || matches!(rest.first(), Some(b'#' | b';')) {
            continue;
        }
        let Some((section, (name, value))) = section.as_ref().zip(variable_of(rest)) else {
            return Some("git cannot read it".into());
        };
        let (shown, plain) = match section {
            (section, Some(sub)) => (format!("{section}.{sub}.{name}"), format!("{section}.*.{name}")),
            (section, None) => (format!("{section}.{name}"), format!("{section}.{name}")),
        };
        // Every submodule has one.
        let is_own_work = plain == "core.worktree" && std::str::from_utf8(value).is_ok_and(&is_work);
        if !is_own_work && !is_harmless(&plain) {
            return Some(format!("it sets {shown}"));
        }
    }
    None
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
    HARMLESS.iter().any(|known| match known.strip_suffix('*') {
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
