//! Real tools on random histories: what they build on a folder that was sealed
//! from another state is what they build from nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::cache::{EntryOrigin, Habits, Scope, Trees};
use crate::workspace::of_tree;

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// A way to build a program from `src/*`, and to run it.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// Of the sources that come and go; `none` where a tool has its own.
    pub(super) ending: &'static str,
    pub(super) files: &'static [(&'static str, &'static str)],
    /// In the workspace: builds into `build`.
    pub(super) build: &'static str,
    pub(super) program: &'static str,
}

const MAKE: Tool = Tool {
    name: "make",
    ending: "c",
    files: &[(
        "Makefile",
        "OBJECTS = $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))\n\
         build/program: $(OBJECTS)\n\t$(CC) -o $@ $^\n\
         build/%.o: src/%.c src/all.h\n\t@mkdir -p build\n\t$(CC) -O0 -c -o $@ $<\n",
    )],
    build: "make --silent",
    program: "build/program",
};

const CMAKE: &str = "cmake_minimum_required(VERSION 3.16)\nproject(p C)\nfile(GLOB SOURCES src/*.c)\n\
                     add_executable(program ${SOURCES})\n";

const NINJA: Tool = Tool {
    name: "ninja",
    ending: "c",
    files: &[("CMakeLists.txt", CMAKE)],
    build: "test -e build || cmake -G Ninja -B build . >log.build; cmake --build build >>log.build",
    program: "build/program",
};

const CMAKE_MAKE: Tool = Tool {
    name: "cmake",
    ending: "c",
    files: &[("CMakeLists.txt", CMAKE)],
    build: "test -e build || cmake -B build . >log.build; cmake --build build >>log.build",
    program: "build/program",
};

const CARGO: Tool = Tool {
    name: "cargo",
    ending: "rs",
    files: &[
        ("Cargo.toml", "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n"),
        ("Cargo.lock", "version = 3\n[[package]]\nname = \"program\"\nversion = \"0.1.0\"\n"),
    ],
    build: "env -u RUSTFLAGS CARGO_TARGET_DIR=build CARGO_INCREMENTAL=0 cargo build --quiet --offline --locked",
    program: "build/debug/program",
};

/// A workspace, and what is known of its history.
pub(super) struct Ground {
    dir: tempfile::TempDir,
    tool: &'static Tool,
    chance: Chance,
    /// Of each part what it says; `None` where it is gone.
    parts: Vec<Option<u32>>,
    header: u32,
}

/// A folder that was built, and what it was built from.
pub(super) struct BuiltEntry {
    folder: PathBuf,
    record: Record,
    made: Origins,
}

impl Ground {
    pub(super) fn new(tool: &'static Tool, seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("workspace");
        fs::create_dir_all(root.join("src")).unwrap();
        git2::Repository::init(&root).unwrap();
        fs::write(root.join(".gitignore"), "build\nlog.*\n").unwrap();
        for (name, text) in tool.files {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let ground = Ground { dir, tool, chance: Chance(seed), parts: vec![Some(0); 4], header: 0 };
        if tool.ending != "none" {
            (0..4).for_each(|part| ground.write(part));
            ground.write_main();
        }
        ground.commit();
        ground
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    fn part(&self, part: usize) -> PathBuf {
        self.root().join(format!("src/part{part}.{}", self.tool.ending))
    }

    /// All texts of a part have one length.
    fn write(&self, part: usize) {
        let value = self.parts[part].unwrap_or_default();
        let text = match self.tool.ending {
            "c" => format!("#include \"all.h\"\nint part{part}(void) {{ return {value:04} + HEAD; }}\n"),
            _ => format!("pub fn part() -> u32 {{ {value:04} + super::all::HEAD }}\n"),
        };
        fs::write(self.part(part), text.replace("return 0", "return 1").replace("{ 0", "{ 1")).unwrap();
    }

    /// The main program, and what all parts include.
    fn write_main(&self) {
        let here = || self.parts.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(part, _)| part);
        let each = |line: &dyn Fn(usize) -> String| here().map(line).collect::<String>();
        if self.tool.ending == "c" {
            let (declared, called) =
                (each(&|n| format!("int part{n}(void);\n")), each(&|n| format!("printf(\"%d\\n\", part{n}());\n")));
            let main = format!("#include <stdio.h>\n{declared}int main(void) {{\n{called}return 0;\n}}\n");
            fs::write(self.root().join("src/main.c"), main).unwrap();
            fs::write(self.root().join("src/all.h"), format!("#define HEAD {}\n", self.header)).unwrap();
        } else {
            let (declared, called) =
                (each(&|n| format!("mod part{n};\n")), each(&|n| format!("println!(\"{{}}\", part{n}::part());\n")));
            fs::write(self.root().join("src/main.rs"), format!("mod all;\n{declared}fn main() {{\n{called}}}\n"))
                .unwrap();
            let all = format!("pub const HEAD: u32 = {};\n", self.header);
            fs::write(self.root().join("src/all.rs"), all).unwrap();
        }
    }

    /// What the program has to print.
    fn expected(&self) -> String {
        let one = |value: u32| format!("{}\n", 1000 + value + self.header);
        self.parts.iter().flatten().map(|value| one(*value)).collect()
    }

    fn commit(&self) {
        let repo = git2::Repository::open(self.root()).unwrap();
        let mut index = repo.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.update_all(["*"], None).unwrap();
        index.write().unwrap();
    }

    /// As a fresh clone has them.
    pub(super) fn clone_anew(&mut self) {
        let tree = self.chance.below(1000).to_string();
        let mut files = Files::of_draft(&self.root()).unwrap();
        let times: Vec<_> = (0..files.iter().count()).map(|at| (at, of_tree(&tree))).collect();
        files.set_times(&times).unwrap();
    }

    /// Something happens in the workspace, at some time that a clock may show.
    fn change(&mut self) {
        let part = self.chance.below(self.parts.len());
        match self.chance.below(10) {
            0..4 => {
                let value = self.chance.below(9) as u32;
                if self.parts[part].is_some() {
                    self.parts[part] = Some(value);
                    self.write(part);
                    self.move_clock(part);
                }
            }
            4 => self.clone_anew(),
            5 => self.commit(),
            6 => {
                self.header = self.chance.below(9) as u32;
                self.write_main();
            }
            7 => {
                self.parts.push(Some(self.chance.below(9) as u32));
                self.write(self.parts.len() - 1);
                self.write_main();
                self.move_clock(self.parts.len() - 1);
            }
            8 if self.parts.iter().flatten().count() > 1 && self.parts[part].take().is_some() => {
                fs::remove_file(self.part(part)).unwrap();
                self.write_main();
            }
            _ => self.move_clock(part),
        }
    }

    fn move_clock(&mut self, part: usize) {
        let (seconds, nanoseconds) = now();
        let time = match self.chance.below(4) {
            0 => (seconds - 86_400, nanoseconds),
            1 => (seconds - self.chance.below(5) as i64, 0),
            2 => (self.chance.below(1_500_000_000) as i64, 7),
            _ => return,
        };
        if self.parts[part].is_some() {
            let root = Files::look(&self.root(), &[]).unwrap();
            let at = root
                .iter()
                .position(|file| self.part(part).ends_with(Path::new(std::str::from_utf8(file.path).unwrap())));
            let mut files = root;
            files.set_times(&[(at.unwrap(), time)]).unwrap();
        }
    }

    pub(super) fn run(&self, words: &str) -> String {
        let output = Command::new("sh").args(["-ec", words]).current_dir(self.root()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {words}: {said}", self.tool.name);
        String::from_utf8(output.stdout).unwrap()
    }

    fn files(&self) -> Files {
        Files::look(&self.root(), &["build".to_owned()]).unwrap()
    }

    /// Builds from nothing, and keeps what came of it.
    pub(super) fn seal(&self, number: usize) -> BuiltEntry {
        let (sources, beside) = origins_of(&self.files()).unwrap();
        self.run(self.tool.build);
        let folder = self.dir.path().join(format!("entry-{number}"));
        fs::rename(self.root().join("build"), &folder).unwrap();
        let (newest, habits) = crate::archive::newest_inside(&|work| work(), &folder, None, &Habits::note).unwrap();
        let components = Components::new("a", Digest::of(b"i"), "linux/amd64".into()).made("/w", "build", "make");
        let at = "2026-01-15T10:30:00Z".parse().unwrap();
        let record = Trees::record(components, Scope::Task("s:t".into()), at, EntryOrigin::Sealed);
        let record = Record { newest: Some(newest), habits, ..record };
        BuiltEntry { folder, record, made: Origins { sources, beside, habits } }
    }

    /// What the program says that is built on an entry; `None` where it does not fit.
    pub(super) fn try_on(&self, entry: &BuiltEntry) -> Option<String> {
        let mut files = self.files();
        if !matches!(fit(&entry.made.sources, &entry.record, &names(&files), now()), Fit::Fits) {
            return None;
        }
        let newest = entry.record.newest.unwrap();
        let times = raised(&files, std::slice::from_ref(&entry.made), newest).unwrap();
        files.set_times(&times).unwrap();
        if entry.made.sources.get(HEAD).copied() != head(&files) {
            files.raise_head(end_of(newest)).unwrap();
        }
        self.run(&format!("cp -a {} build", entry.folder.display()));
        self.run(self.tool.build);
        let said = self.run(self.tool.program);
        crate::disk::remove::tree(&self.root().join("build")).unwrap();
        Some(said)
    }
}

fn nothing_wrong_is_built(tool: &'static Tool, rounds: usize, seed: u64) {
    let mut ground = Ground::new(tool, seed);
    ground.clone_anew();
    let mut entries = vec![ground.seal(0)];
    let (mut used, mut refused) = (0, 0);
    for round in 1..rounds {
        for _ in 0..=ground.chance.below(3) {
            ground.change();
        }
        let entry = &entries[entries.len() - 1 - round % entries.len().min(2)];
        match ground.try_on(entry) {
            Some(said) => {
                assert_eq!(said, ground.expected(), "{} with seed {seed}, round {round}", tool.name);
                used += 1;
            }
            None => refused += 1,
        }
        if refused > 0 || round % 5 == 0 {
            entries.push(ground.seal(round));
            refused = 0;
        }
    }
    assert!(used * 3 > rounds, "{}: only {used} of {rounds} rounds had a folder that fits", tool.name);
}

#[test]
fn make_builds_on_a_sealed_folder_what_it_builds_from_nothing() {
    (0..2).for_each(|seed| nothing_wrong_is_built(&MAKE, 12, seed));
}

#[test]
fn ninja_builds_on_a_sealed_folder_what_it_builds_from_nothing() {
    nothing_wrong_is_built(&NINJA, 12, 7);
}

#[test]
fn cmake_with_make_builds_on_a_sealed_folder_what_it_builds_from_nothing() {
    nothing_wrong_is_built(&CMAKE_MAKE, 8, 1);
}

#[test]
fn cargo_builds_on_a_sealed_folder_what_it_builds_from_nothing() {
    nothing_wrong_is_built(&CARGO, 12, 0);
}

/// The names and times of all files.
fn times(files: &Files) -> Vec<(Vec<u8>, Time)> {
    files.iter().map(|file| (file.path.to_vec(), file.time)).collect()
}

#[test]
fn no_file_becomes_older_and_what_was_written_keeps_its_order() {
    for seed in 0..40 {
        let mut ground = Ground::new(&MAKE, seed);
        // Something that a tool of the host has made, among the files.
        for (n, name) in ["a.o", "log.a", "log.b"].iter().enumerate() {
            fs::write(ground.root().join(name), n.to_string()).unwrap();
        }
        ground.clone_anew();
        let (sources, _) = origins_of(&ground.files()).unwrap();
        let made = Origins { sources, ..Origins::default() };
        for _ in 0..6 {
            ground.change();
        }
        let mut files = ground.files();
        let newest = now();
        let shuffled: Vec<_> = (0..files.iter().count())
            .filter(|at| at % 3 == 0)
            .map(|at| (at, (newest.0 - 1 - ground.chance.below(100) as i64, 5)))
            .collect();
        files.set_times(&shuffled).unwrap();
        let mut files = ground.files();
        let before = times(&files);
        let pristine: Vec<bool> = files.iter().map(|file| file.pristine).collect();
        let new = raised(&files, std::slice::from_ref(&made), newest).unwrap();
        files.set_times(&new).unwrap();
        let after = times(&files);
        assert!(new.iter().all(|(_, time)| *time >= end_of(newest)));
        for (at, (path, time)) in after.iter().enumerate() {
            let path = String::from_utf8_lossy(path);
            assert!(*time >= before[at].1, "{path} is older");
            let mark = files.content(at).unwrap().map(|(kind, size, id)| Sources::mark(kind, size, id.as_bytes()));
            let source = files.iter().nth(at).unwrap().source;
            if source && made.sources.get(path.as_bytes()) != mark.as_ref() {
                assert!(*time > newest, "{path} differs and is not newer");
            }
            for (other, (_, other_time)) in after.iter().enumerate() {
                if !pristine[at] && !pristine[other] && before[at].1 > before[other].1 {
                    assert!(time > other_time, "{path} changed places");
                }
            }
        }
        // And it is settled: nothing is touched once more.
        assert_eq!(raised(&ground.files(), std::slice::from_ref(&made), newest).unwrap(), []);
    }
}

#[test]
fn git_need_not_read_files_again_for_their_new_times() {
    let mut ground = Ground::new(&MAKE, 1);
    ground.clone_anew();
    let root = ground.root();
    let index = git2::Repository::open(&root).unwrap().index().unwrap();
    for entry in index.iter() {
        let meta = fs::symlink_metadata(root.join(std::str::from_utf8(&entry.path).unwrap())).unwrap();
        assert_eq!(i64::from(entry.mtime.seconds()), meta.mtime(), "{entry:?}");
        assert_eq!(i64::from(entry.mtime.nanoseconds()), meta.mtime_nsec(), "{entry:?}");
        assert_eq!(i64::from(entry.ctime.nanoseconds()), meta.ctime_nsec(), "{entry:?}");
    }
    let said = ground.run("git status --porcelain; git diff-files --name-only");
    assert_eq!(said.lines().filter(|line| !line.starts_with('A')).count(), 0, "{said}");
}

#[test]
fn an_entry_that_is_newer_than_the_clock_or_lacks_a_file_does_not_fit() {
    let ground = Ground::new(&MAKE, 1);
    let mut entry = ground.seal(0);
    let names = names(&ground.files());
    let fits = |entry: &BuiltEntry, now| matches!(fit(&entry.made.sources, &entry.record, &names, now), Fit::Fits);
    let (seconds, nanoseconds) = now();
    assert!(fits(&entry, (seconds + 2, nanoseconds)));
    assert!(!fits(&entry, (seconds - 100, nanoseconds)));
    entry.made.sources.insert(b"src/gone.c".to_vec(), [0; 16]);
    assert!(!fits(&entry, (seconds + 2, nanoseconds)));
}
