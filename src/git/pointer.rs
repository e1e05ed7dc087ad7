//! How git reads a file that says where something lies: `.git`, `gitdir`, `commondir`.

/// What git takes off the end of a file that says where something lies.
pub fn without_line_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

/// Whether git, or its library, would take more off a path than its line end.
pub fn has_blanks(path: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b);
    is_blank(path.first()) || is_blank(path.last())
}
