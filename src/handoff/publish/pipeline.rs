//! `publish`: capture, screen, pin, store, and move the task's tag.

use anyhow::Result;

use super::checkout::capture;
use super::image;
use super::options::{PublishOptions, Published, no_image};
use super::plan::{PublishPlan, store_of, task_of};
use super::source::{PublishedFrom, PublishedTo};
use crate::crash;
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::caches::{require_fixtures, require_inputs};
use crate::handoff::evidence::Evidence;
use crate::handoff::trust;
use crate::handoff::workspaces::occupy;
use crate::snapshot;
use crate::store::Access;

/// Publishes the checkout that holds the working directory.
///
/// # Errors
/// With what stands in the way. The task's tag is moved last, so a failure
/// leaves the task as it was.
pub fn publish(app: &App, options: &PublishOptions) -> Result<Published> {
    let from = PublishedFrom::of(app, options.checkout.as_ref().unwrap_or(&app.cwd))?;
    require_inputs(&app.project(&from.root)?, &from.root)?;
    let published = publish_from(app, options, &from, Vec::new(), true)?;
    from.note(app, &published.0);
    Ok(published.1)
}

/// Finds out before a long run what would stop the publish after it.
///
/// # Errors
/// With that.
pub(crate) fn rehearse(app: &App, options: &PublishOptions, from: &PublishedFrom) -> Result<()> {
    let project = app.project(&from.root)?;
    require_inputs(&project, &from.root)?;
    let parent = from.parent(app)?;
    task_of(options, parent.as_ref())?;
    let agent = from.publisher(app, options);
    trust::screen_words(&trust::scanner(app, &project)?, &options.handoff, agent.as_deref())?;
    if parent.is_none() && image::chosen(app, options.wish(), &project, (&from.root, from.origin.is_some()))?.is_none()
    {
        return Err(no_image().into());
    }
    let store = store_of(app, from.origin.as_ref())?;
    require_fixtures(&*app.open(&store, Access::Write)?, &store, &project)
}

/// Publishes a checkout. Of the evidence that is given beside what the project
/// names, files with credentials are left out. `ask` says whether somebody may be
/// asked whether to publish over what they have not seen.
///
/// # Errors
/// As [`publish()`].
pub(crate) fn publish_from(
    app: &App,
    options: &PublishOptions,
    from: &PublishedFrom,
    own: Vec<Evidence>,
    ask: bool,
) -> Result<(PublishedTo, Published)> {
    let git = Git::find(&app.env)?;
    // A workspace stays where it is meanwhile.
    let _in_use = occupy(&from.root);
    let repo = snapshot::open(&from.root)?;
    let plan = PublishPlan::of(app, options, from, &repo)?;
    let chosen = plan.image_of_flags()?;
    let captured = capture(app, (&git, &repo), &plan.project, &plan.scanner, options.redact);
    let (captured, screened) = captured.map_err(|error| snapshot::explained(error, &repo))?;
    let evidence = plan.evidence(own)?;
    crash::point("publish.captured");
    let (target, is_new) = plan.open_store()?;
    // The tag as it was before anything was stored: a move in between is
    // noticed at the end.
    let before = target.resolve(plan.task.as_str())?;
    let remembered = plan.remembered(&repo);
    let known = remembered.as_ref().map_or(&[][..], |remembered| &remembered.known);
    let course = plan.course(&*target, before.as_ref(), known, ask)?;
    let toolchain = plan.toolchain(&*target, chosen)?;
    let composed = plan.compose(&*target, toolchain, &captured, (screened.redacted, course.parent()))?;
    let stored = plan.store(&*target, composed, &captured, &evidence)?;
    if is_new {
        app.ui.status("Created", &format!("the store {}, which was not there", plan.store_name));
    }
    if let Some(remembered) = &remembered {
        // Before it is true: whoever is killed in between can publish again,
        // however often. What the task is now stays known until then.
        let now = course.parent().or(known.first().copied());
        remembered.note(app, &now.into_iter().chain([stored.digest]).collect::<Vec<_>>());
        crash::point("publish.remembered");
    }
    let moved = plan.move_tag(&*target, &stored, course, before.as_ref(), remembered.as_ref())?;
    Ok(plan.published(stored, moved, captured, screened.unsearched))
}
