//! Answering a registry's challenge: by name and password, or with a token from
//! its token service.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::auth::{Auth, AuthScope, Challenge, Grant, parse};
use super::credentials::{self, RegistryLogin};
use super::http::{Http, Unanswered};
use crate::error::{integrity, policy};
use crate::secret;
use crate::web::read_capped;

/// Upper bound for the answer of a token service in bytes.
const MAX_TOKEN: u64 = 256 << 10;

/// No server takes a longer one in a header, in bytes.
const LONGEST_TOKEN: usize = 32 << 10;

/// How long what a helper said is used: its tokens may not last.
const VALID: Duration = Duration::from_secs(60);

impl Auth {
    /// Answers the challenge of a 401.
    ///
    /// # Errors
    /// When there is no way to, with how to log in.
    pub(super) async fn answer(&self, http: &Http, headers: &HeaderMap, scope: AuthScope) -> Result<()> {
        let (files, host, repository) = (self.files.clone(), self.host.clone(), self.repository.clone());
        let kept = Arc::clone(&self.login);
        // A helper is another process and may take its time.
        let found = tokio::task::spawn_blocking(move || {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, found)) = kept.as_ref().filter(|(when, _)| when.elapsed() < VALID) {
                return Ok(found.clone());
            }
            let found = credentials::find(&files, &host, &repository)?;
            *kept = Some((Instant::now(), found.clone()));
            anyhow::Ok(found)
        })
        .await;
        let login = found.context("the search for credentials was cut short")??;
        login.iter().for_each(RegistryLogin::hide);
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = values.flat_map(parse).collect();
        let grant = if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            self.token(http, bearer, login.as_ref(), scope).await?
        } else if challenges.iter().any(|challenge| challenge.scheme == "basic") {
            match login {
                Some(RegistryLogin::Password(user, password)) => Grant::Basic(user, password),
                Some(RegistryLogin::Bearer(token)) => Grant::Bearer(token),
                _ => return Err(self.denied("it wants a name and a password").into()),
            }
        } else {
            return Err(self.denied("it asks for credentials in a way that envctl does not know").into());
        };
        if let Ok(mut grants) = self.grants.lock() {
            grants.insert(scope, grant);
        }
        Ok(())
    }

    async fn token(
        &self,
        http: &Http,
        challenge: &Challenge,
        login: Option<&RegistryLogin>,
        scope: AuthScope,
    ) -> Result<Grant> {
        if let Some(RegistryLogin::Bearer(token)) = login {
            return Ok(Grant::Bearer(token.clone()));
        }
        let named = challenge.value("realm").ok_or_else(|| self.denied("its challenge names no token service"))?;
        let realm =
            Url::parse(named).map_err(|_| integrity(format!("{} names a token service that is no URL", self.host)))?;
        self.check_realm(http.base(), &realm, login.is_some())?;
        if !self.is_named(&realm) && realm.host() != http.base().host() {
            http.reach().write(&realm).map_err(|why| self.refused(&realm, &why))?;
        }
        let request = self.token_request(http, (&realm, challenge), login, scope)?;
        // Its address carries nothing secret, but the query is no help either.
        let service = realm.host_str().unwrap_or_default().to_owned();
        let response = http.once(request, http.patience()).await.map_err(|unanswered| match unanswered {
            Unanswered::Broken(error) => {
                let why = error.without_url();
                crate::error::unreachable(format!("the token service {service} does not answer: {why}"))
            }
            Unanswered::Refused(fault) => fault,
        })?;
        let status = response.status();
        let bytes = read_capped(response, MAX_TOKEN, "the answer of the token service", http.patience()).await?;
        if status.is_redirection() {
            return Err(policy(format!("the token service {service} of {} redirects: it is not followed", self.host))
                .hint(format!("if you trust where it leads: [registries.\"{}\"] realm in config.toml", self.host))
                .into());
        }
        if !status.is_success() {
            return Err(self.denied(&format!("its token service {service} answers {status}")).into());
        }
        let answer: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token)).filter(|token| {
            // It becomes part of a header.
            (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let token = token.ok_or_else(|| integrity(format!("the token service {service} gave no token")))?;
        secret::remember_issued(&token);
        Ok(Grant::Bearer(token))
    }

    /// The request that asks a token service for a token.
    fn token_request(
        &self,
        http: &Http,
        (realm, challenge): (&Url, &Challenge),
        login: Option<&RegistryLogin>,
        scope: AuthScope,
    ) -> Result<reqwest::Request> {
        let scopes = self.scopes(scope);
        let mut query: Vec<(&str, String)> = match login {
            // A form has one field for all of them.
            Some(RegistryLogin::Identity(_)) => vec![("scope", scopes.join(" "))],
            _ => scopes.into_iter().map(|scope| ("scope", scope)).collect(),
        };
        if let Some(service) = challenge.value("service") {
            query.push(("service", service.to_owned()));
        }
        let request = match login {
            Some(RegistryLogin::Identity(token)) => {
                query.extend([
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", "envctl".to_owned()),
                    ("refresh_token", token.clone()),
                ]);
                let mut form = Url::parse("form:x")?;
                form.query_pairs_mut().extend_pairs(&query);
                let body = form.query().unwrap_or_default().to_owned();
                http.client().post(realm.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
            other => {
                let mut url = realm.clone();
                url.query_pairs_mut().extend_pairs(&query);
                let request = http.client().get(url);
                match other {
                    Some(RegistryLogin::Password(user, password)) => {
                        request.header(AUTHORIZATION, Grant::Basic(user.clone(), password.clone()).header())
                    }
                    _ => request,
                }
            }
        };
        request.build().context("a request cannot be written")
    }
}

/// What a token service answers.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}
