//! Hostile and faulty images, by the numbers of the list of known attacks.
//! A refused layer leaves nothing behind, and nothing around it is touched.

mod archives;
mod links;
mod names;
mod pax;
mod special;
mod whiteouts;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Entry, ImageBuilder, Lab, Layer, Outside};

/// A developer's machine with things around that nobody may touch. Whatever a
/// hostile layer tries to leave has `evil` in its name.
struct Range {
    lab: Lab,
    outside: Outside,
}

impl Range {
    fn new() -> Self {
        Self::in_lab(Lab::new())
    }

    fn unprivileged() -> Self {
        Self::in_lab(Lab::unprivileged())
    }

    fn in_lab(lab: Lab) -> Self {
        let outside = Outside::of(&lab.dev);
        Range { lab, outside }
    }

    /// The layer is refused as a whole and `enter` says why.
    #[track_caller]
    fn refuses(&self, layer: Layer, causes: &[&str]) {
        let image = ImageBuilder::new().layer(Layer::new([Entry::file("base", "")])).layer(layer);
        self.refuses_image(&image, causes);
    }

    /// The same for an archive of these entries, behind one that is innocent.
    #[track_caller]
    fn refuses_entries(&self, entries: impl IntoIterator<Item = Entry>, causes: &[&str]) {
        let innocent = Entry::file("innocent", "innocent");
        self.refuses(Layer::new([innocent].into_iter().chain(entries)), causes);
    }

    /// The image's topmost layer is the hostile one.
    #[track_caller]
    fn refuses_image(&self, image: &ImageBuilder, causes: &[&str]) {
        let task = self.lab.publish(image);
        let says: Vec<&str> = [&["error:"], causes].concat();
        self.lab.enter(&task, &["true"]).cwd(self.outside.cwd()).code(125).says(&says);
        let error = &self.lab.report()["error"];
        assert_eq!(error["kind"], "integrity", "{error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        self.outside.assert_untouched();
        self.outside.assert_no_trace_of("evil");
        let folders = self.lab.layer_folders(image.layers.last().unwrap());
        assert!(folders.is_empty(), "{folders:?}");
        assert!(self.lab.leftovers().is_empty(), "{:?}", self.lab.leftovers());
    }

    /// The layer is unpacked, nothing around it is touched; where its files are.
    #[track_caller]
    fn accepts(&self, layer: Layer) -> PathBuf {
        self.sees(layer.clone(), "true", "");
        self.lab.files_of(&layer)
    }

    #[track_caller]
    fn accepts_entries(&self, entries: impl IntoIterator<Item = Entry>) -> PathBuf {
        self.accepts(Layer::new(entries))
    }

    /// On top of a system that runs, a script sees this.
    #[track_caller]
    fn sees(&self, layer: Layer, script: &str, expected: &str) {
        let task = self.lab.publish(&ImageBuilder::busybox().layer(layer));
        let run = self.lab.enter(&task, &["sh", "-euc", script]).cwd(self.outside.cwd()).ok();
        assert_eq!(run.stdout, expected);
        self.outside.assert_untouched();
        assert!(self.lab.leftovers().is_empty(), "{:?}", self.lab.leftovers());
    }
}

/// The record beside a layer's files.
#[track_caller]
fn record(files: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(files.with_file_name("layer.json")).unwrap()).unwrap()
}

fn mode(path: PathBuf) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}
