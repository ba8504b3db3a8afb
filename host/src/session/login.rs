//! AUTH: which mechanisms this client is offered now, and one exchange from its first response to the login or its
//! refusal (RFC 4954).
//!
//! The mechanisms of the server's own are machines in `pillarbox_sasl`; who is right, the users' file knows, or an
//! extension. What an unknown user costs is what a known one costs. Nothing here logs or keeps a secret.

use super::context::{Origin, Stage};
use super::facts::{Attempt, Login};
use super::policy::{self, Credentials, Judged};
use super::session::Session;
use crate::auth::{self, AttemptLimits, Checked};
use pillarbox_sasl::{Failure, Mechanism, Secret, Step, Terms, Verifier};
use pillarbox_smtp::{Refusal, ask, reply};
use std::sync::Arc;
use std::time::Instant;

/// An exchange under way, between two lines of the client.
pub(super) struct Exchange {
    /// In upper case.
    mechanism: String,
    speaker: Speaker,
}

enum Speaker {
    /// The server; with who knew the user, once somebody did.
    Own(pillarbox_sasl::Exchange, Ground),
    /// The extension that declared the mechanism.
    Extension,
    /// An extension that has said all it had to say: the response ends it well.
    Finished { user: String, extension: Arc<str> },
}

/// What a login rests on.
struct Ground {
    origin: Origin,
    /// Of a user of the file, the entry that was compared with. It may be another by the time the exchange ends.
    print: Option<[u8; 32]>,
}

/// What the client is told next.
enum Said {
    Challenge(Vec<u8>),
    Success,
    Refuse(Refusal),
}

/// Who says that a login is right, and who it is.
enum Verdict {
    Right { user: String, ground: Ground },
    Wrong,
    Later,
    Refused(Refusal),
}

impl Session {
    /// Takes AUTH, with the response it may have brought.
    pub(super) async fn authenticate(&mut self, ask: ask::Auth<'_>) {
        let mechanism = ask.mechanism().to_owned();
        self.exchange = None;
        let said = match self.admits(&mechanism, None) {
            Err(refusal) => Said::Refuse(refusal),
            Ok(()) => match self.begin(&mechanism) {
                Some(machine) => self.drive(mechanism, machine, Ground::of_users(None), ask.initial()).await,
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

    /// Begins a mechanism of the server's own.
    fn begin(&self, mechanism: &str) -> Option<pillarbox_sasl::Exchange> {
        let own = Mechanism::named(mechanism)?;
        let offered = self.mechanisms(&self.policy.offers(&self.facts));
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
        let user = match &speaker {
            Speaker::Own(machine, _) => machine.user(),
            Speaker::Extension => None,
            Speaker::Finished { user, .. } => Some(user.as_str()),
        };
        // Asked before each response: many exchanges may have been begun at one time, and a challenge that answers the
        // right guess alone, as SCRAM's proof of the server does, would tell which it was.
        if let Err(refusal) = self.admits(&mechanism, user) {
            return Said::Refuse(refusal);
        }
        match speaker {
            Speaker::Own(machine, ground) => self.drive(mechanism, machine, ground, Some(response)).await,
            Speaker::Extension => {
                let heard = self.policy.respond(response, &mut self.facts).await;
                self.extension_said(mechanism, heard)
            }
            // RFC 4954 section 4: what goes with a success is a challenge, to which the response is empty.
            Speaker::Finished { user, extension } if response.is_empty() => {
                self.logged_in(&mechanism, Verdict::Right { user, ground: Ground::of(extension) }, None)
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
                self.logged_in(&mechanism, Verdict::Right { user, ground: Ground::of(extension) }, None)
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
        mut ground: Ground,
        response: Option<&[u8]>,
    ) -> Said {
        let mut step = machine.respond(response);
        loop {
            let user = machine.user().map(str::to_owned);
            let user = user.as_deref();
            step = match step {
                Step::Challenge(data) => {
                    self.exchange = Some(Exchange { mechanism, speaker: Speaker::Own(machine, ground) });
                    return Said::Challenge(data);
                }
                Step::Failure(Failure::Malformed) => {
                    return self.logged_in(&mechanism, Verdict::Refused(reply::authentication_malformed()), user);
                }
                Step::Failure(Failure::Refused) => return self.logged_in(&mechanism, Verdict::Wrong, user),
                Step::Password { user, password, authorization } => {
                    if let Err(refusal) = self.admits(&mechanism, Some(&user)) {
                        return Said::Refuse(refusal);
                    }
                    let verdict = self.password(&mechanism, &user, password, authorization.as_deref()).await;
                    return self.logged_in(&mechanism, verdict, Some(&user));
                }
                Step::Lookup { user } => {
                    if let Err(refusal) = self.admits(&mechanism, Some(&user)) {
                        return Said::Refuse(refusal);
                    }
                    match self.verifier(&mechanism, &user).await {
                        Ok((verifier, found)) => {
                            ground = found;
                            machine.verified(&verifier)
                        }
                        Err(verdict) => return self.logged_in(&mechanism, verdict, Some(&user)),
                    }
                }
                Step::Success { user } => {
                    return self.logged_in(&mechanism, Verdict::Right { user: user.clone(), ground }, Some(&user));
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
                    return Verdict::Right { user, ground: Ground::of(extension) };
                }
                Judged::Later => return Verdict::Later,
                Judged::No | Judged::Nobody | Judged::Verifier { .. } => {}
            }
        }
        let Some(users) = users else { return Verdict::Wrong };
        let print = users.print(user);
        match users.check(user, password, &self.service.hashing).await {
            Checked::Right => Verdict::Right { user: user.to_owned(), ground: Ground::of_users(print) },
            Checked::Wrong => Verdict::Wrong,
            Checked::Busy => Verdict::Later,
        }
    }

    /// What SCRAM goes on with. Whoever is unknown has a verifier, too: one that nothing fits.
    async fn verifier(&mut self, mechanism: &str, user: &str) -> Result<(Verifier, Ground), Verdict> {
        let users = self.post.users.as_ref().map(|users| users.load_full());
        if !users.as_ref().is_some_and(|users| users.knows(user)) {
            match self.policy.judge(Credentials::Lookup { mechanism, user }, &mut self.facts).await {
                Judged::Verifier { verifier, extension } => return Ok((verifier, Ground::of(extension))),
                Judged::Later => return Err(Verdict::Later),
                Judged::No | Judged::Nobody | Judged::Yes { .. } => {}
            }
        }
        let users = users.as_ref().unwrap_or(&self.service.nobody);
        Ok((users.verifier(user), Ground::of_users(users.print(user))))
    }

    /// The end of an exchange: what is known of the login, in the session, the log and the counts.
    fn logged_in(&mut self, mechanism: &str, verdict: Verdict, tried: Option<&str>) -> Said {
        let address = self.address();
        let limits = self.attempt_limits();
        let user = match &verdict {
            Verdict::Right { user, .. } => Some(user.as_str()),
            _ => tried,
        };
        // Asked again: many may have been let in to try at one time.
        if let Err(what) = self.service.attempts.admits(address, user, limits, Instant::now()) {
            if let Verdict::Wrong = verdict {
                let _ = self.service.attempts.failed(address, tried, limits, Instant::now());
            }
            return Said::Refuse(self.too_many(mechanism, user, what));
        }
        let (status, refusal) = match verdict {
            // Forbidding wins over everything (docs/architecture.md, rule 9).
            Verdict::Right { user, ground: Ground { origin, print } } if self.facts.forbidden.is_none() => {
                self.service.attempts.succeeded(address, Some(&user));
                let (by, client) = (judge(&origin), self.facts.client_address());
                tracing::info!(session = &*self.facts.id, mechanism, user = &*user, by, client = &*client, "logged in");
                self.proof = print;
                self.facts_mut().log_in_by_auth(user, mechanism, origin);
                self.settle_login();
                return Said::Success;
            }
            Verdict::Right { .. } | Verdict::Wrong => ("fail", reply::authentication_failed()),
            Verdict::Refused(words) => ("fail", words),
            Verdict::Later => ("error", reply::authentication_unavailable()),
        };
        if status == "fail" {
            // Another may have failed since.
            if let Err(what) = self.service.attempts.failed(address, tried, limits, Instant::now()) {
                return Said::Refuse(self.too_many(mechanism, tried, what));
            }
            self.service.counters.login_failed();
        }
        let user = tried.unwrap_or_default();
        let (client, reply) = (self.facts.client_address(), refusal.to_string());
        tracing::info!(session = &*self.facts.id, mechanism, user, client = &*client, reply = &*reply, "login refused");
        let user = tried.map(str::to_owned);
        self.facts_mut().attempted(Attempt { mechanism: mechanism.to_owned(), user, status });
        Said::Refuse(refusal)
    }

    fn admits(&self, mechanism: &str, user: Option<&str>) -> Result<(), Refusal> {
        let limits = self.attempt_limits();
        let admitted = self.service.attempts.admits(self.address(), user, limits, Instant::now());
        admitted.map_err(|what| self.too_many(mechanism, user, what))
    }

    fn too_many(&self, mechanism: &str, user: Option<&str>, what: &'static str) -> Refusal {
        self.service.counters.limit_reached("auth-failures");
        let (session, client) = (&*self.facts.id, &*self.facts.client_address());
        let user = user.unwrap_or_default();
        let (refusal, limit) = (reply::too_many_failures(), "auth-failures");
        let reply = refusal.to_string();
        tracing::info!(session, mechanism, user, limit, of = what, client, reply, "login refused");
        refusal
    }

    fn attempt_limits(&self) -> AttemptLimits {
        let limits = &self.rules.limits;
        AttemptLimits { failures: limits.auth_failures, window: limits.auth_window }
    }

    fn address(&self) -> Option<std::net::IpAddr> {
        // Whoever is unknown is counted where it comes from.
        self.facts.client.endpoint.address.or(Some(self.door))
    }

    /// What proves a user of the file now.
    fn print(&self, user: &str) -> Option<[u8; 32]> {
        self.post.users.as_ref()?.load().print(user)
    }

    /// The exchange is over, and nobody said how. A client that leaves an extension's before its end has mostly been told
    /// already that it failed (RFC 7628 section 3.2.3), so it counts.
    pub(super) fn leave_exchange(&mut self) {
        let Some(Exchange { speaker: Speaker::Extension, mechanism }) = self.exchange.take() else { return };
        let client = self.facts.client_address();
        // There is nobody to be told.
        let _ = self.service.attempts.failed(self.address(), None, self.attempt_limits(), Instant::now());
        self.service.counters.login_failed();
        tracing::info!(session = &*self.facts.id, mechanism = &*mechanism, client = &*client, "login left");
    }

    /// A login lasts as long as what it rests on: the user and the password in the file, the mechanism, TLS. Looked at
    /// before each command, for the file changes by itself.
    pub(super) fn check_login(&mut self) {
        let Some(Login { user, mechanism, origin: Origin::Users }) = &self.facts.login else { return };
        let listener = &self.post.listener;
        let secure = self.facts.tls.is_some() || listener.auth.without_tls;
        let holds = match mechanism == Mechanism::External.name() {
            true => self.certificate_user().is_some_and(|named| named == *user),
            false => self.proof.is_some() && self.proof == self.print(user),
        };
        let wanted = |wanted: &[Mechanism]| wanted.iter().any(|wanted| wanted.name() == mechanism);
        if secure && holds && listener.auth.mechanisms.as_deref().is_none_or(wanted) {
            return;
        }
        tracing::info!(session = &*self.facts.id, user = &**user, mechanism = &**mechanism, "login ended");
        self.facts_mut().log_out();
        self.settle_login();
    }
}

impl Ground {
    /// A user of the file, or a certificate.
    fn of_users(print: Option<[u8; 32]>) -> Ground {
        Ground { origin: Origin::Users, print }
    }

    /// An extension that stands for it. The client said it, so it goes where what the client said goes.
    fn of(extension: Arc<str>) -> Ground {
        Ground { origin: Origin::Extension(extension, Stage::Dialogue), print: None }
    }
}

/// Who stands for a login, for the log.
fn judge(origin: &Origin) -> &str {
    match origin {
        Origin::Extension(name, _) => name,
        Origin::Users | Origin::Host | Origin::Tls | Origin::Listener => "users",
    }
}
