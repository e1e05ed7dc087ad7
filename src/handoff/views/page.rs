//! A page of HTML that may hold anything: what is written into it is either a word of this
//! program, a number, or text that is escaped. It has no script, no link and no address,
//! and its policy forbids all of them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::ui::escape;

/// The look of every page; the policy names it by its hash.
const STYLE: &str = "\
body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #d0d7de}\
pre,code{font:13px/1.45 monospace}pre{background:#f6f8fa;padding:.75rem;overflow:auto;margin:.25rem 0}\
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}\
th{font-weight:normal;color:#57606a;white-space:nowrap}td{overflow-wrap:anywhere}\
.message{font-size:1.1rem;white-space:pre-wrap;border-left:4px solid #0969da;padding-left:1rem}\
.quiet{color:#57606a}.bad{color:#b42318}.good{color:#116329}\
.add{color:#116329;background:#dafbe1}.gone{color:#82071e;background:#ffebe9}.place{color:#0550ae}\
img{max-width:100%;border:1px solid #d0d7de}summary{cursor:pointer}svg{max-width:100%}";

/// A page as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Markup of this program.
    pub(super) fn mark(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of anybody, in one line or in many.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for (n, line) in text.split('\n').enumerate() {
            if n > 0 {
                self.0.push('\n');
            }
            for (n, part) in line.trim_end_matches('\r').split('\t').enumerate() {
                if n > 0 {
                    self.0.push('\t');
                }
                for c in escape(part).chars() {
                    match c {
                        '&' => self.0.push_str("&amp;"),
                        '<' => self.0.push_str("&lt;"),
                        '>' => self.0.push_str("&gt;"),
                        '"' => self.0.push_str("&quot;"),
                        '\'' => self.0.push_str("&#39;"),
                        c => self.0.push(c),
                    }
                }
            }
        }
        self
    }

    /// A heading.
    pub(super) fn heading(&mut self, text: &str) -> &mut Self {
        self.mark("<h2>").text(text).mark("</h2>\n")
    }

    /// A row of a table.
    pub(super) fn row(&mut self, name: &str, value: &str) -> &mut Self {
        self.mark("<tr><th>").text(name).mark("</th><td>").text(value).mark("</td></tr>\n")
    }

    /// Lines as they are, folded away behind a name.
    pub(super) fn folded(&mut self, name: &str, text: &str, open: bool) -> &mut Self {
        self.mark(if open { "<details open><summary>" } else { "<details><summary>" });
        self.text(name).mark("</summary><pre>").text(text).mark("</pre></details>\n")
    }

    /// Changed lines, each in the colour of its kind.
    pub(super) fn patch<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> &mut Self {
        self.mark("<pre>");
        for line in lines {
            let class = match line.as_bytes() {
                [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'd', b'i', b'f', b'f', ..] => {
                    "<span class=\"place\">"
                }
                [b'+', ..] => "<span class=\"add\">",
                [b'-', ..] => "<span class=\"gone\">",
                [b'@', ..] => "<span class=\"quiet\">",
                _ => "<span>",
            };
            self.mark(class).text(line).mark("</span>\n");
        }
        self.mark("</pre>\n")
    }

    /// A picture, as its own bytes; whether they are those of one.
    pub(super) fn picture(&mut self, name: &str, bytes: &[u8]) -> bool {
        let kind = match bytes {
            [0x89, b'P', b'N', b'G', ..] => "<img src=\"data:image/png;base64,",
            [0xff, 0xd8, 0xff, ..] => "<img src=\"data:image/jpeg;base64,",
            [b'G', b'I', b'F', b'8', ..] => "<img src=\"data:image/gif;base64,",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "<img src=\"data:image/webp;base64,",
            _ => return false,
        };
        self.mark("<figure>").mark(kind);
        self.0.push_str(&STANDARD.encode(bytes));
        self.mark("\" alt=\"").text(name).mark("\"><figcaption>").text(name).mark("</figcaption></figure>\n");
        true
    }

    /// A bar for each value, the largest as high as the plot.
    pub(super) fn bars(&mut self, values: &[u64]) -> &mut Self {
        const HEIGHT: u64 = 60;
        let most = values.iter().copied().max().unwrap_or(0).max(1);
        let width = values.len() * 8;
        let _ = writeln!(self.0, "<svg width=\"{width}\" height=\"{HEIGHT}\" viewBox=\"0 0 {width} {HEIGHT}\">");
        for (n, value) in values.iter().enumerate() {
            let high = (u128::from(*value) * u128::from(HEIGHT)).div_ceil(u128::from(most));
            let (left, top) = (n * 8, u128::from(HEIGHT) - high);
            let _ = writeln!(self.0, "<rect x=\"{left}\" y=\"{top}\" width=\"6\" height=\"{high}\" fill=\"#0969da\"/>");
        }
        self.mark("</svg>\n")
    }

    /// The whole document.
    pub(super) fn finish(self, title: &str) -> String {
        let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let mut page = Page::default();
        page.mark("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
        page.mark("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;; ");
        page.mark("img-src data:; base-uri &#39;none&#39;; form-action &#39;none&#39;; style-src &#39;sha256-");
        page.text(&hash).mark("&#39;\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
        page.mark("<meta name=\"viewport\" content=\"width=device-width\">\n<title>")
            .text(title)
            .mark("</title>\n<style>");
        page.mark(STYLE).mark("</style></head><body>\n");
        page.0 + &self.0 + "</body></html>\n"
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What ends a tag, an attribute, a comment, a style, a page, or turns text around.
    pub(in super::super) const HOSTILE: &str = "</pre></title></style><script>alert(1)</script><img src=x onerror=alert(1)>\
        \" onload=\"alert(1)' ]]><!-- --> &lt; javascript:alert(1) \u{202e}\u{1b}[2J\0</body>";

    /// Reads a page as a browser would, as far as its tags: each is one that this program
    /// writes, with the attributes that it writes.
    pub(in super::super) fn assert_harmless(page: &str) {
        let tag = regex::Regex::new(
            r#"^(!doctype html|/?(html|head|body|title|style|h1|h2|p|pre|code|table|tr|th|td|details|summary|span|figure|figcaption|svg|section|div)( lang="en"| class="[a-z]+"| open| (width|height|viewBox)="[0-9 ]+")*|meta (charset|http-equiv|name)="[A-Za-z0-9-]+"( content="[^"<>]*")?|img src="data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*" alt="[^"<>]*"|rect x="[0-9]+" y="[0-9]+" width="6" height="[0-9]+" fill="\#0969da"/)$"#,
        )
        .unwrap();
        for part in page.split('<').skip(1) {
            let (inside, after) = part.split_once('>').unwrap_or_else(|| panic!("a tag does not end: {part}"));
            assert!(tag.is_match(inside), "<{inside}>");
            assert!(!after.contains('>'), "{after}");
        }
        assert!(page.chars().all(|c| matches!(c, '\n' | '\t') || crate::visible::is_visible(c)));
        assert_eq!(page.matches("<style>").count(), 1);
        assert!(page.contains("default-src &#39;none&#39;") && !page.contains("unsafe-inline"));
    }

    #[test]
    fn whatever_is_written_stays_text() {
        let mut page = Page::default();
        page.mark("<h1>").text(HOSTILE).mark("</h1>").heading(HOSTILE).mark("<table>").row(HOSTILE, HOSTILE);
        page.mark("</table>").folded(HOSTILE, &format!("{HOSTILE}\n\t{HOSTILE}\r\n"), true);
        page.patch([HOSTILE, &format!("+{HOSTILE}"), &format!("-{HOSTILE}"), "@@ 1", "diff x"].into_iter());
        assert!(page.picture(HOSTILE, b"\x89PNG</script>"));
        assert!(!page.picture(HOSTILE, b"<svg onload=alert(1)>"), "only what cannot hold a script");
        page.bars(&[0, 1, u64::MAX]).bars(&[]);
        let page = page.finish(HOSTILE);
        assert_harmless(&page);
        assert!(page.contains("\n\t&lt;/pre&gt;"), "lines and tabs stay");
    }
}
