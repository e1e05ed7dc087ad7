//! How much room text takes on a terminal, and how much there is.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar;

/// The screen of those that do not say: rows and columns.
pub(super) const USUAL: (usize, usize) = (24, 80);

/// Rows and columns of a terminal; nothing where it is none.
pub(super) fn screen(stream: impl AsFd) -> Option<(usize, usize)> {
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then(|| (size.ws_row.into(), size.ws_col.into()))
}

/// Cells of a text.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(wide).sum()
}

/// Cells of a character, more rather than fewer: terminals differ in some.
pub(super) fn wide(c: char) -> usize {
    c.width_cjk().unwrap_or(1).max(1)
}

/// The beginning of a text that fits into so many cells.
pub(super) fn fit(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += wide(*c);
        used <= cells
    };
    let begin: String = text.chars().take_while(fits).collect();
    format!("{}\u{2026}", begin.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_is_whole_and_others_end_in_three_dots() {
        assert_eq!((fit("abc", 3), fit("abcd", 3), fit("", 0)), ("abc".into(), "ab…".into(), String::new()));
        assert_eq!(fit("日本語", 5), "日本…");
        assert!(width(&fit("日本語日本語", 6)) <= 7);
    }
}
