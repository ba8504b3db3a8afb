//! Logins of one session: a mechanism that an extension speaks itself, and credentials that extensions judge.
//!
//! A call that fails has said nothing, and so nobody is logged in by it; what the peer hears of it is the operator's
//! `on-failure`. What is handed to guests here is secret: it is logged nowhere, and no failure quotes it.

use super::failure::note_failure;
use super::{Guests, Pending};
use crate::config::OnFailure;
use crate::extension::call::Call;
use crate::extension::interface::Hook;
use crate::extension::roster::Entry;
use crate::extension::verdict::{self, Judgement, Step};
use crate::session::context::Stage;
use crate::session::facts::Facts;
use crate::session::policy::{Credentials, Exchange, Judged};
use pillarbox_smtp::reply;
use std::sync::Arc;

impl Guests {
    /// Begins an exchange with the extension that speaks the mechanism.
    pub(super) async fn begin_exchange(
        &mut self,
        mechanism: &str,
        initial: Option<&[u8]>,
        facts: &mut Arc<Facts>,
    ) -> Exchange {
        self.pending = None;
        let speaks = |entry: &Arc<Entry>| entry.speaks(mechanism) && entry.is_there(facts);
        match self.entries.iter().position(speaks) {
            Some(index) => self.step(index, Call::Authenticate(mechanism, initial), facts).await,
            // Nobody comes here by what `offers` said, except when a reload took the mechanism away in between.
            None => Exchange::Later,
        }
    }

    /// Hands it the next response.
    pub(super) async fn resume_exchange(&mut self, response: &[u8], facts: &mut Arc<Facts>) -> Exchange {
        match self.take_pending(Hook::Authenticate) {
            Some(Pending { index, state, .. }) => self.step(index, Call::Respond(&state, response), facts).await,
            None => Exchange::Later,
        }
    }

    async fn step(&mut self, index: usize, call: Call<'_>, facts: &mut Arc<Facts>) -> Exchange {
        let Some(entry) = self.entries.get(index).cloned() else { return Exchange::Later };
        let linked = &entry.linked;
        let settled = self.call(index, linked, call, facts).await.and_then(|settled| settled.judge(verdict::step));
        let (step, settlement) = match settled {
            Ok(settled) => settled,
            Err(failure) => {
                note_failure(linked, facts, Hook::Authenticate, &failure);
                return match linked.on_failure.at(Hook::Authenticate.name()) {
                    // The command must be answered, and nobody else speaks this mechanism.
                    OnFailure::Tempfail | OnFailure::Skip => Exchange::Later,
                    OnFailure::Reject => Exchange::Failure(None),
                    OnFailure::Disconnect => Exchange::Failure(Some(reply::extension_failed_at_connect().closing())),
                };
            }
        };
        // Who the client is, it cannot change here.
        let _identities = settlement.apply(self, index, facts, Stage::Dialogue);
        match step {
            Step::Challenge(challenge, state) => {
                self.pending = Some(Pending { hook: Hook::Authenticate, index, state });
                Exchange::Challenge(challenge)
            }
            Step::Success(user, data) => Exchange::Success { user, data, extension: linked.name.clone() },
            Step::Failure(refusal) => Exchange::Failure(refusal),
            Step::Later => Exchange::Later,
        }
    }

    /// Asks those who judge this mechanism, in order, until one says anything but `no`.
    pub(super) async fn judge_all(&mut self, credentials: Credentials<'_>, facts: &mut Arc<Facts>) -> Judged {
        let (mechanism, call) = match credentials {
            Credentials::Password { mechanism, user, password, authorization } => {
                (mechanism, Call::Password { user, password: password.expose(), authorization })
            }
            Credentials::Lookup { mechanism, user } => (mechanism, Call::Lookup(user)),
        };
        let mut judged = Judged::Nobody;
        for index in 0..self.chairs.len() {
            let Some(entry) = self.entries.get(index).cloned() else { break };
            if !entry.judges(mechanism) || !entry.is_there(facts) {
                continue;
            }
            let linked = &entry.linked;
            let settled = self.call(index, linked, call.clone(), facts).await;
            match settled.and_then(|settled| settled.judge(|said| verdict::judgement(&credentials, said))) {
                Ok((judgement, settlement)) => {
                    let _identities = settlement.apply(self, index, facts, Stage::Dialogue);
                    let extension = linked.name.clone();
                    match judgement {
                        // The next may know the user.
                        Judgement::No => judged = Judged::No,
                        Judgement::Yes(user) => return Judged::Yes { user, extension },
                        Judgement::Verifier(verifier) => return Judged::Verifier { verifier, extension },
                        Judgement::Later => return Judged::Later,
                    }
                }
                Err(failure) => {
                    note_failure(linked, facts, Hook::Verify, &failure);
                    match linked.on_failure.at(Hook::Verify.name()) {
                        OnFailure::Skip => {}
                        OnFailure::Reject => return Judged::No,
                        // A judgement has no words of its own to close with.
                        OnFailure::Tempfail | OnFailure::Disconnect => return Judged::Later,
                    }
                }
            }
        }
        judged
    }
}
