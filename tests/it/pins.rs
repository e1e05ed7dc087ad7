//! What was noted about a task is found by a short name, and used when it says
//! itself that it is about this task of this store.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{ImageBuilder, Lab, copy};

/// All that are there, at rest: they are written once more in the background.
fn pins(lab: &Lab) -> Vec<(PathBuf, Value)> {
    lab.pins_at_rest();
    let files = fs::read_dir(lab.dev.data().join("pins")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), serde_json::from_slice(&fs::read(file).unwrap()).unwrap())).collect()
}

/// Two names of stores may have the same short key; here a rename makes it so.
#[test]
fn the_pin_of_another_store_is_not_taken_for_ours() {
    for lab in [Lab::new(), Lab::unprivileged()] {
        let ours = lab.publish(&ImageBuilder::busybox());
        let (_, task) = ours.rsplit_once(':').unwrap();
        let strange = lab.store.path.with_file_name("strange");
        copy(&lab.store.path, &strange);
        let theirs = format!("oci:{}:{task}", strange.display());
        let enter = |task: &str| lab.dev.envctl(["enter", "--no-runtime", task]);
        enter(&ours).ok();
        let (place, _) = pins(&lab).remove(0);
        lab.dev.envctl(["workspace", "rm", "--yes", &ours]).ok();
        let workspace = enter(&theirs).ok().stdout;
        let (other, pin) = pins(&lab).remove(0);
        assert_ne!(place, other);
        fs::rename(&other, &place).unwrap();
        for (args, code) in [
            (&["enter", "--no-runtime", &ours][..], 5),
            (&["enter", "--refresh", "--no-runtime", &ours], 5),
            (&["enter", "--dry-run", &ours], 5),
            (&["approve", &ours], 5),
            (&["run", &ours, "--", "true"], 125),
            // Found by what they say.
            (&["workspace", "path", &ours], 3),
            (&["workspace", "rm", "--yes", &ours], 3),
        ] {
            let run = lab.dev.envctl(args).code(code);
            assert!(run.stdout.is_empty(), "{run:?}");
            assert!(code == 3 || run.stderr.contains(&format!("that of {theirs}")), "{run:?}");
        }
        assert_eq!(pins(&lab), [(place, pin)], "it is as it was");
        assert!(fs::exists(workspace.trim()).unwrap());
    }
}
