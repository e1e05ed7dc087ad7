//! Archives that end too early, too late or elsewhere than they say.

use std::fs;

use serde_json::json;

use super::Range;
use crate::support::{Entry, ImageBuilder, Layer};

fn truncated(entries: impl IntoIterator<Item = Entry>, length: usize) -> Layer {
    let mut layer = Layer::open_ended(entries);
    assert!(layer.tar.len() > length);
    layer.tar.truncate(length);
    Layer::raw(layer.tar)
}

#[test]
fn case_15_archives_that_end_in_the_middle() {
    let range = Range::new();
    let file = || [Entry::file("evil", vec![b'x'; 2000])];
    range.refuses(truncated(file(), 512 + 1000), &["ends"]);
    range.refuses(truncated(file(), 512 + 1000).gzip(), &["ends"]);
    range.refuses(truncated(file(), 512 + 1000).zstd(), &["ends"]);
    range.refuses(truncated(file(), 512), &["ends"]);
    range.refuses(truncated(file(), 300), &["ends"]);
    range.refuses(truncated([Entry::file("good", "").pax("comment", vec![b'x'; 600])], 700), &["ends"]);
}

#[test]
fn case_15_sizes_in_headers_that_are_wrong() {
    let range = Range::new();
    let sized = |size| Entry { size: Some(size), ..Entry::file("evil", vec![b'x'; 2000]) };
    range.refuses_entries([sized(1 << 40)], &["ends"]);
    range.refuses_entries([sized(u64::MAX)], &["size"]);
    // The rest of the content stands where a header should.
    range.refuses_entries([sized(10)], &["checksum"]);
    range.refuses_entries([Entry { checksum: Some(1), ..Entry::file("evil", "") }], &["checksum"]);
}

/// Both digests match the damaged stream: only the decompressor can tell.
#[test]
fn case_15_compressed_streams_that_are_damaged() {
    let range = Range::new();
    let plain = Layer::new([Entry::file("evil", (0..50_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>())]);
    for layer in [plain.clone().gzip(), plain.zstd()] {
        let (length, suffix) = (layer.blob.len(), layer.media_type.rsplit_once('+').unwrap().1.to_owned());
        let carried = |blob: Vec<u8>| layer.clone().carried_by(&format!("+{suffix}"), blob);
        range.refuses(carried(layer.blob[..length / 2].to_vec()), &["decompress"]);
        range.refuses(carried(layer.blob[..length - 2].to_vec()), &["decompress"]);
        let mut scrambled = layer.blob.clone();
        scrambled[length / 2..length / 2 + 8].fill(0xff);
        // The decompressor or the digest of what comes out: both name the layer.
        let scrambled = carried(scrambled);
        range.refuses(scrambled.clone(), &[&scrambled.digest()]);
    }
}

/// What real writers leave out (umoci 0.4.7 does) and what digests cover.
#[test]
fn case_15_endings_that_are_accepted() {
    let range = Range::new();
    let file = || Entry::file("file", "content");
    let with_tail = |tail: &[u8]| {
        let mut layer = Layer::open_ended([file()]);
        layer.tar.extend(tail);
        Layer::raw(layer.tar)
    };
    let layers = [
        with_tail(&[]),
        with_tail(&[0; 512]),
        with_tail(&[0; 20 * 512]),
        with_tail(&[&[0; 1024][..], b"what follows the end is hashed and not read"].concat()),
        Layer::open_ended([Entry { padded: false, ..file() }]),
        Layer::raw(Vec::new()),
    ];
    for layer in layers {
        let expected = if layer.tar.is_empty() { None } else { Some(b"content".to_vec()) };
        assert_eq!(fs::read(range.accepts(layer.clone().gzip()).join("file")).ok(), expected);
    }
}

#[test]
fn case_15_declared_sizes_of_layers_that_are_wrong() {
    let range = Range::new();
    let layer = Layer::new([Entry::file("evil", "x")]).gzip();
    let size = layer.blob.len();
    let image = ImageBuilder::new().layer(layer.clone());
    for (number, wrong) in
        [json!(size - 1), json!(size + 1), json!(0), json!(-1), json!(1_u64 << 60)].into_iter().enumerate()
    {
        let image = image.clone().manifest_field("/layers/0/size", wrong);
        let reference = range.lab.images.add(&format!("size-{number}"), &image).reference;
        range.lab.try_publish(&reference).code(5).says(&["error:"]);
        assert!(!range.lab.store.has(&layer.digest()));
    }
}
