//! Folders that are exchanged for links while they are captured.

use std::fs;

use crate::support::{Trip, tree};

/// Waits until somebody opens a file of the folder `d`, and then makes `d` a
/// link to `target`, for as long as it is told.
const SWAP: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
target, seen = sys.argv[1], int(sys.argv[2])
os.symlink(target, "aside")
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, b"d/000", 0x20) >= 0
print("ready", flush=True)
for _ in range(seen):
    os.read(watch, 4096)
assert libc.renameat2(-100, b"d", -100, b"aside", 2) == 0
sys.stdin.read()
"#;

both!(nothing_is_captured_through_a_folder_that_became_a_link, Trip::of);
fn nothing_is_captured_through_a_folder_that_became_a_link(trip: Trip) {
    // Which of the reads is the one to be quick for is not known.
    for seen in 1..=4 {
        let repo = trip.lab.repo.clone_to(&format!("moving-{seen}"), &[]);
        let private = trip.lab.agent.path(format!("private-{seen}"));
        fs::create_dir_all(&private).unwrap();
        trip.lab.agent.write(private.join("config"), "PRIVATE");
        trip.lab.agent.write(private.join("other"), "PRIVATE");
        repo.write(".git/info/exclude", "/aside\n");
        repo.write("d/000", vec![b'x'; 8 << 20]);
        repo.write("d/config", "public");
        repo.age();
        let mut swap = trip
            .lab
            .agent
            .call("python3", ["-c", SWAP, private.to_str().unwrap(), &seen.to_string()])
            .cwd(&repo.path)
            .spawn();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(swap.stdout.as_mut().unwrap()), &mut line).unwrap();
        let task = format!("moving-{seen}");
        let published = trip.publishing(&repo, &task).run();
        let _ = swap.kill();
        swap.wait().unwrap();
        if published.code == 0 {
            let name = format!("{}:{task}", trip.lab.store.name());
            let workspace = trip.enter(&name);
            for (path, _) in tree(&workspace.path) {
                let file = workspace.path.join(std::ffi::OsStr::new(std::str::from_utf8(&path).unwrap()));
                let content = fs::read(&file).unwrap_or_default();
                assert!(!content.windows(7).any(|part| part == b"PRIVATE"), "{}", file.display());
            }
        }
    }
}
