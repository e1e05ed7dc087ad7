//! Words of commands that are printed for somebody to paste into a shell.

/// As a shell reads it back: one word, whatever is in it. Foreign words go through this
/// before they stand in a command.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let is_plain = !text.is_empty() && text.chars().all(plain);
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
