//! What a test runner reported, in the XML that all of them write. It is a stranger's:
//! what is no such file gives nothing, and nothing in it is resolved.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

/// Failed tests that are told.
const MOST: usize = 200;

/// Characters of what a test says.
const LONG: usize = 4000;

/// The tests of one report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tests {
    pub(super) passed: usize,
    pub(super) skipped: usize,
    pub(super) failed: usize,
    /// Name and words of the first that failed.
    pub(super) failures: Vec<(String, String)>,
}

/// Reads a report; nothing where it is none.
pub(super) fn read(text: &str) -> Option<Tests> {
    let mut reader = Reader::from_str(text);
    let mut tests = Tests::default();
    // The test that is open: its name, what became of it, its words.
    let mut open: Option<(String, TestFate, String)> = None;
    loop {
        match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Start(tag) if tag.local_name().as_ref() == "testcase" => {
                open = Some((name(&tag), TestFate::Passed, String::new()));
            }
            Event::Empty(tag) if tag.local_name().as_ref() == "testcase" => tests.passed += 1,
            Event::End(tag) if tag.local_name().as_ref() == "testcase" => {
                open.take().into_iter().for_each(|(name, fate, words)| tests.add(name, fate, words));
            }
            Event::Start(tag) | Event::Empty(tag) => {
                if let Some((_, fate, words)) = &mut open {
                    match tag.local_name().as_ref() {
                        "failure" | "error" => {
                            *fate = TestFate::Failed;
                            words.push_str(&attribute(&tag, "message"));
                            words.push('\n');
                        }
                        "skipped" if *fate == TestFate::Passed => *fate = TestFate::Skipped,
                        _ => {}
                    }
                }
            }
            Event::Text(text) => {
                if let Some((_, TestFate::Failed, words)) = &mut open {
                    words.push_str(&text);
                }
            }
            // The five that every reader knows; others stay as they are written.
            Event::GeneralRef(name) => {
                if let Some((_, TestFate::Failed, words)) = &mut open {
                    let raw = format!("&{};", &*name);
                    words.push_str(&unescape(&raw).map_or(raw.clone(), |text| text.into_owned()));
                }
            }
            Event::CData(text) => {
                if let Some((_, TestFate::Failed, words)) = &mut open {
                    words.push_str(&text);
                }
            }
            _ => {}
        }
    }
    (tests != Tests::default()).then_some(tests)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TestFate {
    Passed,
    Skipped,
    Failed,
}

impl Tests {
    fn add(&mut self, name: String, fate: TestFate, words: String) {
        match fate {
            TestFate::Passed => self.passed += 1,
            TestFate::Skipped => self.skipped += 1,
            TestFate::Failed => {
                self.failed += 1;
                if self.failures.len() < MOST {
                    self.failures.push((name, words.trim().chars().take(LONG).collect()));
                }
            }
        }
    }
}

fn name(tag: &BytesStart<'_>) -> String {
    let (class, name) = (attribute(tag, "classname"), attribute(tag, "name"));
    if class.is_empty() { name } else { format!("{class} {name}") }
}

/// Its value, as far as it can be read.
fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let found = tag.attributes().flatten().find(|attribute| attribute.key.0 == name);
    found.map_or_else(String::new, |attribute| {
        unescape(&attribute.value).map_or_else(|_| attribute.value.to_string(), |text| text.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_counted_and_its_failures_are_named() {
        let text = r#"<?xml version="1.0"?><testsuites><testsuite name="s" tests="4">
            <testcase classname="a.B" name="works" time="0.1"/>
            <testcase name="waits"><skipped/></testcase>
            <testcase classname="a.B" name="fails &lt;3"><failure message="1 &amp; 2">at line &lt;5&gt;</failure></testcase>
            <testcase name="breaks"><error message="x"><![CDATA[<b>]]></error><system-out>no</system-out></testcase>
            </testsuite></testsuites>"#;
        let tests = read(text).unwrap();
        assert_eq!((tests.passed, tests.skipped, tests.failed), (1, 1, 2));
        assert_eq!(tests.failures[0], ("a.B fails <3".into(), "1 & 2\nat line <5>".into()));
        assert!(tests.failures[1].1.starts_with("x\n<b>"), "{tests:?}");
    }

    #[test]
    fn what_is_no_report_gives_nothing() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><testcase name=\"&b;\"/>";
        assert_eq!(read(bomb).map(|tests| tests.failures), Some(Vec::new()), "no entity is resolved");
        for bad in ["", "plain", "<a", "<testcase><failure></testcase>", "<html></html>"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
