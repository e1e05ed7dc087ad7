//! `[[url]]` of a user: repositories that are reachable under another name here.

use serde::Deserialize;

use crate::error::{Fault, usage};
use crate::identity::{RepoUrl, settles};

/// `[[url]]`: addresses that start with `from` are fetched from `to`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct UrlRewrite {
    /// Prefix as it is published.
    pub from: String,
    /// Prefix as it is reachable here.
    pub to: String,
}

/// The address under which a published URL is reachable here: the longest
/// matching rewrite wins, as with git's `insteadOf`. A prefix ends where a
/// name ends.
///
/// # Errors
/// [`crate::error::Kind::Usage`] when a rule makes something of it that is no
/// address.
pub(super) fn rewrite(rules: &[UrlRewrite], url: &RepoUrl) -> Result<Reachable, Fault> {
    let spellings = url.spellings();
    let rest = |rule: &UrlRewrite| {
        let rests = spellings.iter().filter_map(|text| text.strip_prefix(&rule.from));
        rests.filter(|rest| rule.ends_a_name(rest)).map(str::to_owned).next()
    };
    let rules = rules.iter().filter_map(|rule| Some((rule, rest(rule)?)));
    let Some((rule, rest)) = rules.max_by_key(|(rule, _)| rule.from.len()) else {
        return Ok(Reachable { url: url.clone(), named: false });
    };
    let url: RepoUrl = format!("{}{rest}", rule.to).parse().map_err(|why: Fault| {
        usage(format!("a [[url]] rule leads nowhere: {why}")).hint("look at its `to` in config.toml")
    })?;
    let named = settles(&rule.to, &rest) && !url.climbs();
    Ok(Reachable { url, named })
}

/// Where a repository is reachable from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// Its address.
    pub url: RepoUrl,
    /// A rule of the user's names the site, or the folder: it is their own word.
    pub named: bool,
}

impl UrlRewrite {
    /// Whether the prefix ends where a name ends, with this behind it.
    fn ends_a_name(&self, rest: &str) -> bool {
        let in_path = self.from.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let short = self.from.ends_with(':') && !self.from.contains("://");
        self.from.ends_with('/') || short || rest.is_empty() || rest.starts_with('/') || (in_path && rest == ".git")
    }

    /// A rule is printed, and written where code inside reads it.
    pub(super) fn check(&self, name: &str) -> Result<(), Fault> {
        for (key, prefix) in [("from", &self.from), ("to", &self.to)] {
            let (scheme, rest) = prefix.split_once("://").unwrap_or(("ssh", prefix));
            let authority = rest.split('/').next().unwrap_or(rest);
            let login = authority.rsplit_once('@').map(|(login, _)| login);
            let secret = login.is_some_and(|login| login.contains(':') || (scheme != "ssh" && scheme != "git+ssh"));
            if secret || rest.contains(['?', '#']) {
                return Err(usage(format!("{name}: url.{key}: an address with a password or a token is not accepted"))
                    .hint("leave it out, and give it to git's credential helper: git credential approve"));
            }
            if prefix.is_empty() || prefix.chars().any(char::is_control) {
                return Err(usage(format!("{name}: url.{key}: the beginning of an address is needed")));
            }
        }
        Ok(())
    }
}
