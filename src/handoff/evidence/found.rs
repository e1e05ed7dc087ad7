//! The artifacts of an identity as its store lists them: how many are looked at, and
//! what is left out. Whoever may push makes the list as long as they like.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::digest::Digest;
use crate::error::{Kind, kind_of};
use crate::handoff::app::App;
use crate::handoff::parallel::each;
use crate::oci::Descriptor;
use crate::store::{Attachment, Store, read_attachments};

/// Artifacts of one identity that are looked at, the newest; a list from a store
/// may name any number.
pub(crate) const MOST: usize = 1000;

/// Manifests that are read before it is asked whether they are enough.
const AT_ONCE: usize = 16;

/// All manifests of one identity that are read, in bytes: a thousand artifacts have one. In
/// memory they take many times as much.
const MOST_BYTES: u64 = 8 << 20;

/// How long reading them may take.
const LONGEST: Duration = Duration::from_secs(120);

/// Artifacts as they were found.
#[derive(Debug, Default)]
pub(crate) struct FoundArtifacts {
    /// Oldest first.
    pub(crate) attachments: Vec<Attachment>,
    /// What was left out.
    pub(crate) skipped: Vec<Skipped>,
}

/// Artifacts, or entries of the store's list, that are not among those found.
#[derive(Debug)]
pub(crate) struct Skipped {
    /// How many at least: nobody knows how many artifacts a list holds that was not read.
    pub(crate) count: usize,
    /// Why, for people.
    pub(crate) why: String,
}

impl Skipped {
    fn one(why: String) -> Self {
        Skipped { count: 1, why }
    }
}

impl FoundArtifacts {
    /// How many were left out, at least.
    pub(crate) fn left_out(&self) -> usize {
        self.skipped.iter().map(|skipped| skipped.count).sum()
    }
}

/// The artifacts of an identity, `most` of them at most. What is malformed or
/// foreign is left out, and named with `-v`.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn find(app: &App, store: &dyn Store, subject: &Digest, most: usize) -> Result<FoundArtifacts> {
    let mut listed = store.referrers(subject)?;
    let mut found = FoundArtifacts::default();
    if listed.cut {
        let why = format!("what the store lists beyond {} entries", listed.found.len());
        found.skipped.push(Skipped::one(why));
    }
    let lists = listed.found.len();
    if lists > most {
        let why = format!("all but {most} of {lists} lists of artifacts");
        found.skipped.push(Skipped { count: lists - most, why });
        // Each is one request, and the newest come last.
        listed.found.drain(..lists - most);
    }
    found.skipped.extend(listed.skipped.drain(..).map(Skipped::one));
    let mut left = MOST_BYTES;
    let fits = |manifest: &&Descriptor| match left.checked_sub(manifest.size) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let small = listed.found.iter().rev().take_while(fits).count();
    let large = listed.found.len() - small;
    if large > 0 {
        let why = format!("{large} lists of artifacts, which are too large to be read with the others");
        found.skipped.push(Skipped { count: large, why });
    }
    // Each may carry many: the newest are read first, until there are enough.
    let began = Instant::now();
    let mut unread = &listed.found[large..];
    while !unread.is_empty() && found.attachments.len() < most {
        if began.elapsed() > LONGEST {
            app.ui.warn("the store takes too long to tell of older artifacts: they are left out");
            break;
        }
        let (rest, manifests) = unread.split_at(unread.len().saturating_sub(AT_ONCE));
        unread = rest;
        let mut read = read_all(app, store, subject, manifests, &mut found.skipped)?;
        read.append(&mut found.attachments);
        found.attachments = read;
    }
    let all = found.attachments.len();
    if all > most || !unread.is_empty() {
        let count = all.saturating_sub(most) + unread.len();
        found.skipped.push(Skipped { count, why: format!("all but the newest {} artifacts", all.min(most)) });
        found.attachments.drain(..all.saturating_sub(most));
    }
    found.attachments.sort_by(|a, b| a.provenance.order().cmp(&b.provenance.order()));
    found.skipped.iter().for_each(|skipped| app.ui.detail(&format!("left out: {}", skipped.why)));
    Ok(found)
}

/// The artifacts of some manifests, in their order; why others are none goes to `skipped`.
fn read_all(
    app: &App,
    store: &dyn Store,
    subject: &Digest,
    manifests: &[Descriptor],
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Attachment>> {
    let read = each(manifests, |manifest| read_attachments(store, manifest, subject))?;
    let mut attachments = Vec::new();
    for (result, manifest) in read.into_iter().zip(manifests) {
        match result {
            Ok(Some(mut read)) => attachments.append(&mut read),
            Ok(None) => app.ui.detail(&format!("{} refers to it and is no artifact of envctl", manifest.digest)),
            Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
            Err(error) => skipped.push(Skipped::one(format!("{}: {error:#}", manifest.digest))),
        }
    }
    Ok(attachments)
}
