//! Replies of a server as octets come: bounded, whatever it sends, and nothing taken for a reply that is none.
//!
//! The file knows no socket and no command that is replied to.

use crate::spool::one_line;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// The text of each line, of which the first octets are kept; never empty.
    pub(super) lines: Vec<String>,
}

/// What a server sent is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbled {
    #[error("a line of its reply is longer than {LINE_MAX} octets")]
    LongLine,
    #[error("its reply has more than {LINES_MAX} lines or {REPLY_MAX} octets")]
    Endless,
    #[error("what it said does not begin with a reply code")]
    NoCode,
    #[error("the lines of its reply have different codes")]
    Codes,
    #[error("its reply holds a NUL")]
    Nul,
}

/// A reply of which some lines have come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    code: Option<u16>,
    lines: Vec<String>,
    octets: usize,
}

/// Octets of a line; RFC 5321 section 4.5.3.1.5 has 512.
pub(super) const LINE_MAX: usize = 4096;
const LINE_KEPT: usize = 1024;
const LINES_MAX: usize = 100;
const REPLY_MAX: usize = 64 * 1024;

impl Partial {
    /// Takes the whole lines at the front of `buffer`, up to the last one of the reply, which is answered then.
    ///
    /// A line may end with a bare LF: this is what the far side said, which nobody else is shown as SMTP again.
    ///
    /// # Errors
    /// What came is no reply, or there is no end to it.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Reply>, Garbled> {
        while let Some(end) = memchr::memchr(b'\n', buffer.get(..buffer.len().min(LINE_MAX)).unwrap_or_default()) {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            if self.line(line.strip_suffix(b"\r").unwrap_or(line))? {
                let Partial { code, lines, .. } = std::mem::take(self);
                return Ok(code.map(|code| Reply { code, lines }));
            }
        }
        if buffer.len() >= LINE_MAX { Err(Garbled::LongLine) } else { Ok(None) }
    }

    /// Whether it is the last one.
    fn line(&mut self, line: &[u8]) -> Result<bool, Garbled> {
        self.octets = self.octets.saturating_add(line.len());
        if self.lines.len() >= LINES_MAX || self.octets > REPLY_MAX {
            return Err(Garbled::Endless);
        }
        if line.contains(&0) {
            return Err(Garbled::Nul);
        }
        let (code, rest) = line.split_at_checked(3).ok_or(Garbled::NoCode)?;
        let &[first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9'] = code else {
            return Err(Garbled::NoCode);
        };
        let code = [first, second, third].iter().fold(0_u16, |code, digit| code * 10 + u16::from(digit - b'0'));
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(Garbled::NoCode),
        };
        if self.code.is_some_and(|before| before != code) {
            return Err(Garbled::Codes);
        }
        self.code = Some(code);
        let kept = text.get(..text.len().min(LINE_KEPT)).unwrap_or_default();
        self.lines.push(String::from_utf8_lossy(kept).into_owned());
        Ok(last)
    }
}

impl Reply {
    /// 2yz.
    pub(super) fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5yz.
    pub(super) fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced status code (RFC 2034) it begins with, if that is well-formed and of its class.
    pub(super) fn status(&self) -> Option<&str> {
        let first = self.lines.first()?;
        let status = first.split(' ').next()?;
        let mut parts = status.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |part: &str| {
            let canonical = part == "0" || !part.starts_with('0');
            canonical && (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit())
        };
        let sound = parts.next().is_none() && number(subject) && number(detail);
        (sound && class == (self.code / 100).to_string()).then_some(status)
    }

    /// All of it on one line, for the log and for a Diagnostic-Code.
    pub(super) fn on_one_line(&self) -> String {
        one_line(format!("{} {}", self.code, self.lines.join(" ")).trim_end())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    /// The first reply in `octets`, fed in pieces of `step`, and what is left.
    fn read(octets: &[u8], step: usize) -> (Result<Option<Reply>, Garbled>, Vec<u8>) {
        let (mut partial, mut buffer) = (Partial::default(), Vec::new());
        let mut pieces = octets.chunks(step);
        loop {
            let found = partial.take(&mut buffer);
            match pieces.next() {
                Some(piece) if matches!(found, Ok(None)) => buffer.extend_from_slice(piece),
                rest => {
                    let left = rest.into_iter().chain(pieces).flatten();
                    buffer.extend(left);
                    return (found, buffer);
                }
            }
        }
    }

    #[test]
    fn reads_replies_however_they_are_cut() {
        type Case<'a> = (&'a [u8], u16, &'a [&'a str], &'a [u8]);
        let cases: [Case<'_>; 7] = [
            (b"250 ok\r\n", 250, &["ok"], b""),
            (b"250\r\n", 250, &[""], b""),
            (b"250 \r\n", 250, &[""], b""),
            (b"250-a\r\n250-b c\r\n250 d\r\n221 x", 250, &["a", "b c", "d"], b"221 x"),
            (b"550-\r\n550\r\n", 550, &["", ""], b""),
            (b"220 bare\n250", 220, &["bare"], b"250"),
            (b"450 \xff\xc3\xa9\r\n", 450, &["\u{fffd}\u{e9}"], b""),
        ];
        for (octets, code, lines, left) in cases {
            for step in [1, 2, 3, 7, 1000] {
                let (found, rest) = read(octets, step);
                let reply = found.unwrap().unwrap();
                assert_eq!(
                    (reply.code, &reply.lines[..]),
                    (code, &lines.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
                );
                assert_eq!(rest, left, "{step}");
            }
        }
    }

    #[test]
    fn takes_nothing_else_for_one() {
        let long = [b"250 ".to_vec(), vec![b'x'; LINE_MAX]].concat();
        let lines = b"250-x\r\n".repeat(LINES_MAX + 1);
        let octets = [b"250-".to_vec(), vec![b'x'; 4000], b"\r\n".to_vec()].concat().repeat(20);
        let cases: [(&[u8], Garbled); 11] = [
            (b"25\r\n", Garbled::NoCode),
            (b"\r\n", Garbled::NoCode),
            (b"250ok\r\n", Garbled::NoCode),
            (b"150 no\r\n", Garbled::NoCode),
            (b"650 no\r\n", Garbled::NoCode),
            (b"2 0 no\r\n", Garbled::NoCode),
            (b"HTTP/1.1 400 Bad Request\r\n", Garbled::NoCode),
            (b"250-a\r\n251 b\r\n", Garbled::Codes),
            (b"250 a\0b\r\n", Garbled::Nul),
            (&lines, Garbled::Endless),
            (&octets, Garbled::Endless),
        ];
        for (octets, garbled) in cases {
            for step in [1, 1000] {
                assert_eq!(read(octets, step).0, Err(garbled), "{:?}", String::from_utf8_lossy(octets));
            }
        }
        assert_eq!(read(&long, 512).0, Err(Garbled::LongLine));
        // Without an end it is no reply yet.
        assert_eq!(read(b"250 ok", 1).0, Ok(None));
    }

    #[test]
    fn knows_enhanced_status_codes() {
        let cases = [
            (250, "2.1.0 ok", Some("2.1.0")),
            (550, "5.1.1", Some("5.1.1")),
            (450, "4.2.0 x", Some("4.2.0")),
            (550, "4.1.1 wrong class", None),
            (550, "5.1 short", None),
            (550, "5.1.1.1 long", None),
            (550, "5.01.1 zero", None),
            (550, "5.1.1234 x", None),
            (550, "no such user", None),
            (550, "", None),
        ];
        for (code, text, status) in cases {
            let reply = Reply { code, lines: vec![text.to_owned()] };
            assert_eq!(reply.status(), status, "{text}");
        }
    }
}
