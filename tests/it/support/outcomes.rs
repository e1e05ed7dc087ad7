//! What a test suite's own report says of each test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Test by name: `passed`, `failed`, `error` or `skipped`.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcomes(BTreeMap<String, &'static str>);

impl Outcomes {
    /// Reads the JUnit file `report.xml` and removes it.
    #[track_caller]
    pub fn take(folder: &Path) -> Self {
        let path = folder.join("report.xml");
        let report = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::remove_file(path).unwrap();
        let cases = report.split("<testcase ").skip(1).map(|case| {
            let of = |name: &str| attribute(case, name);
            let body = case.split("</testcase>").next().unwrap();
            let marks = [("<failure", "failed"), ("<error", "error"), ("<skipped", "skipped")];
            let mark = marks.iter().find(|(tag, _)| body.contains(tag));
            (format!("{}::{}", of("classname"), of("name")), mark.map_or("passed", |(_, outcome)| outcome))
        });
        let outcomes = Outcomes(cases.collect());
        let stated = |name| attribute(report.split("<testsuite ").nth(1).unwrap(), name).parse::<usize>().unwrap();
        assert_eq!(stated("failures"), outcomes.count("failed"));
        assert_eq!(stated("skipped"), outcomes.count("skipped"));
        assert_eq!(stated("errors"), outcomes.count("error"));
        assert_eq!(stated("tests"), outcomes.0.len());
        outcomes
    }

    pub fn count(&self, outcome: &str) -> usize {
        self.named(outcome).len()
    }

    pub fn named(&self, outcome: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, found)| **found == outcome).map(|(name, _)| name.as_str()).collect()
    }
}

fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let start = element.find(&format!(" {name}=\"")).map(|at| at + name.len() + 3);
    // The first attribute has no space before it in what is left of the tag.
    let start = start.or_else(|| element.starts_with(&format!("{name}=\"")).then_some(name.len() + 2));
    element[start.unwrap()..].split('"').next().unwrap()
}
