//! Names of layer entries, made safe as text. What symbolic links could do to
//! them is the extractor's concern.

use std::io;

use super::shown::short;
use super::tar::bad;

/// Bytes of a name; no system opens a longer one (`PATH_MAX`).
const MAX_NAME: usize = 4096;

/// Splits an entry's name into plain components; none for the layer's root. A
/// slash at the beginning means that root, as for every other unpacker.
///
/// # Errors
/// For `..` anywhere, and for a name that is too long.
pub(super) fn components(name: &[u8]) -> io::Result<Vec<&[u8]>> {
    // What is noted of each folder above it grows with its square.
    if name.len() > MAX_NAME {
        return Err(bad(format!("a name of {} bytes, and {MAX_NAME} are possible", name.len())));
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(bad("the name leaves the layer"));
    }
    Ok(parts)
}

/// A marker of the OCI layer format: an entry that takes something away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// `.wh.NAME`: NAME of the layers below is gone.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: everything below in this folder is gone.
    Opaque,
    /// Bookkeeping of other tools (`.wh..wh.*`): ignored.
    Other,
}

/// Whether the last component is a marker.
///
/// # Errors
/// For a whiteout that names nothing, `.` or `..`.
pub(super) fn marker(name: &[u8]) -> io::Result<Option<Marker<'_>>> {
    let Some(victim) = name.strip_prefix(b".wh.") else { return Ok(None) };
    match victim {
        b".wh..opq" => Ok(Some(Marker::Opaque)),
        b"" | b"." | b".." => Err(bad(format!("the whiteout {:?} names nothing", short(name)))),
        other if other.starts_with(b".wh.") => Ok(Some(Marker::Other)),
        other => Ok(Some(Marker::Whiteout(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_longer_than_a_path_can_be() {
        assert_eq!(components(&b"a/".repeat(2048)).unwrap().len(), 2048);
        assert!(components(&b"a/".repeat(2049)).is_err());
    }

    #[test]
    fn case_01_names_that_leave_the_layer() {
        for hostile in ["../x", "a/../../x", "/../x", "/usr/../x", "a/..", "..", "./../x"] {
            assert!(components(hostile.as_bytes()).is_err(), "{hostile}");
        }
        // kaniko and distroless write them.
        assert_eq!(components(b"/usr//bin/").unwrap(), [b"usr", b"bin"]);
        assert!(components(b"/").unwrap().is_empty());
        assert_eq!(components(b"./a//b/./c/").unwrap(), [b"a", b"b", b"c"]);
        assert!(components(b"./").unwrap().is_empty());
        assert_eq!(components(b"..a/b..").unwrap().len(), 2);
    }

    #[test]
    fn case_13_whiteouts_that_name_nothing() {
        for hostile in [".wh.", ".wh..", ".wh..."] {
            assert!(marker(hostile.as_bytes()).is_err(), "{hostile}");
        }
        assert_eq!(marker(b".wh.a").unwrap(), Some(Marker::Whiteout(b"a")));
        assert_eq!(marker(b".wh..wh..opq").unwrap(), Some(Marker::Opaque));
        assert_eq!(marker(b".wh..wh.plnk").unwrap(), Some(Marker::Other));
        assert_eq!(marker(b"a.wh.b").unwrap(), None);
    }
}
