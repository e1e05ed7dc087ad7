//! Images of services: pinned as the task's own is.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::image::{ChosenImage, NamedImage, pin_into};
use crate::config::{Project, ToolchainSettings};
use crate::error::policy;
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::fetch;
use crate::identity::{Identity, ImageName, ServiceImage, StoreRef};
use crate::store::Store;

/// Pins the image of each service that has one of its own, where it is, or copies it
/// into `target`, the store `beside` it. A workspace goes on with what its task pins.
///
/// # Errors
/// When one cannot be found or read; [`crate::error::Kind::Policy`] for one of this
/// machine that the project of a task that was `entered` names.
pub(crate) fn pin_services(
    app: &App,
    (target, beside): (&dyn Store, &StoreRef),
    project: &Project,
    (root, parent, entered): (&Path, Option<&Identity>, bool),
) -> Result<Vec<ServiceImage>> {
    let mut all = Vec::new();
    for service in &project.service {
        let Some(asked) = &service.image else { continue };
        let known = parent.and_then(|parent| parent.services.iter().find(|one| one.asked == *asked));
        if let Some(known) = known.filter(|known| fetch::has_image(target, &known.toolchain.image)) {
            all.push(ServiceImage { name: service.name.clone(), ..known.clone() });
            continue;
        }
        let named = NamedImage { name: asked.parse()?, base: root.to_owned(), by_project: true };
        if entered && !is_of_task(&named.name, beside) {
            return Err(policy(format!("the task's project names the image {asked}, which is on this machine alone"))
                .hint("publish from your own checkout pins it")
                .into());
        }
        let chosen = ChosenImage::Named(named);
        let pinned = pin_into(app, (target, beside), (&chosen, &ToolchainSettings::default()), None);
        let (toolchain, bytes) =
            pinned.with_context(|| format!("cannot pin the image of the service {}", service.name))?;
        if bytes > 0 {
            let size = crate::ui::human_bytes(bytes);
            app.ui.status("Stored", &format!("the image of the service {}, {size}", service.name));
        }
        all.push(ServiceImage { name: service.name.clone(), asked: asked.clone(), toolchain });
    }
    Ok(all)
}

/// Whether the project of a task may name an image: on a registry, or in the task's own
/// store.
fn is_of_task(name: &ImageName, store: &StoreRef) -> bool {
    match name {
        ImageName::Registry { .. } => true,
        ImageName::Layout(place) => {
            place.readings().into_iter().any(|(path, _)| StoreRef::Layout(path).placed(Path::new("/")) == *store)
        }
        _ => false,
    }
}
