//! What runs beside the command: services of the task's image, and those that have one
//! of their own.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{owners, variables};
use crate::config::{self, Project, Service};
use crate::error::{Fault, usage};
use crate::handoff::app::App;
use crate::image::{Image, Pulled};
use crate::quantity::parse_duration;
use crate::runtime::{Account, OwnImage, ReadyCheck, ServiceSpec};

/// How long a service may take until it is ready, when nobody says.
const TIMEOUT: &str = "30s";

/// How long one may take that has an image of its own: it makes its data first.
const OWN_TIMEOUT: &str = "2m";

/// Images of services, by the services' names.
pub(crate) type ServiceImages = BTreeMap<String, (Image, Pulled)>;

/// The services of a project, in the runtime of `task`'s image.
///
/// # Errors
/// [`crate::error::Kind::Usage`] when one has nothing to run.
pub(crate) fn services(
    app: &App,
    project: &Project,
    task: &Pulled,
    images: &ServiceImages,
) -> Result<Vec<ServiceSpec>> {
    let service = |service: &Service| -> Result<ServiceSpec> {
        let own = images.get(&service.name).map(|image| own(app, service, task, image)).transpose()?;
        let usual = if own.is_some() { OWN_TIMEOUT } else { TIMEOUT };
        let (command, image) =
            own.map_or_else(|| (service.command.clone(), None), |(command, own)| (command, Some(own)));
        Ok(ServiceSpec {
            name: service.name.clone(),
            command,
            image,
            env: service.env.clone().into_iter().collect(),
            ready: service.ready.as_ref().map(|ready| match ready {
                config::ReadyWhen::Tcp(port) => ReadyCheck::Tcp(*port),
                config::ReadyWhen::File(path) => ReadyCheck::File(path.clone()),
                config::ReadyWhen::Command(command) => ReadyCheck::Command(command.clone()),
            }),
            timeout: parse_duration(service.timeout.as_deref().unwrap_or(usual))?,
            stop: service.stop.as_deref().map(parse_duration).transpose()?,
        })
    };
    project.service.iter().map(service).collect()
}

/// What a service with an image of its own runs, as engines have it, and where.
fn own(
    app: &App,
    service: &Service,
    task: &Pulled,
    (image, pulled): &(Image, Pulled),
) -> Result<(Vec<String>, OwnImage), Fault> {
    let run = image.config.config.clone().unwrap_or_default();
    let words = if service.command.is_empty() { run.command } else { service.command.clone() };
    let command: Vec<String> = run.entrypoint.into_iter().chain(words).collect();
    if command.is_empty() {
        let name = &service.name;
        return Err(usage(format!("the image of the service {name} does not say what to run"))
            .hint("command of the [[service]] says it"));
    }
    // Where only one account exists all files are its own, and it is the developer.
    let user = if owners::mapping(app, &task.user).is_single() { &task.user } else { &pulled.user };
    let home = pulled.user.home.clone();
    let mut env = variables::of_image(run.env.iter().flatten());
    env.push(("HOME".into(), home.clone()));
    env.extend(pulled.user.name.iter().map(|name| ("USER".to_owned(), name.clone())));
    let account = Account { uid: user.uid, gid: user.gid, home, shell: None };
    let workdir = Some(run.workdir).filter(|folder| folder.starts_with('/')).unwrap_or_else(|| "/".into());
    Ok((command, OwnImage { layers: pulled.trees.clone(), account, env, workdir }))
}
