//! The settings that decide how files are written.

use std::fs;

use crate::support::{Facts, Repo, Trip};

fn with_text() -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    for name in ["a.txt", "b.txt", "d/c.txt"] {
        repo.write(name, "one\ntwo\n");
    }
    repo.write("unix.sh", "one\n");
    repo.write("raw.bin", b"\0\r\n\n");
    repo.commit("texts");
    repo.push();
    (trip, repo)
}

/// Checks files out again, so that settings made since then hold for them.
fn check_out_again(repo: &Repo) {
    repo.git(&["rm", "--quiet", "--cached", "-r", "."]);
    repo.git(&["reset", "--quiet", "--hard"]);
}

#[test]
fn autocrlf_true() {
    let (trip, repo) = with_text();
    repo.git(&["config", "core.autocrlf", "true"]);
    check_out_again(&repo);
    assert_eq!(fs::read_to_string(repo.path.join("a.txt")).unwrap(), "one\r\ntwo\r\n");
    repo.write("a.txt", "one\r\nchanged\r\n");
    repo.write("new.txt", "new\r\n");
    repo.write("b.txt", "staged\r\n");
    repo.git(&["add", "b.txt"]);
    let workspace = trip.round(&repo);
    assert_eq!(fs::read_to_string(workspace.path.join("d/c.txt")).unwrap(), "one\r\ntwo\r\n");
}

#[test]
fn autocrlf_input() {
    let (trip, repo) = with_text();
    repo.git(&["config", "core.autocrlf", "input"]);
    repo.write("a.txt", "one\nchanged\n");
    trip.round(&repo);
}

#[test]
fn eol_by_attributes() {
    let (trip, repo) = with_text();
    repo.write(".gitattributes", "*.txt text eol=crlf\n*.sh text eol=lf\n*.bin -text\n");
    repo.commit("attributes");
    check_out_again(&repo);
    assert_eq!(fs::read_to_string(repo.path.join("a.txt")).unwrap(), "one\r\ntwo\r\n");
    repo.write("d/c.txt", "changed\r\n");
    trip.round(&repo);
}

#[test]
fn core_eol() {
    let (trip, repo) = with_text();
    repo.write(".gitattributes", "* text=auto\n");
    repo.commit("attributes");
    repo.git(&["config", "core.eol", "crlf"]);
    check_out_again(&repo);
    repo.write("a.txt", "changed\r\n");
    trip.round(&repo);
}

/// Line ends in the worktree that git would write otherwise: kept, byte by byte.
#[test]
fn line_ends_that_the_settings_would_not_give() {
    let (trip, repo) = with_text();
    repo.write("a.txt", "one\r\ntwo\r\n");
    repo.write("mixed.txt", "one\r\ntwo\n");
    trip.round(&repo);
}

/// The same where git does not look: staged, committed, and pushed.
#[test]
fn line_ends_that_git_believes_to_know() {
    for settings in [&[("core.autocrlf", "true")] as &[(&str, &str)], &[("core.autocrlf", "input")], &[]] {
        let (trip, repo) = with_text();
        repo.write(".gitattributes", "*.auto text=auto\n*.bat text eol=crlf\n");
        repo.commit("attributes");
        for (key, value) in settings {
            repo.git(&["config", key, value]);
        }
        check_out_again(&repo);
        let names = |end: &str| ["a.txt", "a.auto", "a.bat"].map(|name| format!("{end}/{name}"));
        let ends = [("lf", "one\ntwo\n"), ("crlf", "one\r\ntwo\r\n"), ("mixed", "one\r\ntwo\n"), ("none", "one")];
        for (state, commands) in [
            ("untracked", &[] as &[&[&str]]),
            ("staged", &[&["add", "--all"]]),
            ("committed", &[&["commit", "--quiet", "--message", "x"]]),
            ("pushed", &[&["push", "--quiet", "origin", "HEAD"]]),
        ] {
            for (end, text) in ends.iter().filter(|_| state == "untracked") {
                names(end).iter().for_each(|name| repo.write(name, text));
            }
            commands.iter().for_each(|command| drop(repo.git(command)));
            let workspace = trip.round(&repo);
            for (end, text) in ends {
                for name in names(end) {
                    let arrived = fs::read_to_string(workspace.path.join(&name)).unwrap();
                    assert_eq!(arrived, text, "{name}, {state}, {settings:?}");
                }
            }
        }
        // And back.
        let workspace = trip.round(&repo);
        let args = ["publish", "back", "--store", &trip.lab.store.name(), "--image", &trip.image];
        trip.lab.dev.envctl(args).cwd(&workspace.path).ok();
        Facts::of(&repo).assert_same(&Facts::of(&trip.enter(&trip.lab.store.reference("back"))));
    }
}

/// Attributes that came after the files: git would read them as others now, but
/// believes its index and does not look.
#[test]
fn attributes_that_are_younger_than_the_files() {
    for (autocrlf, text, attributes) in [
        ("true", "one\r\ntwo\r\n", "* -text\n"),
        ("false", "one\r\ntwo\r\n", "* text\n"),
        ("input", "one\r\ntwo\r\n", "* text eol=crlf\n"),
        ("true", "one\r\ntwo\n", "* text\n"),
        ("false", "$Id: old$\r\n", "* text ident\n"),
        ("false", "one\ntwo\n", "* text eol=crlf\n"),
    ] {
        for (committed, lfs) in [(false, false), (true, false), (false, true)] {
            let (trip, mut repo) = with_text();
            if lfs {
                repo = repo.with_lfs();
                repo.write(".gitattributes", "*.bin filter=lfs -text\n");
                // Younger than the index, so that git reads it by these.
                fs::remove_file(repo.path.join("raw.bin")).unwrap();
                repo.write("raw.bin", b"\0\r\n\n");
            }
            repo.write("d/c.txt", text);
            repo.write("d/z.txt", "z\n");
            repo.git(&["config", "core.autocrlf", autocrlf]);
            repo.commit("files");
            check_out_again(&repo);
            repo.push();
            repo.age();
            repo.write("d/.gitattributes", attributes);
            if committed {
                repo.commit("attributes");
            }
            repo.git(&["update-index", "--assume-unchanged", "d/z.txt"]);
            let before = fs::read(repo.path.join("d/c.txt")).unwrap();
            let workspace = trip.round(&repo);
            let arrived = fs::read(workspace.path.join("d/c.txt")).unwrap();
            assert_eq!(fs::read(repo.path.join("d/z.txt")).unwrap(), fs::read(workspace.path.join("d/z.txt")).unwrap());
            let words = format!("{autocrlf} {text:?} {attributes:?} {committed} {lfs}");
            assert_eq!(arrived.escape_ascii().to_string(), before.escape_ascii().to_string(), "{words}");
            assert!(!workspace.git(&["status", "--porcelain"]).contains(".txt"), "{words}");
        }
    }
}

/// As young as the index, git looks into a file again, and by the new attributes.
#[test]
fn attributes_that_are_as_young_as_the_files() {
    let (trip, repo) = with_text();
    repo.write("even.txt", "even\n\n");
    repo.commit("even");
    repo.push();
    let second = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let set = |path: &str, more: u64| {
        let file = fs::File::options().append(true).open(repo.path.join(path)).unwrap();
        file.set_modified(second + std::time::Duration::from_millis(more)).unwrap();
    };
    set("even.txt", 100);
    repo.git(&["update-index", "--refresh"]);
    repo.write(".gitattributes", "even.txt text working-tree-encoding=UTF-16LE\n");
    // Of the same second, and later.
    set(".git/index", 900);
    assert_eq!(repo.git(&["--no-optional-locks", "diff", "--name-only"]), "even.txt", "git looks");
    let workspace = trip.round(&repo);
    assert_eq!(fs::read(workspace.path.join("even.txt")).unwrap(), b"even\n\n");
}

/// Git goes by attributes that it does not track and does not list.
#[test]
fn attributes_that_are_ignored() {
    let (trip, repo) = with_text();
    repo.write(".gitignore", ".gitattributes\n");
    repo.commit("ignore");
    repo.push();
    for folder in ["", "d/"] {
        repo.write(format!("{folder}.gitattributes"), "*.txt text\n");
    }
    repo.write("a.txt", "other\r\n");
    repo.write("d/c.txt", "other\r\n");
    let workspace = trip.round(&repo);
    assert_eq!(fs::read_to_string(workspace.path.join("d/.gitattributes")).unwrap(), "*.txt text\n");
    assert!(!workspace.git(&["diff"]).contains('\r'));
    // What the project leaves out stays out.
    repo.write("envctl.toml", "[snapshot]\nexclude = [\"/d/.gitattributes\"]\n");
    repo.write(".gitignore", "/.gitattributes\n");
    let workspace = trip.enter(&trip.publish(&repo));
    assert!(workspace.path.join(".gitattributes").exists() && !workspace.path.join("d/.gitattributes").exists());
    repo.remove("envctl.toml");
    // A link is none.
    repo.remove(".gitattributes");
    repo.symlink(".gitattributes", "d/.gitattributes");
    repo.write("a.txt", "other\n");
    trip.round(&repo);
}

/// The other way round: attributes that files were written by are gone again.
#[test]
fn attributes_that_are_gone() {
    for (attributes, is_lfs) in [("* text eol=crlf\n", false), ("*.bin filter=lfs -text\n", true)] {
        for (staged, was_there) in [(false, false), (true, is_lfs)] {
            let (trip, mut repo) = with_text();
            if is_lfs {
                repo = repo.with_lfs();
            }
            repo.write("d/new.bin", "not pushed\n");
            if was_there {
                // It stays what it is, and no pointer, until git looks at it again.
                repo.commit("a file");
                repo.age();
            }
            repo.write(".gitattributes", attributes);
            // Whether git looks at what was there before would depend on the clock.
            if was_there {
                repo.git(&["add", ".gitattributes"]);
                repo.git(&["commit", "--quiet", "--message", "attributes"]);
            } else {
                repo.git(&["add", "--renormalize", "."]);
                repo.commit("attributes");
                check_out_again(&repo);
            }
            repo.age();
            repo.remove(".gitattributes");
            if staged {
                repo.git(&["add", ".gitattributes"]);
            }
            let files = ["a.txt", "d/new.bin"].map(|name| fs::read(repo.path.join(name)).unwrap());
            assert_eq!(files[0].contains(&b'\r'), !is_lfs);
            let workspace = trip.round(&repo);
            assert_eq!(files, ["a.txt", "d/new.bin"].map(|name| fs::read(workspace.path.join(name)).unwrap()));
        }
    }
}

#[test]
fn what_conversions_would_not_give_back() {
    let (trip, repo) = with_text();
    repo.write(".gitattributes", "*.id ident\n*.u16 working-tree-encoding=UTF-16\n");
    repo.commit("conversions");
    repo.push();
    repo.write("a.id", "$Id: by hand$\n");
    // Git would write the other order of bytes.
    let utf16: Vec<u8> = "\u{feff}text\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    repo.write("a.u16", &utf16);
    repo.git(&["add", "a.id"]);
    let workspace = trip.round(&repo);
    assert_eq!(fs::read_to_string(workspace.path.join("a.id")).unwrap(), "$Id: by hand$\n");
    assert_eq!(fs::read(workspace.path.join("a.u16")).unwrap(), utf16);
}

#[test]
fn other_conversions() {
    let (trip, repo) = with_text();
    repo.write(".gitattributes", "*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n");
    repo.write("x.id", "$Id$\n");
    let utf16: Vec<u8> = "text\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    repo.write("x.u16", &utf16);
    repo.commit("conversions");
    check_out_again(&repo);
    let workspace = trip.round(&repo);
    assert_eq!(fs::read(workspace.path.join("x.u16")).unwrap(), utf16);
}

#[test]
fn file_mode_off() {
    let (trip, repo) = with_text();
    repo.git(&["config", "core.fileMode", "false"]);
    repo.write("a.txt", "changed\n");
    repo.git(&["update-index", "--chmod=+x", "unix.sh"]);
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(workspace.git(&["status", "--porcelain"]), repo.git(&["status", "--porcelain"]));
}

#[test]
fn a_sparse_checkout_in_cone_mode() {
    let (trip, repo) = with_text();
    repo.write("in/file", "x\n");
    repo.write("in/deep/file", "x\n");
    repo.write("out/file", "x\n");
    repo.commit("folders");
    repo.git(&["sparse-checkout", "set", "in"]);
    assert!(!repo.path.join("out").exists());
    repo.write("in/file", "changed\n");
    repo.write("in/new", "x\n");
    let workspace = trip.round(&repo);
    assert!(!workspace.path.join("out").exists());
    assert_eq!(workspace.git(&["sparse-checkout", "list"]), "in");
    workspace.git(&["sparse-checkout", "disable"]);
    assert_eq!(fs::read_to_string(workspace.path.join("out/file")).unwrap(), "x\n");
}

#[test]
fn a_sparse_checkout_by_patterns() {
    let (trip, repo) = with_text();
    repo.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/d", "!*.sh"]);
    repo.write("d/new.txt", "in a folder that is left out\n");
    repo.write("a.txt", "changed\n");
    trip.round(&repo);
}

#[test]
fn a_sparse_index() {
    let (trip, repo) = with_text();
    for n in 0..5 {
        repo.write(format!("out/{n}/file"), "x\n");
    }
    repo.write("in/file", "x\n");
    repo.commit("folders");
    repo.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    repo.write("in/file", "changed\n");
    repo.git(&["add", "in/file"]);
    trip.round(&repo);
}
