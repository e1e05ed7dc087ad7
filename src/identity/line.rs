//! Lines of a task: what is published from where nobody has seen what the task is
//! by now goes beside it, under a tag of its own.

use super::names::TaskId;
use crate::digest::Digest;

/// The most lines of one task, its own among them.
pub const MOST_LINES: u32 = 9;

/// The tag of a task's second line and those after it: `id-beside-`, the digits of
/// a hash of the task's ID, and the line's number. Whoever knows nothing of lines
/// takes it for no task.
pub fn line_tag(task: &TaskId, line: u32) -> String {
    format!("{}{line}", prefix(task))
}

/// Which line of a task a tag is of.
pub fn line_of(tag: &str, task: &TaskId) -> Option<u32> {
    let line = tag.strip_prefix(&prefix(task))?.parse().ok()?;
    (2..=MOST_LINES).contains(&line).then_some(line)
}

/// Whether a tag is of a line of any task.
pub fn is_line(tag: &str) -> bool {
    tag.starts_with(PREFIX)
}

const PREFIX: &str = "id-beside-";

fn prefix(task: &TaskId) -> String {
    format!("{PREFIX}{}-", &Digest::of(task.as_str().as_bytes()).hex()[..40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_tag_that_is_no_task() {
        let task: TaskId = "t".repeat(128).parse().unwrap();
        let tag = line_tag(&task, 2);
        assert!(TaskId::is_reserved(&tag) && is_line(&tag) && tag.len() <= 128);
        assert_eq!(line_of(&tag, &task), Some(2));
        assert_eq!(line_of(&tag, &"t".parse().unwrap()), None);
        for other in [line_tag(&task, 1), line_tag(&task, MOST_LINES + 1), format!("{tag}x")] {
            assert_eq!(line_of(&other, &task), None, "{other}");
        }
    }
}
