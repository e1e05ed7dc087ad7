//! What caches, fixtures and services of one project are to each other: no two have
//! one name or one place.

use std::collections::BTreeSet;

use super::cache::CacheEntry;
use super::fixture::Fixture;
use super::service::Service;
use super::spot::Spot;
use crate::error::{Fault, usage};
use crate::identity::ImageName;
use crate::quantity::parse_duration;

/// Gives each store of a tool to the first cache that has it, where nothing else is. The
/// setups of the others find it where that cache has it.
pub(in crate::config) fn place_stores(caches: &mut [CacheEntry], fixtures: &[Fixture], services: &[Service]) {
    let within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    let data = || services.iter().filter_map(|service| service.data.as_ref());
    let mut taken: Vec<String> = caches.iter().flat_map(CacheEntry::places).map(Spot::to_string).collect();
    taken.extend(fixtures.iter().filter_map(|fixture| fixture.path.as_ref()).map(Spot::to_string));
    taken.extend(data().map(|data| data.path.to_string()));
    // A service starts from a content of one place.
    let one = |cache: &CacheEntry| data().any(|data| data.cache.as_ref() == Some(&cache.name));
    for cache in caches.iter_mut().filter(|cache| !one(cache)) {
        for store in std::mem::take(&mut cache.stores) {
            let shown = store.to_string();
            if !taken.iter().any(|other| within(other, &shown) || within(&shown, other)) {
                taken.push(shown);
                cache.more.push(store);
            } else {
                cache.lent.push(store);
            }
        }
    }
    let kept: Vec<Spot> = caches.iter().flat_map(CacheEntry::places).cloned().collect();
    caches.iter_mut().for_each(|cache| cache.lent.retain(|store| kept.contains(store)));
}

/// What the parser cannot see by itself.
pub(in crate::config) fn check(caches: &[CacheEntry], fixtures: &[Fixture], services: &[Service]) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    let all = caches.iter().map(|cache| ("cache", &cache.name));
    let all = all.chain(fixtures.iter().map(|fixture| ("fixture", &fixture.name)));
    for (kind, name) in all.chain(services.iter().map(|service| ("service", &service.name))) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(usage(format!("{kind} {name:?}: a name has letters, digits and . _ -")));
        }
        if !names.insert((kind == "service", name)) {
            return Err(usage(format!("{kind} {name:?}: another one has this name")));
        }
    }
    let mut spots: Vec<&Spot> = caches.iter().flat_map(CacheEntry::places).collect();
    spots.extend(fixtures.iter().filter_map(|fixture| fixture.path.as_ref()));
    spots.extend(services.iter().filter_map(|service| Some(&service.data.as_ref()?.path)));
    spots.sort();
    for pair in spots.windows(2) {
        let (a, b) = (pair[0].to_string(), pair[1].to_string());
        if b == a || b.strip_prefix(&a).is_some_and(|rest| rest.starts_with('/')) {
            return Err(usage(format!("{b} lies in {a}: two things cannot be in one place")));
        }
    }
    for cache in caches {
        let bad = |why: String| usage(format!("cache {:?}: {why}", cache.name));
        for input in cache.inputs.iter().chain(&cache.either).chain(&cache.also) {
            if !matches!(input.parse(), Ok(Spot::Workspace(_))) {
                return Err(bad(format!("{input:?} is no file of the project")));
            }
            glob::Pattern::new(input).map_err(|why| bad(format!("{input:?} is not a pattern: {}", why.msg)))?;
        }
        if cache.setup.trim().is_empty() || cache.setup.contains('\0') {
            return Err(bad("setup is empty".into()));
        }
        let reserved = |name: &str| name.is_empty() || name.starts_with("ENVCTL_") || name.contains(['=', '\0']);
        if let Some((name, _)) = cache.env.iter().find(|(name, value)| reserved(name) || value.contains('\0')) {
            return Err(bad(format!("{name:?} cannot be set")));
        }
        if cache.materialize && !matches!(cache.path, Spot::Workspace(_)) {
            return Err(bad("only what lies in the workspace can be materialized".into()));
        }
        for place in cache.places().filter(|place| place.is_pattern()).map(Spot::to_string) {
            glob::Pattern::new(&place).map_err(|why| bad(format!("{place:?} is not a pattern: {}", why.msg)))?;
            let name = place.rsplit('/').next().unwrap_or_default();
            if name.contains(['*', '?', '[']) {
                return Err(bad(format!("{place:?} ends with a pattern")))
                    .map_err(|fault| fault.hint("name the folder itself: packages/*/node_modules"));
            }
        }
        if let Some(timeout) = &cache.timeout {
            parse_duration(timeout).map_err(|why| bad(why.to_string()))?;
        }
    }
    services.iter().try_for_each(|service| check_service(caches, fixtures, service))
}

fn check_service(caches: &[CacheEntry], fixtures: &[Fixture], service: &Service) -> Result<(), Fault> {
    let bad = |why: String| usage(format!("service {:?}: {why}", service.name));
    let empty = service.command.is_empty() && service.image.is_none();
    if empty || service.command.iter().any(|word| word.contains('\0')) {
        return Err(bad("command is empty".into()).hint("command says what runs, or image where it is"));
    }
    if let Some(image) = &service.image {
        image.parse::<ImageName>().map_err(|why| bad(why.to_string()))?;
        if service.data.is_some() {
            return Err(bad(
                "data is for services of the task's image: one with an image begins with what that holds".into()
            ));
        }
    }
    for duration in [&service.timeout, &service.stop].into_iter().flatten() {
        parse_duration(duration).map_err(|why| bad(why.to_string()))?;
    }
    let Some(data) = &service.data else { return Ok(()) };
    match (&data.cache, &data.fixture) {
        (Some(name), None) if caches.iter().any(|cache| cache.name == *name && cache.is_spread()) => {
            Err(bad(format!("the cache {name:?} has several paths, data takes one of one path")))
        }
        (Some(name), None) if caches.iter().any(|cache| cache.name == *name) => Ok(()),
        (None, Some(name)) if fixtures.iter().any(|fixture| fixture.name == *name) => Ok(()),
        (Some(name), None) | (None, Some(name)) => Err(bad(format!("there is no {name:?}"))),
        _ => Err(bad("data names either a cache or a fixture".into())),
    }
}
