//! What `tests/real-image` makes or finds: somebody else's system and projects.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Its folder.
pub fn prepared() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real-image");
        let output = Command::new(script).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    })
}

/// Copies a tree with everything that it has.
pub fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args(["-a", "--"]).args([from, to]).status().unwrap().success());
}
