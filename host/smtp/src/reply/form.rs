//! The form of what is said: replies and refusals that cannot be malformed, and their encoder (RFC 5321 section 4.2,
//! RFC 2034, RFC 3463).
//!
//! It does not know a single sentence.

use std::borrow::Cow;
use std::fmt;

/// Octets of a reply line, code and CRLF included (RFC 5321 section 4.5.3.1.5).
const LINE: usize = 512;

/// A reply: code, enhanced code, one line or more. It cannot be malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<Cow<'static, str>>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// A reply in somebody else's words.
    ///
    /// `code` is 200 to 599. `enhanced` is an RFC 3463 code such as "5.7.1" whose class is the code's first digit; it goes
    /// on every line. Each line is printable ASCII (0x20 to 0x7E) and, with all that goes before and behind it, at most
    /// 512 octets long.
    pub fn new<T: Into<String>>(
        code: u16,
        enhanced: Option<&str>,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<Self, ReplyError> {
        if !(200..=599).contains(&code) {
            return Err(ReplyError::Code);
        }
        if let Some(enhanced) = enhanced {
            check_enhanced(code, enhanced)?;
        }
        let room = room(enhanced);
        let lines: Vec<Cow<'static, str>> = lines.into_iter().map(|line| Cow::Owned(line.into())).collect();
        if lines.is_empty() {
            return Err(ReplyError::NoLine);
        }
        for line in &lines {
            if !line.bytes().all(is_printable) {
                return Err(ReplyError::NotPrintable);
            }
            if line.len() > room {
                return Err(ReplyError::LineTooLong);
            }
        }
        Ok(Reply { code, enhanced: enhanced.map(|code| Cow::Owned(code.to_owned())), lines })
    }

    /// The code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code.
    pub fn enhanced(&self) -> Option<&str> {
        self.enhanced.as_deref()
    }

    /// The text of each line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(AsRef::as_ref)
    }

    /// Whether the peer is to go on with another line (3xx).
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// Appends the reply as it goes over the wire: `250-first`, `250 last`.
    pub fn encode(&self, wire: &mut Vec<u8>) {
        self.encode_with(self.enhanced(), wire);
    }

    /// The same without its enhanced code, for who was told of none.
    pub(crate) fn encode_bare(&self, wire: &mut Vec<u8>) {
        self.encode_with(None, wire);
    }

    fn encode_with(&self, enhanced: Option<&str>, wire: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter().enumerate() {
            wire.extend_from_slice(self.code.to_string().as_bytes());
            wire.push(if at == last { b' ' } else { b'-' });
            if let Some(enhanced) = enhanced {
                wire.extend_from_slice(enhanced.as_bytes());
                wire.push(b' ');
            }
            wire.extend_from_slice(line.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
    }

    /// A sentence of the server's own. Its parts may come from the configuration: what cannot be said becomes `?`, and
    /// what does not fit in a line is cut.
    pub(super) fn own(code: u16, enhanced: Option<&'static str>, lines: Vec<Cow<'static, str>>) -> Self {
        let room = room(enhanced);
        let lines = lines.into_iter().map(|line| speakable(line, room)).collect();
        Reply { code, enhanced: enhanced.map(Cow::Borrowed), lines }
    }

    /// A line that is no sentence but part of an exchange, and goes out whole however long it is.
    pub(super) fn verbatim(code: u16, text: String) -> Self {
        Reply { code, enhanced: None, lines: vec![text.into()] }
    }

    pub(super) fn sentence(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self::own(code, Some(enhanced), vec![text.into()])
    }
}

/// The lines as a log shows them: codes once, lines joined by ` / `.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = &self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for (at, line) in self.lines.iter().enumerate() {
            write!(f, "{}{line}", if at == 0 { " " } else { " / " })?;
        }
        Ok(())
    }
}

/// A reply that refuses: it can only be 4xx or 5xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reply: Reply,
    closes: bool,
    limit: Option<&'static str>,
}

impl Refusal {
    /// A refusal in somebody else's words, under the rules of [`Reply::new`]; 421 closes the connection.
    pub fn new<T: Into<String>>(
        code: u16,
        enhanced: Option<&str>,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<Self, ReplyError> {
        Reply::new(code, enhanced, lines)?.try_into()
    }

    /// The same refusal, and the connection is closed after it.
    #[must_use]
    pub fn closing(self) -> Self {
        Refusal { closes: true, ..self }
    }

    /// Whether the connection is closed after it. 421 always does (RFC 5321 section 3.8).
    pub fn closes(&self) -> bool {
        self.closes || self.reply.code == 421
    }

    /// What is said.
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// The limit that the peer ran into, by its key in the configuration. It is for the log, and not said.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        self.limit
    }

    pub(super) fn of_limit(self, limit: &'static str) -> Self {
        Refusal { limit: Some(limit), ..self }
    }

    pub(super) fn sentence(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Refusal { reply: Reply::sentence(code, enhanced, text), closes: false, limit: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reply.fmt(f)
    }
}

impl TryFrom<Reply> for Refusal {
    type Error = ReplyError;

    /// Fails with [`ReplyError::NotARefusal`] on 2xx and 3xx.
    fn try_from(reply: Reply) -> Result<Self, ReplyError> {
        if reply.code < 400 {
            return Err(ReplyError::NotARefusal);
        }
        Ok(Refusal { reply, closes: false, limit: None })
    }
}

/// Why something is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// The code is not 200 to 599.
    Code,
    /// The enhanced code is not three numbers of up to three digits.
    Enhanced,
    /// The enhanced code's class is not the code's.
    EnhancedClass,
    /// A line is too long for the wire.
    LineTooLong,
    /// There is no line.
    NoLine,
    /// The code is not 4xx or 5xx, where only a refusal will do.
    NotARefusal,
    /// A line holds something else than printable ASCII.
    NotPrintable,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplyError::Code => "the reply code is not between 200 and 599",
            ReplyError::Enhanced => "the enhanced code is not of the form 5.7.1",
            ReplyError::EnhancedClass => "the enhanced code's class is not that of the reply code",
            ReplyError::LineTooLong => "a reply line would be longer than 512 octets",
            ReplyError::NoLine => "the reply has no line",
            ReplyError::NotARefusal => "the reply code is not 4xx or 5xx",
            ReplyError::NotPrintable => "a reply line holds something else than printable ASCII",
        })
    }
}

impl std::error::Error for ReplyError {}

/// RFC 3463 section 2: class, subject, detail, no leading zeros. RFC 2034 section 4: the class is the reply code's first digit.
fn check_enhanced(code: u16, enhanced: &str) -> Result<(), ReplyError> {
    let is_number = |part: &str| {
        (1..=3).contains(&part.len())
            && part.bytes().all(|octet| octet.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let mut parts = enhanced.split('.');
    let (Some(class), Some(subject), Some(detail), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ReplyError::Enhanced);
    };
    if !is_number(class) || !is_number(subject) || !is_number(detail) {
        return Err(ReplyError::Enhanced);
    }
    // There is no class 3, so an intermediate reply never has one.
    if !matches!(class, "2" | "4" | "5") || class != (code / 100).to_string() {
        return Err(ReplyError::EnhancedClass);
    }
    Ok(())
}

/// Octets a line's text may have: the code, a separator, the enhanced code with a blank, and CRLF take the rest.
fn room(enhanced: Option<&str>) -> usize {
    LINE - 6 - enhanced.map_or(0, |enhanced| enhanced.len() + 1)
}

fn is_printable(octet: u8) -> bool {
    (0x20..=0x7e).contains(&octet)
}

fn speakable(line: Cow<'static, str>, room: usize) -> Cow<'static, str> {
    if line.len() <= room && line.bytes().all(is_printable) {
        return line;
    }
    line.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(room).collect::<String>().into()
}
