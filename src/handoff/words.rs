//! How names are written in a line for people.

/// As a shell reads it back.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The first few of many names, for one line.
pub(crate) fn shown_list(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{first} and {} more", names.len() - SHOWN) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_paste_survives_a_shell() {
        assert_eq!(quote("oci:/srv/tasks:task-1"), "oci:/srv/tasks:task-1");
        assert_eq!(quote("oci:/a b/it's:t"), "'oci:/a b/it'\\''s:t'");
    }
}
