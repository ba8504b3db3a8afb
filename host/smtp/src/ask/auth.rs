//! The questions of AUTH. Their debug forms do not show what the client sent.

use crate::Refusal;
use crate::server::Server;
use crate::verb::auth;

/// AUTH with a mechanism that is offered, at the right moment.
#[must_use = "the peer waits; dropped, it is told 451 4.3.0"]
#[derive(Debug)]
pub struct Auth<'a> {
    pub(super) server: &'a mut Server,
    pub(super) question: auth::Question,
}

impl Auth<'_> {
    /// The mechanism, in upper case.
    pub fn mechanism(&self) -> &str {
        &self.question.mechanism
    }

    /// The initial response, decoded: none, or some octets, which may be no octets at all (`=`).
    pub fn initial(&self) -> Option<&[u8]> {
        self.question.data.as_deref()
    }

    /// Says `334` and `data` in base64, and waits for the answer, which comes as [`Ask::Response`](crate::Ask::Response).
    pub fn challenge(self, data: &[u8]) {
        auth::challenge(self.server.answered(), self.question.mechanism, data);
    }

    /// Says `235`. The session's new settings are to say [`Auth::Done`](crate::Auth::Done).
    pub fn success(self) {
        auth::proceed(self.server.answered());
    }

    /// Says this; nothing else changes.
    pub fn refuse(self, refusal: Refusal) {
        self.server.answered().refuse(refusal);
    }
}

/// The client's answer to [`Auth::challenge`] or [`Response::challenge`].
#[must_use = "the peer waits; dropped, it is told 451 4.3.0"]
#[derive(Debug)]
pub struct Response<'a> {
    pub(super) server: &'a mut Server,
    pub(super) question: auth::Question,
}

impl Response<'_> {
    /// The mechanism, in upper case.
    pub fn mechanism(&self) -> &str {
        &self.question.mechanism
    }

    /// The answer, decoded.
    pub fn response(&self) -> &[u8] {
        self.question.data.as_deref().unwrap_or_default()
    }

    /// As [`Auth::challenge`].
    pub fn challenge(self, data: &[u8]) {
        auth::challenge(self.server.answered(), self.question.mechanism, data);
    }

    /// As [`Auth::success`].
    pub fn success(self) {
        auth::proceed(self.server.answered());
    }

    /// As [`Auth::refuse`].
    pub fn refuse(self, refusal: Refusal) {
        self.server.answered().refuse(refusal);
    }
}
