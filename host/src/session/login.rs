//! AUTH: which mechanisms this client is offered now, and one exchange from its first response to the login or its
//! refusal (RFC 4954).
//!
//! The mechanisms of the server's own are machines in `pillarbox_sasl`; who is right, the users' file knows, or an
//! extension. What an unknown user costs is what a known one costs. Nothing here logs or keeps a secret.

use super::context::{Origin, Stage};
use super::facts::Attempt;
use super::policy::{self, Credentials, Judged};
use super::session::Session;
use crate::auth::{self, AttemptLimits, Checked};
use crate::config;
use pillarbox_sasl::{Failure, Mechanism, Secret, Step, Terms, Verifier};
use pillarbox_smtp::{Auth, Refusal, ask, reply};
use std::sync::Arc;
use std::time::Instant;

/// An exchange under way, between two lines of the client.
pub(super) struct Exchange {
    /// In upper case.
    mechanism: String,
    speaker: Speaker,
}

enum Speaker {
    /// The server; with the extension that knew the user, once one did.
    Own(pillarbox_sasl::Exchange, Option<Arc<str>>),
    /// The extension that declared the mechanism.
    Extension,
    /// An extension that has said all it had to say: the response ends it well.
    Finished { user: String, extension: Arc<str> },
}

/// What the client is told next.
enum Said {
    Challenge(Vec<u8>),
    Success,
    Refuse(Refusal),
}

/// Who says that a login is right, and who it is.
enum Verdict {
    Right { user: String, origin: Origin },
    Wrong,
    Later,
    Refused(Refusal),
}

impl Session {
    /// What AUTH is to this client now.
    pub(super) fn auth(&self) -> Auth {
        let mechanisms = self.mechanisms();
        let listener = &self.post.listener;
        if mechanisms.is_empty() {
            Auth::Off
        } else if self.facts.proven_login() {
            // RFC 4954 section 4: once in a session.
            Auth::Done
        } else if self.facts.tls.is_some() || listener.auth.without_tls {
            Auth::Offered(mechanisms.into())
        } else {
            Auth::NeedsTls
        }
    }

    /// Takes AUTH, with the response it may have brought.
    pub(super) async fn authenticate(&mut self, ask: ask::Auth<'_>) {
        let mechanism = ask.mechanism().to_owned();
        let limits = self.attempt_limits();
        self.exchange = None;
        let said = match self.service.attempts.admits(self.address(), None, limits, Instant::now()) {
            Err(what) => Said::Refuse(self.too_many(&mechanism, what)),
            Ok(()) => match self.begin(&mechanism) {
                Some(machine) => self.drive(mechanism, machine, None, ask.initial()).await,
                None => {
                    let heard = self.policy.authenticate(&mechanism, ask.initial(), &mut self.facts).await;
                    self.extension_said(mechanism, heard)
                }
            },
        };
        match said {
            Said::Challenge(data) => ask.challenge(&data),
            Said::Success => ask.success(),
            Said::Refuse(refusal) => ask.refuse(refusal),
        }
    }

    /// Takes the response to a challenge.
    pub(super) async fn response(&mut self, ask: ask::Response<'_>) {
        let said = match self.exchange.take() {
            Some(exchange) => self.hear(exchange, ask.response()).await,
            // Nobody waits for one: a reload took the extension away.
            None => Said::Refuse(reply::authentication_unavailable()),
        };
        match said {
            Said::Challenge(data) => ask.challenge(&data),
            Said::Success => ask.success(),
            Said::Refuse(refusal) => ask.refuse(refusal),
        }
    }

    /// Those that can work: the server's own by what the listener has to judge them with, and those of extensions.
    fn mechanisms(&self) -> Vec<String> {
        let offers = self.policy.offers(&self.facts);
        let listener = &self.post.listener;
        let users = self.post.users.as_ref().map(|users| users.load());
        let tls = self.facts.tls.as_ref();
        let possible = |mechanism: Mechanism| {
            let judged = offers.judged.contains(mechanism.name());
            match mechanism {
                Mechanism::Plain | Mechanism::Login => judged || users.is_some(),
                Mechanism::ScramSha256 => judged || users.as_ref().is_some_and(|users| users.supports_scram()),
                Mechanism::ScramSha256Plus => {
                    let bound = tls.is_some_and(|tls| tls.channel_binding.is_some());
                    bound && (judged || users.as_ref().is_some_and(|users| users.supports_scram()))
                }
                Mechanism::External => self.certificate_user().is_some(),
            }
        };
        let wanted = |mechanism: Mechanism| {
            listener.auth.mechanisms.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| own(*wanted) == mechanism))
        };
        let mut mechanisms: Vec<String> = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| wanted(*mechanism) && possible(*mechanism))
            .map(|mechanism| mechanism.name().to_owned())
            .collect();
        mechanisms.extend(offers.mechanisms.iter().cloned());
        mechanisms
    }

    /// Who a verified certificate says the client is (RFC 4422 appendix A), as names are compared.
    fn certificate_user(&self) -> Option<String> {
        let certificate = self.facts.tls.as_ref()?.client.as_ref().filter(|certificate| certificate.verified)?;
        let name = match self.post.listener.auth.external {
            config::External::CommonName => certificate.subject_cn.as_deref(),
            config::External::Email => certificate.email.as_deref(),
        };
        pillarbox_sasl::prepare_user(name?).ok()
    }

    /// Begins a mechanism of the server's own.
    fn begin(&self, mechanism: &str) -> Option<pillarbox_sasl::Exchange> {
        let own = Mechanism::named(mechanism)?;
        let offered = self.mechanisms();
        let binding = self.facts.tls.as_ref().and_then(|tls| tls.channel_binding.as_ref());
        let (nonce, external) = (auth::nonce(), self.certificate_user());
        let terms = Terms {
            plus_offered: offered.iter().any(|name| name == Mechanism::ScramSha256Plus.name()),
            channel_binding: binding.map(|binding| binding.0.as_slice()),
            external: external.as_deref(),
            nonce: &nonce,
        };
        Some(pillarbox_sasl::Exchange::begin(own, terms))
    }

    async fn hear(&mut self, exchange: Exchange, response: &[u8]) -> Said {
        let Exchange { mechanism, speaker } = exchange;
        match speaker {
            Speaker::Own(machine, judge) => self.drive(mechanism, machine, judge, Some(response)).await,
            Speaker::Extension => {
                let heard = self.policy.respond(response, &mut self.facts).await;
                self.extension_said(mechanism, heard)
            }
            // RFC 4954 section 4: what goes with a success is a challenge, to which the response is empty.
            Speaker::Finished { user, extension } if response.is_empty() => {
                self.logged_in(&mechanism, Verdict::Right { user, origin: by(extension) }, None)
            }
            Speaker::Finished { user, .. } => {
                self.logged_in(&mechanism, Verdict::Refused(reply::authentication_malformed()), Some(&user))
            }
        }
    }

    fn extension_said(&mut self, mechanism: String, heard: policy::Exchange) -> Said {
        match heard {
            policy::Exchange::Challenge(data) => {
                self.exchange = Some(Exchange { mechanism, speaker: Speaker::Extension });
                Said::Challenge(data)
            }
            policy::Exchange::Success { user, data: Some(data), extension } => {
                self.exchange = Some(Exchange { mechanism, speaker: Speaker::Finished { user, extension } });
                Said::Challenge(data)
            }
            policy::Exchange::Success { user, data: None, extension } => {
                self.logged_in(&mechanism, Verdict::Right { user, origin: by(extension) }, None)
            }
            policy::Exchange::Failure(Some(words)) => self.logged_in(&mechanism, Verdict::Refused(words), None),
            policy::Exchange::Failure(None) => self.logged_in(&mechanism, Verdict::Wrong, None),
            policy::Exchange::Later => self.logged_in(&mechanism, Verdict::Later, None),
        }
    }

    /// Leads a mechanism of the server's own from a response to what the client is told.
    async fn drive(
        &mut self,
        mechanism: String,
        mut machine: pillarbox_sasl::Exchange,
        mut judge: Option<Arc<str>>,
        response: Option<&[u8]>,
    ) -> Said {
        let mut step = machine.respond(response);
        loop {
            let user = machine.user().map(str::to_owned);
            let user = user.as_deref();
            step = match step {
                Step::Challenge(data) => {
                    self.exchange = Some(Exchange { mechanism, speaker: Speaker::Own(machine, judge) });
                    return Said::Challenge(data);
                }
                Step::Failure(Failure::Malformed) => {
                    return self.logged_in(&mechanism, Verdict::Refused(reply::authentication_malformed()), user);
                }
                Step::Failure(Failure::Refused) => return self.logged_in(&mechanism, Verdict::Wrong, user),
                Step::Password { user, password, authorization } => {
                    if let Err(refusal) = self.admits(&mechanism, &user) {
                        return Said::Refuse(refusal);
                    }
                    let verdict = self.password(&mechanism, &user, password, authorization.as_deref()).await;
                    return self.logged_in(&mechanism, verdict, Some(&user));
                }
                Step::Lookup { user } => {
                    if let Err(refusal) = self.admits(&mechanism, &user) {
                        return Said::Refuse(refusal);
                    }
                    match self.verifier(&mechanism, &user).await {
                        Ok((verifier, extension)) => {
                            judge = extension;
                            machine.verified(&verifier)
                        }
                        Err(verdict) => return self.logged_in(&mechanism, verdict, Some(&user)),
                    }
                }
                Step::Success { user } => {
                    let origin = judge.map_or(Origin::Users, by);
                    return self.logged_in(&mechanism, Verdict::Right { user: user.clone(), origin }, Some(&user));
                }
            };
        }
    }

    /// Whether this password is right. The file is asked first; whom it does not know, the extensions are asked about,
    /// and who is known nowhere costs a hash all the same.
    async fn password(&mut self, mechanism: &str, user: &str, password: Secret, wanted: Option<&str>) -> Verdict {
        let users = self.post.users.as_ref().map(|users| users.load_full());
        if !users.as_ref().is_some_and(|users| users.knows(user)) {
            let credentials = Credentials::Password { mechanism, user, password: &password, authorization: wanted };
            match self.policy.judge(credentials, &mut self.facts).await {
                Judged::Yes { user, extension } => {
                    return Verdict::Right { user, origin: by(extension) };
                }
                Judged::Later => return Verdict::Later,
                Judged::No | Judged::Nobody | Judged::Verifier { .. } => {}
            }
        }
        let Some(users) = users else { return Verdict::Wrong };
        match users.check(user, password, &self.service.hashing).await {
            Checked::Right => Verdict::Right { user: user.to_owned(), origin: Origin::Users },
            Checked::Wrong => Verdict::Wrong,
            Checked::Busy => Verdict::Later,
        }
    }

    /// What SCRAM goes on with. Whoever is unknown has a verifier, too: one that nothing fits.
    async fn verifier(&mut self, mechanism: &str, user: &str) -> Result<(Verifier, Option<Arc<str>>), Verdict> {
        let users = self.post.users.as_ref().map(|users| users.load_full());
        if !users.as_ref().is_some_and(|users| users.knows(user)) {
            match self.policy.judge(Credentials::Lookup { mechanism, user }, &mut self.facts).await {
                Judged::Verifier { verifier, extension } => return Ok((verifier, Some(extension))),
                Judged::Later => return Err(Verdict::Later),
                Judged::No | Judged::Nobody | Judged::Yes { .. } => {}
            }
        }
        Ok((users.as_ref().unwrap_or(&self.service.nobody).verifier(user), None))
    }

    /// The end of an exchange: what is known of the login, in the session, the log and the counts.
    fn logged_in(&mut self, mechanism: &str, verdict: Verdict, tried: Option<&str>) -> Said {
        let address = self.address();
        let window = self.rules.limits.auth_window;
        let (status, refusal) = match verdict {
            // Forbidding wins over everything (docs/architecture.md, rule 9).
            Verdict::Right { user, origin } if self.facts.forbidden.is_none() => {
                self.service.attempts.succeeded(address, Some(&user));
                tracing::info!(session = &*self.facts.id, mechanism, user = &*user, "logged in");
                self.facts_mut().log_in_by_auth(user, mechanism, origin);
                self.settle_login();
                return Said::Success;
            }
            Verdict::Right { .. } | Verdict::Wrong => ("fail", reply::authentication_failed()),
            Verdict::Refused(words) => ("fail", words),
            Verdict::Later => ("error", reply::authentication_unavailable()),
        };
        if status == "fail" {
            self.service.attempts.failed(address, tried, window, Instant::now());
            self.service.counters.login_failed();
        }
        let user = tried.unwrap_or_default();
        let (client, reply) = (self.facts.client_address(), refusal.to_string());
        tracing::info!(session = &*self.facts.id, mechanism, user, client = &*client, reply = &*reply, "login refused");
        let user = tried.map(str::to_owned);
        self.facts_mut().attempted(Attempt { mechanism: mechanism.to_owned(), user, status });
        Said::Refuse(refusal)
    }

    fn admits(&self, mechanism: &str, user: &str) -> Result<(), Refusal> {
        let limits = self.attempt_limits();
        let admitted = self.service.attempts.admits(self.address(), Some(user), limits, Instant::now());
        admitted.map_err(|what| self.too_many(mechanism, what))
    }

    fn too_many(&self, mechanism: &str, what: &'static str) -> Refusal {
        self.service.counters.limit_reached("auth-failures");
        let client = self.facts.client_address();
        tracing::info!(
            session = &*self.facts.id,
            mechanism,
            limit = "auth-failures",
            of = what,
            client = &*client,
            "refused"
        );
        reply::too_many_failures()
    }

    fn attempt_limits(&self) -> AttemptLimits {
        let limits = &self.rules.limits;
        AttemptLimits { failures: limits.auth_failures, window: limits.auth_window }
    }

    fn address(&self) -> Option<std::net::IpAddr> {
        self.facts.client.endpoint.address
    }
}

/// A login that an extension stands for. The client said it, so it goes where what the client said goes.
fn by(extension: Arc<str>) -> Origin {
    Origin::Extension(extension, Stage::Dialogue)
}

fn own(mechanism: config::Mechanism) -> Mechanism {
    match mechanism {
        config::Mechanism::Plain => Mechanism::Plain,
        config::Mechanism::Login => Mechanism::Login,
        config::Mechanism::ScramSha256 => Mechanism::ScramSha256,
        config::Mechanism::ScramSha256Plus => Mechanism::ScramSha256Plus,
        config::Mechanism::External => Mechanism::External,
    }
}
