//! The guide says what the program does: both are compared, both ways.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Home, ImageBuilder, Lab, Terminal};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The text below a heading, up to the next heading of the same depth.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let rest = &page[start + 4..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// The first cell of each row of the tables in a text, in pieces of code.
fn first_cells(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn help(words: &[&str]) -> String {
    Home::new().envctl(words).arg("--help").ok().stdout
}

/// `-q`, `--quiet` and `--store STORE` of a help text, under a heading.
fn options(help: &str, heading: &str) -> BTreeSet<String> {
    let Some((_, rest)) = help.split_once(&format!("\n{heading}:\n")) else { return BTreeSet::new() };
    let end = rest.find("\n\n").map_or(rest.len(), |_| {
        // The next heading begins at the margin.
        let mut at = 0;
        for line in rest.split_inclusive('\n') {
            if line.starts_with(|c: char| c.is_ascii_uppercase()) {
                break;
            }
            at += line.len();
        }
        at
    });
    let lines = rest[..end].lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = lines.filter(|line| line.starts_with("--") || line.as_bytes()[1].is_ascii_alphabetic());
    // Possible values are listed with a dash, too, but with a space after it.
    let plain = names.map(|line| line.split("  ").next().unwrap().replace(['<', '>'], ""));
    plain.flat_map(|line| line.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// All commands as they are typed, those of a command after it.
fn verbs() -> Vec<String> {
    let below = |words: &[&str]| -> Vec<String> {
        let help = help(words);
        // Those of envctl itself are in groups, before the options.
        let rest = match (words, help.split_once("\nCommands:\n")) {
            ([], None) => help.split_once("\n\n").unwrap().1.split("Options:").next().unwrap(),
            (_, Some((_, rest))) => rest.split("\n\n").next().unwrap(),
            _ => return Vec::new(),
        };
        let lines = rest.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    for verb in below(&[]) {
        let own = if verb == "help" { Vec::new() } else { below(&[&verb]) };
        let own = own.into_iter().filter(|own| own != "help").map(|own| format!("{verb} {own}")).collect::<Vec<_>>();
        all.push(verb);
        all.extend(own);
    }
    all
}

#[test]
fn every_command_and_option_is_in_the_reference() {
    let page = page("reference/cli.md");
    let global = options(&help(&["status"]), "Global options");
    assert!(global.contains("--store STORE") && global.contains("-q"), "{global:?}");
    let own: BTreeSet<String> = ["-h", "--help"].map(str::to_owned).into();
    let documented = first_cells(section(&page, "Global options"));
    let version: BTreeSet<String> = ["-V", "--version"].map(str::to_owned).into();
    // The third column's code is no option; only the first is read.
    assert_eq!(documented, &(&global | &own) | &version);

    let verbs = verbs();
    assert!(verbs.len() >= 8, "{verbs:?}");
    for verb in &verbs {
        let text = section(&page, &format!("envctl {verb}"));
        if verb == "help" {
            continue;
        }
        let help = help(&verb.split(' ').collect::<Vec<_>>());
        assert_eq!(first_cells(text), &options(&help, "Options") - &own, "the options of {verb}");
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
        assert!(text.contains(&format!("    {usage}\n")), "the usage of {verb} is {usage}");
        // What can be chosen is explained.
        for value in help.lines().filter_map(|line| line.trim_start().strip_prefix("- ")?.split(':').next()) {
            assert!(page.contains(&format!("`{value}`")), "{verb}: {value}");
        }
    }
    let headings = page.lines().filter_map(|line| line.strip_prefix("## envctl "));
    let documented: Vec<&str> = headings.collect();
    assert_eq!(documented, verbs);
}

#[test]
fn every_key_is_in_the_reference() {
    let page = page("reference/configuration.md");
    for (heading, keys) in [("The project's file", envctl::config::PROJECT), ("The user's file", envctl::config::USER)]
    {
        let text = section(&page, heading);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let documented: Vec<_> = rows.iter().map(|row| (row[1].to_owned(), row[2], row[3].trim_matches('`'))).collect();
        let known: Vec<_> = keys.iter().map(|key| (format!("`{}`", key.path), key.kind, key.default)).collect();
        assert_eq!(documented, known);
    }
}

/// Each is tried with its real tool in `tests/bench ecosystems`, or the page says that it
/// is not.
#[test]
fn the_page_says_of_each_preset_whether_its_tool_was_run_here() {
    let page = page("how-to/caches.md");
    let bench = fs::read_to_string(root().join("tests/bench")).unwrap();
    let table = page.split("| tried here |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split('|').map(str::trim).collect()).collect();
    for preset in envctl::config::PRESETS {
        let name = preset.name;
        let is_named = |row: &&Vec<&str>| row.get(1).is_some_and(|cell| cell.contains(&format!("`{name}`")));
        let [row] = rows.iter().filter(is_named).collect::<Vec<_>>()[..] else { panic!("{name} has one row") };
        let is_tried = bench.contains(&format!("\n    \"{name}\": {{\"needs\": "));
        assert_eq!(row[5] != "not run here", is_tried, "{name} is tried: {:?}", row[5]);
        assert_eq!(!row[4].starts_with("no"), preset.seed, "{name} goes on from an older one: {:?}", row[4]);
    }
}

#[test]
fn every_variable_is_in_the_reference() {
    let source = fs::read_to_string(root().join("src/env.rs")).unwrap();
    // Text in quotes that looks like the name of a variable.
    let names: BTreeSet<String> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(str::to_owned)
        .collect();
    assert!(names.contains("ENVCTL_STORE") && names.contains("HOME"), "{names:?}");
    assert_eq!(first_cells(section(&page("reference/configuration.md"), "Environment")), names);
}

#[test]
fn every_exit_code_is_in_the_reference() {
    use envctl::error::Kind;
    let page = page("reference/cli.md");
    let text = section(&page, "Exit codes");
    for kind in
        [Kind::Failure, Kind::Usage, Kind::NotFound, Kind::Leak, Kind::Integrity, Kind::Policy, Kind::Unreachable]
    {
        let name = serde_json::to_value(kind).unwrap();
        let row = format!("| {} | `{}` |", kind.exit_code(), name.as_str().unwrap());
        assert!(text.contains(&row), "{row}");
    }
    let help = help(&[]);
    for word in ["125 envctl failed", "126 not runnable", "127 not found", "4 not at baseline", "7 unreachable"] {
        assert!(help.contains(word), "{word}");
    }
}

/// Files of the guide.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
    found
}

/// The text without blocks of code and without code in a line: links there are none.
fn prose(text: &str) -> String {
    let plain = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join("_");
    text.lines().map(|line| if line.starts_with("    ") { String::new() } else { plain(line) + "\n" }).collect()
}

/// Targets of the links of a text, as they are written.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    prose.match_indices("](").map(|(at, _)| prose[at + 2..].split(')').next().unwrap().to_owned()).collect()
}

/// What links to the headings of a page end with, as sites and forges write it.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for heading in headings {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect();
        let again = (1..).map(|count| format!("{anchor}-{count}")).find(|other| !seen.contains(other));
        seen.insert(if seen.contains(&anchor) { again.unwrap() } else { anchor });
    }
    seen
}

#[test]
fn every_link_leads_somewhere() {
    let docs = root().join("docs");
    let mut files = pages(&docs);
    files.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if target.is_empty() { file.clone() } else { file.parent().unwrap().join(target) };
            let Ok(path) = path.canonicalize() else { panic!("{}: {link}", file.display()) };
            // Neither the site nor the program has what lies elsewhere.
            let inside = !file.starts_with(&docs) || path.starts_with(docs.canonicalize().unwrap());
            assert!(inside, "{}: {link} leads out of the guide", file.display());
            let known = || anchors(&fs::read_to_string(&path).unwrap());
            assert!(anchor.is_empty() || known().contains(anchor), "{}: {link} {:?}", file.display(), known());
        }
    }
}

/// `docs/book.toml` and `docs/SUMMARY.md` make a site of the guide.
#[test]
fn every_page_is_on_the_site_and_reached_from_the_first() {
    let found = |text: &str| links(text).into_iter().map(|link| link.split('#').next().unwrap().to_owned());
    let summary: Vec<String> = found(&page("SUMMARY.md")).collect();
    let first: BTreeSet<String> = found(&page("README.md")).collect();
    let docs = root().join("docs");
    let name = |path: PathBuf| path.strip_prefix(&docs).unwrap().to_str().unwrap().to_owned();
    let all: BTreeSet<String> = pages(&docs).into_iter().map(name).filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(summary.iter().cloned().collect::<BTreeSet<_>>(), all);
    assert_eq!(summary.len(), all.len(), "a page is there twice");
    let unreached: Vec<&String> = all.iter().filter(|name| *name != "README.md" && !first.contains(*name)).collect();
    assert!(unreached.is_empty(), "docs/README.md does not lead to {unreached:?}");
    // A page has one title, which a site shows as its name, and no tag that it would obey.
    for page in pages(&docs) {
        let text = fs::read_to_string(&page).unwrap();
        let titles = text.lines().filter(|line| line.starts_with("# ")).count();
        assert!(titles == 1 || page.ends_with("SUMMARY.md"), "{} has {titles} titles", page.display());
        let tag = prose(&text).find('<').map(|at| prose(&text)[at..].chars().take(20).collect::<String>());
        assert!(tag.is_none(), "{}: {tag:?}", page.display());
    }
    let book: toml::Table = page("book.toml").parse().unwrap();
    assert_eq!(book["book"]["src"].as_str(), Some("."));
}

/// An installed program has no folder `docs`: its words lead to `envctl help PAGE`.
#[test]
fn messages_lead_to_pages_that_the_program_has() {
    let help = fs::read_to_string(root().join("src/cli/help.rs")).unwrap();
    // A row of its table: a name, a path, and what the page is about.
    let rows = help.lines().filter(|line| line.trim_start().starts_with('"') && line.contains(".md\" \""));
    let names: BTreeSet<&str> = rows.map(|line| line.split('"').nth(1).unwrap()).collect();
    assert!(names.contains("troubleshooting"), "{names:?}");
    for page in pages(&root().join("docs/how-to")) {
        let name = page.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(names.contains(name.as_str()), "envctl help has no page {name}");
    }
    let verbs: BTreeSet<String> = verbs().into_iter().collect();
    let mut seen = 0;
    for (file, text) in sources(&root().join("src")) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let told = file.ends_with("help.rs") || !line.contains("docs/how-to") && !line.contains("docs/reference");
            assert!(told, "{}: {line}", file.display());
        }
        let shown = ["`envctl help ", "\"envctl help ", ": envctl help "];
        for at in shown.iter().flat_map(|shown| text.match_indices(shown).map(|(at, _)| at + shown.len())) {
            let rest = &text[at..];
            let topic: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            assert!(
                ["", "guide"].contains(&topic.as_str()) || names.contains(topic.as_str()) || verbs.contains(&topic),
                "{}: {topic:?}",
                file.display()
            );
            seen += usize::from(!topic.is_empty());
        }
    }
    assert!(seen >= 3, "{seen}");
}

/// A promise names the test that would fail without it, by the name that it has.
#[test]
fn promises_name_tests_that_are_there() {
    let all = [sources(&root().join("src")), sources(&root().join("tests/it"))].concat();
    let is_there = |name: &str| {
        let starts = ["fn ", "mod "].map(|word| format!("{word}{name}"));
        all.iter().any(|(_, text)| starts.iter().any(|start| text.contains(start)))
    };
    let named = |text: &str, is_test: &dyn Fn(&str) -> bool| -> Vec<String> {
        let quoted = text.split('`').skip(1).step_by(2).filter(|name| is_test(name));
        quoted.map(|name| name.rsplit("::").next().unwrap().to_owned()).collect()
    };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c));
    let promises = page("sandbox.md");
    let mut tests = named(section(&promises, "Promises and their tests"), &|name| name.contains('_') && is_name(name));
    // Nothing else has names of that length.
    tests.extend(named(&page("security.md"), &|name| {
        (name.contains("::") || name.matches('_').count() > 3) && is_name(name)
    }));
    assert!(tests.len() > 100, "{}", tests.len());
    let missing: Vec<&String> = tests.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Files of the program, with their texts.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => fs::read_to_string(&path).map(|text| vec![(path, text)]).unwrap_or_default(),
    };
    paths.flat_map(below).collect()
}

/// What the first screen of the project shows is what happens.
#[test]
fn the_readme_shows_a_real_handoff() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lab = Lab::new();
    lab.repo.write("check.sh", "#!/bin/sh\necho 'total is 95, expected 90'\nexit 1\n");
    lab.repo.sh("chmod +x check.sh").ok();
    lab.repo.commit("Totals");
    lab.repo.push();
    lab.repo.sh("git commit -q --allow-empty -m 'Try another discount'; echo note >NOTES").ok();
    // The command as it stands there, for a store and an image of this test.
    let start = readme.find("$ envctl publish ").expect("README.md publishes");
    let command = readme[start + 2..].split("\n\n").next().unwrap();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let command = command.replace("oci:/srv/tasks", &lab.store.name()).replace("python:3.12", &image);
    let command = command.replacen("envctl", lab.agent.binary().to_str().unwrap(), 1);
    lab.agent.call("sh", ["-euc", &command]).cwd(&lab.repo.path).ok();
    let task = format!("{}:task-xyz789", lab.store.name());
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 100));
    // Without times, hashes and sizes; the verbs have a colour.
    for (verb, said) in [
        ("Pulled", " of the image, "),
        ("Entering", "task-xyz789 on main ("),
        ("", ") (isolated network)"),
        ("Status", "needs-human, published "),
        ("Message", "Which totals get the discount?"),
        ("Last run", "(exit code 1) ./check.sh"),
        ("Leave", "exit or Ctrl-D; the files: envctl workspace path task-xyz789"),
    ] {
        let line = readme.lines().find(|line| line.contains(said));
        assert!(line.is_some_and(|line| line.contains(verb)), "README.md does not show {verb} {said}");
        terminal.sees(verb);
        terminal.sees(said);
    }
    terminal.types("./check.sh\r");
    terminal.sees("total is 95, expected 90");
    terminal.types("exit\r");
    assert_eq!(terminal.ends(), Some(1));
    let folder = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    // The image has a shell and no git.
    for (command, said) in
        [("git log --oneline origin/main..", "Try another discount\n"), ("git status --short", "?? NOTES\n")]
    {
        let words: Vec<&str> = command.split(' ').collect();
        let shown = lab.dev.call(words[0], &words[1..]).cwd(folder.trim()).ok().stdout;
        assert!(shown.ends_with(said) && shown.lines().count() == 1, "{shown}");
        assert!(readme.contains(&format!("$ {command}")) && readme.contains(said), "README.md does not show {command}");
    }
}
