//! Which characters people see, by Unicode: the one rule for foreign text that
//! is shown and for foreign names that become files.

use std::borrow::Cow;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Blank without being spaces: the empty pattern of Braille, a filler of Khitan, blanks of
/// hieroglyphs, and a note without a head.
const BLANKS: [char; 5] = ['\u{2800}', '\u{16fe4}', '\u{13441}', '\u{13442}', '\u{1d159}'];

/// So many marks stand on one letter in any script; more hide what is around them.
const MOST_MARKS: usize = 4;

/// Whether a character shows as itself, and changes nothing else that is shown.
/// Controls, formats (which turn text around), separators of lines, private and
/// unassigned characters and all that renderers pass over are not.
pub fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let hidden = matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    );
    !hidden && !BLANKS.contains(&c) && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The characters of a text, each with whether it [shows](is_visible): of many marks in a
/// row only the first do.
pub fn seen(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut marks = 0;
    text.chars().map(move |c| {
        let is_mark = !c.is_ascii()
            && matches!(
                CodePointMapData::<GeneralCategory>::new().get(c),
                GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
            );
        marks = if is_mark { marks + 1 } else { 0 };
        (c, marks <= MOST_MARKS && is_visible(c))
    })
}

/// Printed text without its colours and weights (`ESC [ 31 m`): programs write them into
/// logs, and nothing is lost without them. All else that a terminal would obey stays, for
/// whoever shows the text to escape.
pub fn without_colours(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "\u{1b}[";
    let mut parts = text.split(BEGIN);
    let first = parts.next().unwrap_or_default();
    if first.len() == text.len() {
        return text.into();
    }
    let mut plain = first.to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':'));
        match rest.strip_prefix('m') {
            Some(after) => plain.push_str(after),
            None => plain.extend([BEGIN, part]),
        }
    }
    plain.into()
}

/// Whether a character may stand in the name of a file: a visible one, or the
/// plain space. Wide and narrow spaces look like it and are others.
pub fn is_for_names(c: char) -> bool {
    is_visible(c)
        && (c.is_ascii() || CodePointMapData::<GeneralCategory>::new().get(c) != GeneralCategory::SpaceSeparator)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind that was seen to deceive.
    const HIDDEN: &str = "\0\u{7}\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{200b}\
        \u{200d}\u{200e}\u{2028}\u{2029}\u{202e}\u{2060}\u{2065}\u{2066}\u{206a}\u{2800}\u{3164}\u{e000}\u{fe0f}\u{feff}\
        \u{ffa0}\u{fff0}\u{fff9}\u{fffe}\u{13441}\u{13442}\u{16fe4}\u{1bca0}\u{1d159}\u{1d173}\u{e0001}\u{e0041}\u{e0100}\u{f0000}\u{10ffff}";

    #[test]
    fn colours_go_and_nothing_else_does() {
        let plain = |text| without_colours(text).into_owned();
        assert_eq!(plain("\u{1b}[1;38:5:9mFAIL\u{1b}[0m a\u{1b}[mb"), "FAIL ab");
        for kept in ["plain", "\u{1b}[2J", "\u{1b}[31", "\u{1b}]0;m\u{7}", "a\u{1b}", "\u{1b}[?1m"] {
            assert_eq!(plain(kept), kept);
        }
    }

    #[test]
    fn marks_that_pile_up_do_not_show() {
        let shown = |text: &str| seen(text).filter(|(_, shows)| *shows).count();
        for text in ["ệ", "e\u{323}\u{302}", "ש\u{5b8}\u{5c1}\u{591}", "1\u{20e3}", "ที่"] {
            assert_eq!(shown(text), text.chars().count(), "{text}");
        }
        assert_eq!(shown(&format!("a{}b", "\u{301}".repeat(500))), 2 + MOST_MARKS);
    }

    #[test]
    fn characters_that_nobody_sees() {
        for c in HIDDEN.chars() {
            assert!(!is_visible(c) && !is_for_names(c), "U+{:04X}", u32::from(c));
        }
        for c in "aZ09 ~éß日本語한국어עברית✓…😀\u{a0}\u{3000}\u{fffd}".chars() {
            assert!(is_visible(c), "U+{:04X}", u32::from(c));
        }
        for c in "\u{a0}\u{2003}\u{202f}\u{3000}".chars() {
            assert!(!is_for_names(c), "U+{:04X}", u32::from(c));
        }
    }
}
