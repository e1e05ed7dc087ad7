//! The list of steps of a rebase, a cherry-pick or a revert. Steps that take a
//! commit travel; those that run a program, or that move other refs, do not.

/// Steps that name a commit, and their short forms.
const STEPS: [&[u8]; 13] =
    [b"pick", b"p", b"revert", b"edit", b"e", b"reword", b"r", b"squash", b"s", b"fixup", b"f", b"drop", b"d"];
/// Steps that stand alone.
const ALONE: [&[u8]; 3] = [b"break", b"b", b"noop"];

/// One line of a list.
struct Line<'a> {
    /// Up to the commit's name.
    head: &'a [u8],
    /// As it stands there; empty for what names none.
    commit: &'a [u8],
    /// After it.
    tail: &'a [u8],
}

/// What stands in each line that is no comment, or why it cannot travel.
fn parse<'a>(text: &'a [u8], comment: &[u8]) -> Result<Vec<Line<'a>>, String> {
    if text.contains(&0) {
        return Err("its list of steps is no text".into());
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with(comment)).map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Result<Line<'_>, String> {
    let end = |from: usize| {
        line[from..].iter().position(|byte| matches!(byte, b' ' | b'\t')).map_or(line.len(), |at| from + at)
    };
    let begin = |from: usize| {
        line[from..].iter().position(|byte| !matches!(byte, b' ' | b'\t')).map_or(line.len(), |at| from + at)
    };
    let verb_end = end(0);
    let verb = &line[..verb_end];
    let shown = || String::from_utf8_lossy(line).chars().take(80).collect::<String>();
    if ALONE.contains(&verb) {
        return Ok(Line { head: line, commit: b"", tail: b"" });
    }
    if !STEPS.contains(&verb) {
        return Err(match verb {
            b"exec" | b"x" => format!("a step of it runs a command: {}", shown()),
            b"label" | b"l" | b"reset" | b"t" | b"merge" | b"m" => format!("it makes merges anew: {}", shown()),
            b"update-ref" | b"u" => format!("it moves other branches as well: {}", shown()),
            _ => format!("a step of it is unknown: {}", shown()),
        });
    }
    let mut start = begin(verb_end);
    if matches!(verb, b"fixup" | b"f") && matches!(&line[start..end(start)], b"-C" | b"-c") {
        start = begin(end(start));
    }
    let stop = end(start);
    let commit = &line[start..stop];
    if commit.is_empty() || commit.starts_with(b"-") {
        return Err(format!("a step of it names no commit: {}", shown()));
    }
    Ok(Line { head: &line[..start], commit, tail: &line[stop..] })
}

/// The list with every commit by its full name: what is short here may be
/// ambiguous elsewhere. Comments, which begin with `comment`, are left out; git
/// writes them for an editor.
pub(super) fn expand(
    text: &[u8],
    comment: &[u8],
    resolve: &dyn Fn(&str) -> Option<git2::Oid>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    for line in parse(text, comment)? {
        out.extend_from_slice(line.head);
        if !line.commit.is_empty() {
            let name = String::from_utf8_lossy(line.commit);
            let id = resolve(&name).ok_or_else(|| format!("a step of it names {name}, which is not here"))?;
            out.extend_from_slice(id.to_string().as_bytes());
        }
        out.extend_from_slice(line.tail);
        out.push(b'\n');
    }
    Ok(out)
}

/// The commits of a list in which each has its full name.
pub(super) fn commits(text: &[u8]) -> Result<Vec<git2::Oid>, String> {
    let lines = parse(text, b"#")?.into_iter().filter(|line| !line.commit.is_empty());
    lines
        .map(|line| super::quoted::id(line.commit).ok_or_else(|| "a step names no commit by its hash".into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn short_names_become_full_ones() {
        let resolve = |text: &str| (text == "0123456").then(|| git2::Oid::from_str(ID).unwrap());
        let list = b"pick 0123456 one\n\n# comment\n  fixup -C 0123456\tx\nbreak\n";
        let expanded = expand(list, b"#", &resolve).unwrap();
        assert_eq!(String::from_utf8(expanded.clone()).unwrap(), format!("pick {ID} one\nfixup -C {ID}\tx\nbreak\n"));
        assert_eq!(commits(&expanded).unwrap().len(), 2);
        assert!(expand(b"pick 7654321 x\n", b"#", &resolve).unwrap_err().contains("7654321"));
        assert_eq!(expand(b"; one\nbreak\n", b";", &resolve).unwrap(), b"break\n");
        assert!(expand(b"# one\nbreak\n", b";", &resolve).is_err());
    }

    #[test]
    fn case_40_steps_that_run_something_do_not_travel() {
        for bad in [
            "exec touch evil",
            "x touch evil",
            "\texec\ttouch evil",
            " x touch evil",
            "exec",
            "pickexec",
            "exec\r",
            "label onto",
            "reset onto",
            "merge -C 0123456 x",
            "update-ref refs/heads/x",
            "pick",
            "pick --evil",
            "fixup -C",
            "unknown",
            "pick\r0123456",
        ] {
            let list = format!("pick {ID} x\n{bad}\n");
            assert!(commits(list.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(commits(b"pick 0123456 short\n").is_err());
        assert!(commits(b"pick a\0\nexec x\n").is_err());
    }
}
