//! The guide says what the program does: both are compared, both ways.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Home;

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

#[test]
fn every_link_leads_somewhere() {
    let mut files = pages(&root().join("docs"));
    files.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let index = page("README.md");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let target = rest.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let path = file.parent().unwrap().join(target);
                assert!(path.exists(), "{}: {target}", file.display());
            }
        }
        // Whatever is in the guide can be found from its first page.
        if let Ok(name) = file.strip_prefix(root().join("docs"))
            && name != Path::new("README.md")
        {
            assert!(index.contains(&format!("({})", name.display())), "docs/README.md does not lead to {name:?}");
        }
    }
}
