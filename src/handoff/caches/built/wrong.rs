//! What once gave a wrong result, each with its tool: an entry that was made from
//! another state, or on another machine.

use std::fs;
use std::os::unix::fs::symlink;

use super::tests::{Ground, Tool};

const MAIN: (&str, &str) =
    ("src/main.c", "#include <stdio.h>\n#include \"x.h\"\nint main(void) { printf(\"%d\\n\", X); return 0; }\n");
const BUILD: &str = "make --silent";
const PROGRAM: &str = "build/program";
const NOTES_HEADERS: &str = "build/program: build/main.o\n\t$(CC) -o $@ $^\nbuild/main.o: src/main.c\n\t@mkdir -p build\n\
                             \t$(CC) -O0 -MMD -MP -Ifirst -Isecond -I. -c -o $@ $<\n-include build/main.d\n";
const NOTES_NOTHING: &str = "build/program: src/main.c\n\t@mkdir -p build\n\t$(CC) -O0 $(FLAGS) -I. -o $@ $<\n";
const ONE: &str = "#define X 1\n";
const TWO: &str = "#define X 2\n";

const DEPENDENCIES: Tool = Tool {
    name: "make",
    ending: "none",
    files: &[MAIN, ("Makefile", NOTES_HEADERS), ("first/.keep", ""), ("second/x.h", ONE), ("third/x.h", TWO)],
    build: BUILD,
    program: PROGRAM,
};

const NO_DEPENDENCIES: Tool = Tool { files: &[MAIN, ("Makefile", NOTES_NOTHING), ("x.h", ONE)], ..DEPENDENCIES };

/// What comes of a state after a change, on what was built before it.
#[track_caller]
fn after(tool: &'static Tool, before: impl Fn(&Ground), change: impl Fn(&Ground), wanted: &str) {
    let mut ground = Ground::new(tool, 3);
    before(&ground);
    ground.clone_anew();
    let entry = ground.seal(0);
    change(&ground);
    ground.clone_anew();
    assert_eq!(ground.try_on(&entry).as_deref(), Some(wanted), "{}", tool.name);
}

fn write(ground: &Ground, path: &str, text: &str) {
    fs::write(ground.root().join(path), text).unwrap();
}

#[test]
fn a_makefile_that_names_no_headers_sees_them_change() {
    after(&NO_DEPENDENCIES, |_| {}, |ground| write(ground, "x.h", TWO), "2\n");
}

#[test]
fn what_a_makefile_runs_counts_when_it_changes() {
    let other = NOTES_NOTHING.replace("$(FLAGS)", "-DX=2 -Wno-error");
    let main = MAIN.1.replace("#include \"x.h\"\n", "#ifndef X\n#define X 1\n#endif\n");
    after(&NO_DEPENDENCIES, |ground| write(ground, MAIN.0, &main), |ground| write(ground, "Makefile", &other), "2\n");
}

#[test]
fn a_header_that_has_come_is_found_before_another() {
    after(&DEPENDENCIES, |_| {}, |ground| write(ground, "first/x.h", TWO), "2\n");
}

#[test]
fn a_link_that_leads_elsewhere_is_followed() {
    let lead = |ground: &Ground, to: &str| {
        let link = ground.root().join("first/x.h");
        let _ = fs::remove_file(&link);
        symlink(to, link).unwrap();
    };
    after(&DEPENDENCIES, |ground| lead(ground, "../second/x.h"), |ground| lead(ground, "../third/x.h"), "2\n");
}

#[test]
fn a_file_that_git_ignores_counts_where_it_is() {
    let ignore = |ground: &Ground| {
        fs::remove_file(ground.root().join("second/x.h")).unwrap();
        write(ground, ".gitignore", "build\nfirst\n");
        write(ground, "first/x.h", ONE);
    };
    let ground = Ground::new(&DEPENDENCIES, 3);
    ignore(&ground);
    let old = |ground: &Ground| {
        let file = fs::File::options().write(true).open(ground.root().join("first/x.h")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000)).unwrap();
    };
    old(&ground);
    let entry = ground.seal(0);
    assert_eq!(ground.try_on(&entry).as_deref(), Some("1\n"));
    // Somebody else's, or the same folder later: it was there all the time, and is old.
    write(&ground, "first/x.h", TWO);
    old(&ground);
    assert_eq!(ground.try_on(&entry).as_deref(), Some("2\n"));
}

#[test]
fn what_cmake_reads_as_it_configures_counts() {
    const LIST: &str = "cmake_minimum_required(VERSION 3.16)\nproject(p C)\nfile(READ version.txt V)\nstring(STRIP \"${V}\" V)\n\
                        add_executable(program src/main.c)\ntarget_compile_definitions(program PRIVATE X=${V})\n";
    const CONFIGURED: Tool = Tool {
        name: "cmake",
        files: &[("CMakeLists.txt", LIST), ("version.txt", "1\n"), ("x.h", "")],
        build: "test -e build || cmake -G Ninja -B build . >log.build; cmake --build build >>log.build",
        ..DEPENDENCIES
    };
    let main = MAIN.1.replace("#include \"x.h\"\n", "");
    after(&CONFIGURED, |ground| write(ground, MAIN.0, &main), |ground| write(ground, "version.txt", "2\n"), "2\n");
}

#[test]
fn the_commit_that_is_built_into_a_program_is_that_of_the_workspace() {
    const HEAD: &str = "build/program: .git/HEAD\n\t@mkdir -p build\n\t@(echo '#!/bin/sh'; echo echo $$(git rev-parse HEAD)) >$@\n\
                        \t@chmod +x $@\n";
    const VERSION: Tool = Tool { files: &[("Makefile", HEAD)], ..DEPENDENCIES };
    let mut ground = Ground::new(&VERSION, 3);
    let commit = |ground: &Ground| {
        ground
            .run("git -c user.name=a -c user.email=a@b.c commit --quiet --allow-empty --message x; git rev-parse HEAD")
    };
    let first = commit(&ground);
    ground.clone_anew();
    let entry = ground.seal(0);
    assert_eq!(ground.try_on(&entry), Some(first));
    let second = commit(&ground);
    ground.run("touch -d 2001-01-01 .git/HEAD");
    assert_eq!(ground.try_on(&entry), Some(second));
}
