//! Making replies and decisions, and looking into parameters. Nothing here calls the host.

use crate::{Decision, Parameter, Reply, Verdict};

impl Reply {
    /// A reply of one line.
    ///
    /// `code` has three digits, `enhanced` is an RFC 3463 code whose class fits it ("5.7.1"), or `None` for a 3xx.
    /// `text` is printable ASCII without a line end: the host fails a call that answers anything else. What a peer
    /// said goes through [`printable`](crate::printable()) first.
    pub fn new<'a>(code: u16, enhanced: impl Into<Option<&'a str>>, text: impl Into<String>) -> Self {
        Self::lines(code, enhanced, vec![text.into()])
    }

    /// A reply of several lines.
    pub fn lines<'a>(code: u16, enhanced: impl Into<Option<&'a str>>, text: Vec<String>) -> Self {
        Self { code, enhanced: enhanced.into().map(str::to_owned), text }
    }
}

/// Which hook may answer which of these, and which of them the operator let this extension use, is the host's to
/// judge: an answer outside the grant is taken as [`next`](Decision::next).
impl Decision {
    /// No opinion: the next extension is asked, then the host goes on.
    pub fn next() -> Self {
        Verdict::Next.into()
    }

    /// Go on, and ask no further extension at this step. The host's own checks stand all the same.
    pub fn accept() -> Self {
        Verdict::Accept.into()
    }

    /// Refuse for now, with a 4xx reply or, given `None`, with the host's own.
    pub fn tempfail(reply: impl Into<Option<Reply>>) -> Self {
        Verdict::Tempfail(reply.into()).into()
    }

    /// Refuse for good, with a 5xx reply or, given `None`, with the host's own.
    pub fn reject(reply: impl Into<Option<Reply>>) -> Self {
        Verdict::Reject(reply.into()).into()
    }

    /// Say a 421 or 5xx, or the host's own refusal given `None`, and close the connection.
    pub fn disconnect(reply: impl Into<Option<Reply>>) -> Self {
        Verdict::Disconnect(reply.into()).into()
    }

    /// Answer as if all were well and deliver nothing.
    pub fn discard() -> Self {
        Verdict::Discard.into()
    }

    /// Answer 250 and keep the message aside for the operator, for this reason.
    pub fn quarantine(reason: impl Into<String>) -> Self {
        Verdict::Quarantine(reason.into()).into()
    }

    /// The same decision, with the peer made to wait this many milliseconds for it. The listener caps the wait.
    #[must_use]
    pub fn delayed(mut self, milliseconds: u32) -> Self {
        self.delay_ms = milliseconds;
        self
    }
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, delay_ms: 0 }
    }
}

/// Finding one of MAIL's or RCPT's parameters by its keyword. Keywords compare without case.
pub trait Parameters {
    /// The parameter of this keyword.
    fn parameter(&self, keyword: &str) -> Option<&Parameter>;

    /// Its value; none when it is not there or has none.
    fn value(&self, keyword: &str) -> Option<&str> {
        self.parameter(keyword)?.value.as_deref()
    }
}

impl Parameters for [Parameter] {
    fn parameter(&self, keyword: &str) -> Option<&Parameter> {
        self.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(keyword))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_reply_has_its_parts() {
        let reply = Reply::new(550, "5.7.1", "no");
        assert_eq!((reply.code, reply.enhanced.as_deref(), reply.text), (550, Some("5.7.1"), vec!["no".to_owned()]));
        assert_eq!(Reply::new(354, None, "go on").enhanced, None);
    }

    #[test]
    fn a_decision_waits_only_when_told() {
        assert_eq!(Decision::next().delay_ms, 0);
        let slow = Decision::reject(Reply::new(550, "5.7.1", "no")).delayed(250);
        assert_eq!(slow.delay_ms, 250);
        assert!(matches!(slow.verdict, Verdict::Reject(Some(_))));
        assert!(matches!(Decision::tempfail(None).verdict, Verdict::Tempfail(None)));
    }

    #[test]
    fn parameters_are_found_without_case() {
        let parameters = [
            Parameter { name: "SIZE".into(), value: Some("12".into()) },
            Parameter { name: "SMTPUTF8".into(), value: None },
        ];
        assert_eq!(parameters.value("size"), Some("12"));
        assert_eq!(parameters.value("SMTPUTF8"), None);
        assert!(parameters.parameter("smtputf8").is_some());
        assert!(parameters.parameter("BODY").is_none());
    }
}
