//! Images of services, which come with the task.

use anyhow::Result;

use crate::config::Project;
use crate::error::usage;
use crate::handoff::fetch;
use crate::handoff::runtimes::ServiceImages;
use crate::handoff::task::{Resolved, Source};
use crate::image::Pulled;

/// Brings the images of a project's services, as the task pins them.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for one that the task does not pin; when one cannot
/// be had.
pub(crate) fn service_images(
    source: &Source<'_>,
    resolved: &Resolved,
    project: &Project,
    task: &Pulled,
) -> Result<ServiceImages> {
    let mut images = ServiceImages::new();
    for service in &project.service {
        let Some(asked) = &service.image else { continue };
        let pinned = resolved.identity.services.iter().find(|one| one.name == service.name && one.asked == *asked);
        let pinned = pinned.ok_or_else(|| {
            let task = resolved.task.quoted();
            usage(format!("the service {} wants the image {asked}, which this task has not pinned", service.name))
                .hint(format!("envctl publish pins it; without services: envctl enter {task} --no-services"))
        })?;
        images.insert(service.name.clone(), fetch::service_image(source, resolved, pinned, &task.user)?);
    }
    Ok(images)
}
