//! What the developer's own configuration of git says about remotes, read as
//! git reads it.

use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::Url;

use super::super::Git;
use crate::error::{Fault, policy};
use crate::identity::{RepoUrl, Site, decoded, settles};

/// The settings that matter here.
const SETTINGS: &str = r"^(core\.sshcommand|ssh\.variant|lfs\.url|lfs\.standalonetransferagent|url\..*\.insteadof|http\.(.*\.)?extraheader)$";

/// The developer's own way to remotes.
#[derive(Debug)]
pub(super) struct Own {
    settings: Vec<(String, String)>,
    env: Vec<(String, String)>,
}

impl Own {
    pub(super) fn read(git: &Git, git_dir: &Path) -> Result<Self> {
        let call = git.at(git_dir).args(["config", "--null", "--get-regexp", SETTINGS]);
        let output = call.output(b"")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let pair = |entry: &str| entry.split_once('\n').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(Own { settings: text.split('\0').filter_map(pair).collect(), env: git.own.clone() })
    }

    /// Where git goes for an address, and whether the rule that leads there names
    /// the site.
    pub(super) fn way(&self, git: &Git, git_dir: &Path, url: &RepoUrl) -> Result<(RepoUrl, bool)> {
        let asked = url.to_string();
        let output = git.at(git_dir).args(["ls-remote", "--get-url", "--", &asked]).run(b"")?;
        let text = String::from_utf8(output).context("git's address is not valid UTF-8")?;
        let real = text.trim_end_matches('\n');
        if real == asked {
            return Ok((url.clone(), false));
        }
        let address: RepoUrl = real.parse().map_err(|why: Fault| {
            policy(format!("a rule of your git configuration makes something else of {asked}: {why}"))
                .hint("look at: git config --get-regexp 'url.*insteadof'")
        })?;
        let rules = self.settings.iter().filter_map(|(key, from)| {
            let base = key.strip_prefix("url.")?.strip_suffix(".insteadof")?;
            Some((base, asked.strip_prefix(from.as_str())?))
        });
        let mut rules = rules.filter(|(base, rest)| format!("{base}{rest}") == real);
        let settled = rules.any(|(base, rest)| settles(base, rest)) && !address.climbs();
        Ok((address, settled))
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The server that the developer has for the large files of all repositories.
    pub(super) fn large_files_url(&self) -> Option<&str> {
        self.setting("lfs.url")
    }

    /// Its site.
    pub(super) fn large_files(&self) -> Option<Site> {
        self.large_files_url()?.parse::<RepoUrl>().ok()?.site()
    }

    /// Whether a program of the developer's moves large files, for all servers.
    pub(super) fn has_own_transfer(&self) -> bool {
        self.setting("lfs.standalonetransferagent").is_some()
    }

    /// Headers that the developer has sent along.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        let all = self.settings.iter().filter(|(key, _)| key.starts_with("http.") && key.ends_with("extraheader"));
        all.map(|(_, value)| value.as_str())
    }

    /// Names and passwords that the developer's rules have for a site.
    pub(super) fn in_rules(&self, site: &Site) -> impl Iterator<Item = (String, String)> {
        let bases = self.settings.iter().filter_map(|(key, _)| key.strip_prefix("url.")?.strip_suffix(".insteadof"));
        let bases = bases.chain(self.large_files_url()).filter_map(|base| Url::parse(base).ok());
        bases.filter_map(move |url| {
            let is_site = Site::parse(&url.origin().ascii_serialization()).as_ref() == Some(site);
            let text = |encoded: &str| decoded(encoded).unwrap_or_else(|| encoded.to_owned());
            let password = url.password().filter(|_| is_site)?;
            Some((text(url.username()), text(password)))
        })
    }

    /// The developer's ssh, in git's order, and whether it is a line for a shell.
    pub(super) fn ssh(&self) -> (String, bool) {
        let line = self.variable("GIT_SSH_COMMAND").or_else(|| self.setting("core.sshcommand"));
        match (line, self.variable("GIT_SSH")) {
            (Some(line), _) => (line.to_owned(), true),
            (None, Some(program)) => (program.to_owned(), false),
            (None, None) => ("ssh".to_owned(), false),
        }
    }

    /// How it takes its options; `auto` lets git find out, as it does by itself.
    pub(super) fn variant(&self) -> String {
        if let Some(said) = self.variable("GIT_SSH_VARIANT").or_else(|| self.setting("ssh.variant")) {
            return said.to_owned();
        }
        let (command, line) = self.ssh();
        let first = if line { command.split_whitespace().next().unwrap_or_default() } else { &command };
        let name = first.trim_matches(['\'', '"']).rsplit('/').next().unwrap_or_default();
        match name {
            "ssh" | "plink" | "putty" | "tortoiseplink" => name.to_owned(),
            _ => "auto".to_owned(),
        }
    }
}
