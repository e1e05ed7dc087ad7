//! The drawing in `docs/architecture.md` is what the code is: who uses whom, in
//! which order, and that nothing goes round in a circle.

mod graph;
mod ignored;
mod packages;
mod sizes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use self::graph::{Arrows, Module};

/// The layers know nothing of each other.
const LAYERS: [&str; 6] = ["store", "image", "cache", "workspace", "snapshot", "runtime"];

/// A room with more files than this hides what is in it.
const MOST_FILES: usize = 14;

/// A longer function has steps that want names, in lines.
const MOST_LINES: usize = 60;

/// More parameters are one value, or two functions. `self` is none.
const MOST_PARAMETERS: usize = 5;

/// A longer file has two subjects, in lines.
const MOST_FILE_LINES: usize = 600;

/// A file that is longer has a reason, in lines.
const LONG_FILE: usize = 500;

/// Files that are longer than [`LONG_FILE`], and why each stays one.
const LONG_FILES: [(&str, &str); 3] = [
    ("src/archive/extract.rs", "all that a layer can do to a tree, on one descriptor"),
    ("src/runtime/guest/serve.rs", "the loop of pid 1, and what each of its turns may do"),
    ("src/runtime/namespaces/sandbox.rs", "both sides of one birth, and the owner of what is born"),
];

/// A row of one of the page's tables: a name, and the names that it uses.
type Row = (String, BTreeSet<String>);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Read once: it takes seconds.
static ARROWS: LazyLock<Arrows> = LazyLock::new(|| graph::arrows(&root().join("src")));

/// The rows of the table whose first cell has this heading.
fn table(heading: &str) -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |"))).skip(2);
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').collect();
        (names(cells[1]).remove(0), names(cells[cells.len() - 2]).into_iter().collect())
    };
    rows.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// What lies in a folder of `src`, and what of it each part uses.
fn parts(folder: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let folder: Module = folder.iter().map(|name| (*name).to_owned()).collect();
    let name = |part: &Module| part.get(folder.len()).cloned();
    let uses = |targets: &BTreeMap<Module, String>| targets.keys().filter_map(name).collect();
    let parts = graph::within(&ARROWS, &folder);
    parts.iter().filter_map(|(part, targets)| Some((name(part)?, uses(targets)))).collect()
}

/// Says what differs, one arrow a line.
fn assert_drawn(heading: &str, folder: &[&str]) {
    let rows = table(heading);
    let code = parts(folder);
    let drawn: BTreeMap<String, BTreeSet<String>> = rows.iter().cloned().collect();
    assert_eq!(drawn.keys().collect::<Vec<_>>(), code.keys().collect::<Vec<_>>(), "the rows under {heading:?}");
    for (name, uses) in &code {
        let more: Vec<_> = uses.difference(&drawn[name]).collect();
        let less: Vec<_> = drawn[name].difference(uses).collect();
        assert!(more.is_empty() && less.is_empty(), "{name}: the code also uses {more:?}, and does not use {less:?}");
    }
    let order: Vec<&String> = rows.iter().map(|(name, _)| name).collect();
    for (at, (name, uses)) in rows.iter().enumerate() {
        let up: Vec<_> = uses.iter().filter(|used| !order[at + 1..].contains(used)).collect();
        assert!(up.is_empty(), "{name} stands below {up:?}, which it uses");
    }
}

#[test]
fn modules_use_what_the_drawing_says() {
    assert_drawn("module", &[]);
}

#[test]
fn rooms_use_what_the_drawing_says() {
    assert_drawn("room", &["handoff"]);
}

#[test]
fn no_layer_knows_another_or_whoever_stands_above() {
    let code = parts(&[]);
    for layer in LAYERS {
        let above = LAYERS.iter().chain(&["cli", "handoff"]).filter(|other| code[layer].contains(**other));
        assert_eq!(above.count(), 0, "{layer} uses {:?}", code[layer]);
    }
}

#[test]
fn nothing_goes_round_in_a_circle() {
    let all = &*ARROWS;
    let mut said = Vec::new();
    let folders: BTreeSet<&[String]> =
        all.keys().flat_map(|module| (0..module.len()).map(|end| &module[..end])).collect();
    let within = folders.iter().map(|folder| graph::within(all, folder));
    for arrows in within.chain([all.clone()]) {
        for circle in graph::circles(&arrows) {
            for from in &circle {
                let names = arrows[from].iter().filter(|(to, _)| circle.contains(to));
                said.extend(names.map(|(to, name)| format!("{} uses {} ({name})", from.join("/"), to.join("/"))));
            }
        }
    }
    assert!(said.is_empty(), "circles:\n{}", said.join("\n"));
}

#[test]
fn a_room_has_few_files_and_a_story() {
    for (name, _) in table("room") {
        let folder = root().join("src/handoff").join(&name);
        if !folder.is_dir() {
            continue;
        }
        let count = fs::read_dir(&folder).unwrap().count();
        assert!((3..=MOST_FILES).contains(&count), "{name} has {count} files");
        let door = fs::read_to_string(folder.join("mod.rs")).unwrap();
        let body = door.lines().filter(|line| line.starts_with("fn ") || line.starts_with("impl ")).count();
        assert!(door.starts_with("//! ") && body == 0, "{name}/mod.rs tells what is in the room, and only that");
    }
}

/// Layers have rooms as well. `cli` has a file for each verb.
#[test]
fn no_folder_has_more_files_than_a_room() {
    let mut files: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for (path, _) in texts(&root().join("src")) {
        *files.entry(path.parent().unwrap().to_owned()).or_default() += usize::from(!path.ends_with("mod.rs"));
    }
    let apart = ["src", "src/cli"].map(|folder| root().join(folder));
    files.retain(|folder, count| *count > MOST_FILES && !apart.contains(folder));
    assert!(files.is_empty(), "{files:?}");
}

/// The files of code below a folder, with their texts.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => texts(&path),
        Some(extension) if extension == "rs" => vec![(path.clone(), fs::read_to_string(&path).unwrap())],
        _ => Vec::new(),
    };
    entries.flat_map(below).collect()
}

/// The types of a folder by their names: the file of each, and whether others see it.
fn types(folder: &Path) -> BTreeMap<String, Vec<(PathBuf, bool)>> {
    let mut seen: BTreeMap<String, Vec<(PathBuf, bool)>> = BTreeMap::new();
    for (path, text) in texts(folder) {
        for line in text.lines() {
            let open = line.strip_prefix("pub ");
            let open = open.or_else(|| Some(line.strip_prefix("pub(")?.split_once(") ")?.1));
            let mut words = open.unwrap_or(line).split(|c: char| !c.is_alphanumeric());
            if let (Some("struct" | "enum" | "trait" | "type" | "union"), Some(name)) = (words.next(), words.next()) {
                seen.entry(name.to_owned()).or_default().push((path.clone(), open.is_some()));
            }
        }
    }
    seen
}

#[test]
fn no_two_types_of_handoff_have_one_name() {
    let mut seen = types(&root().join("src/handoff"));
    assert!(seen.contains_key("App"), "{seen:?}");
    seen.retain(|_, paths| paths.len() > 1);
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn a_type_that_other_files_see_has_a_name_of_its_own() {
    let mut seen = types(&root().join("src"));
    // Each verb has its own, and nobody but the list of verbs sees it.
    assert!(seen.remove("Arguments").is_some(), "{seen:?}");
    seen.values_mut().for_each(|paths| paths.retain(|(_, open)| *open));
    seen.retain(|_, paths| paths.len() > 1);
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn functions_are_short_and_take_few_parameters() {
    let functions = sizes::functions(&root().join("src"));
    assert!(functions.len() > 1000, "{}", functions.len());
    let is_large = |one: &&sizes::Function| one.lines > MOST_LINES || one.parameters > MOST_PARAMETERS;
    let large: Vec<_> = functions.iter().filter(is_large).collect();
    assert!(large.is_empty(), "at most {MOST_LINES} lines and {MOST_PARAMETERS} parameters: {large:#?}");
}

#[test]
fn files_have_one_subject() {
    let all = [root().join("src"), root().join("tests/it")].map(|folder| sizes::lines(&folder)).concat();
    let longer = |limit: usize| {
        let names = all.iter().filter(move |(_, lines)| *lines > limit).map(|(path, _)| path);
        names.map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(longer(MOST_FILE_LINES), BTreeSet::new(), "more than {MOST_FILE_LINES} lines");
    let known = LONG_FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(longer(LONG_FILE), known, "more than {LONG_FILE} lines, and those that have a reason");
}

#[test]
fn the_reader_of_functions_sees_lines_and_parameters() {
    let dir = tempfile::tempdir().unwrap();
    let text = "trait A { fn none(&self, a: u8); }\n\
        impl B {\n\
            /// Words.\n\
            fn own(&mut self, a: &'static str,) -> Map<A, B> {}\n\
            fn wide<F: Fn(u8, u8) -> u8>(self: Box<Self>, map: Map<u8, u8>, (a, b): (u8, F))\n\
            where F: Send {\n\
                fn within() {\n\
                }\n\
            }\n\
        }\n\
        type Way = fn(u8) -> u8;\n\
        #[cfg(test)]\n\
        mod tests { fn one_of_them() {} }\n";
    fs::write(dir.path().join("a.rs"), text).unwrap();
    let found = sizes::functions(dir.path());
    let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.lines, one.parameters)).collect();
    assert_eq!(found, [("own", 1, 1), ("wide", 5, 2), ("within", 2, 0)]);
}

#[test]
fn the_page_names_files_that_are_there() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let tops = parts(&[]);
    let is_path = |span: &&str| {
        let plain = span.chars().all(|c| c.is_ascii_lowercase() || "/_.".contains(c));
        plain && span.split_once('/').is_some_and(|(top, _)| top == "tests" || tops.contains_key(top))
    };
    let spans: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_path).collect();
    assert!(spans.contains(&"tests/it"), "{spans:?}");
    for span in spans {
        let file = if span.starts_with("tests/") { root().join(span) } else { root().join("src").join(span) };
        assert!(file.exists() || file.with_extension("rs").exists(), "{span} is not there");
    }
    for (heading, folder) in [("module", "src"), ("room", "src/handoff")] {
        for line in page.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |"))).skip(2) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, _, start, _, _] = cells[..] else { break };
            let (name, start) = (name.trim_matches('`'), start.trim_matches('`'));
            let start = root().join(folder).join(name).join(start);
            assert!(start.exists() || start.with_extension("rs").exists(), "{start:?}");
        }
    }
}

#[test]
fn guards_name_files_that_are_there() {
    let page = fs::read_to_string(root().join("tests/guards.md")).unwrap();
    let spans = page.split('`').skip(1).step_by(2).filter(|span| span.starts_with("src/"));
    let missing: BTreeSet<&str> = spans.filter(|span| !root().join(span).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Tests that are about no room alone.
const ACROSS: [&str; 9] =
    ["docs", "errors", "examples", "house", "main", "real_caches", "real_project", "strangers", "support"];

#[test]
fn tests_lie_in_the_folders_of_their_rooms() {
    let folders = |place: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(place)).unwrap().map(Result::unwrap);
        let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let rooms = folders("src/handoff");
    let known: BTreeSet<String> =
        rooms.iter().cloned().chain(folders("src")).chain(ACROSS.map(str::to_owned)).collect();
    let entries = fs::read_dir(root().join("tests/it")).unwrap().map(|entry| entry.unwrap().path());
    let tests: BTreeSet<String> = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let (without, nowhere) = (&rooms - &tests, &tests - &known);
    assert!(
        without.is_empty() && nowhere.is_empty(),
        "rooms without tests: {without:?}; tests of no room: {nowhere:?}"
    );
}

#[test]
fn guards_name_tests_that_are_there() {
    let page = fs::read_to_string(root().join("tests/guards.md")).unwrap();
    let files = ["src", "tests/it"].iter().flat_map(|folder| texts(&root().join(folder)));
    let code: String = files.map(|(_, text)| text).collect();
    let rows = page.lines().filter(|line| line.starts_with('|'));
    // The tests stand before the guard, which names a file.
    let names =
        rows.filter_map(|row| row.split_once("`src/")).flat_map(|(tests, _)| tests.split('`').skip(1).step_by(2));
    let is_there = |name: &&str| code.contains(&format!("fn {}(", name.rsplit("::").next().unwrap_or_default()));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c));
    let (found, missing): (Vec<&str>, Vec<&str>) = names.filter(is_name).partition(is_there);
    assert!(found.len() > 100 && missing.is_empty(), "{missing:?}");
}

#[test]
fn the_reader_of_the_graph_sees_arrows_and_circles() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("lib.rs", "mod a; mod b;");
    put("a/mod.rs", "mod x; mod y; pub use x::{One, two as zwei}; /// [`crate::b::Three`]\npub(in crate::b) fn f() {}");
    put("a/x.rs", "pub struct One; pub fn two() {} fn f() { println!(\"{}\", super::y::there()) }");
    put("a/y.rs", "#[cfg(test)] mod tests { use crate::b::Three; } pub fn there() {}");
    put("b.rs", "use crate::a::{self, One}; pub struct Three; fn f() { a::zwei(); std::mem::drop(One) }");
    let arrows = graph::arrows(dir.path());
    let of = |name: &str| {
        let module: Module = name.split('/').map(str::to_owned).collect();
        arrows[&module].keys().map(|to| to.join("/")).collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("a/x"), of("a/y"), of("b")), (vec![], vec!["a/y".into()], vec![], vec!["a/x".into()]));
    assert!(graph::circles(&arrows).is_empty());
    put("a/y.rs", "use crate::b; pub fn there(_: b::Three) {}");
    let arrows = graph::arrows(dir.path());
    assert_eq!(graph::circles(&arrows).len(), 1);
    assert_eq!(graph::circles(&graph::within(&arrows, &[])).len(), 1);
}
