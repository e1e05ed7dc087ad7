//! Lines of a task: what is published from where nobody has seen what the task is
//! by now goes beside it, under a tag of its own.

use super::names::TaskId;
use crate::digest::Digest;

/// The tag that says that a task has other lines: `id-beside-` and digits of a
/// hash of the task's ID. What it points at says nothing. Whoever knows nothing of
/// lines takes it, and theirs, for no task.
pub fn lines_tag(task: &TaskId) -> String {
    format!("{PREFIX}{}", &Digest::of(task.as_str().as_bytes()).hex()[..40])
}

/// The tag of the line that begins with this identity: no two publishers have the
/// same, so that none goes over another.
pub fn line_tag(task: &TaskId, identity: &Digest) -> String {
    format!("{}-{}", lines_tag(task), &identity.hex()[..32])
}

/// Whether a tag is that of a line of this task.
pub fn is_line_of(tag: &str, task: &TaskId) -> bool {
    tag.strip_prefix(&lines_tag(task)).is_some_and(|rest| rest.starts_with('-'))
}

/// Whether a tag is of a line of any task.
pub fn is_line(tag: &str) -> bool {
    tag.starts_with(PREFIX)
}

const PREFIX: &str = "id-beside-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_tag_that_is_no_task() {
        let task: TaskId = "t".repeat(128).parse().unwrap();
        let tag = line_tag(&task, &Digest::of(b"x"));
        assert!(TaskId::is_reserved(&tag) && is_line(&tag) && tag.len() <= 128);
        assert!(is_line_of(&tag, &task) && !is_line_of(&tag, &"t".parse().unwrap()));
        assert!(is_line(&lines_tag(&task)) && !is_line_of(&lines_tag(&task), &task));
        assert_ne!(tag, line_tag(&task, &Digest::of(b"y")));
    }
}
