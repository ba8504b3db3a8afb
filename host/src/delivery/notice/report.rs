//! The words of a notice: what it says to people, what it says to machines (RFC 3464), and the header around both.
//!
//! Whatever a peer chose goes through `text` on its way in. The room does not know who is told, nor what of the original
//! comes back.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use super::original::Original;
use super::text::{ascii, date, field, folded_field, wrapped};
use super::wish::{self, Action};
use super::{Report, Told};
use crate::spool::{Envelope, Failure, MessageId, one_line};

/// What a notice is about.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The notice's own id.
    pub(super) id: &'a MessageId,
    /// The name of the server that tells.
    pub(super) hostname: &'a str,
    /// The envelope of the original.
    pub(super) envelope: &'a Envelope,
    /// Who is told of, and what; at least one.
    pub(super) told: &'a [Told<'a>],
    /// In milliseconds since 1970.
    pub(super) now: u64,
}

/// A notice, but for what comes back of the original, which stands between `head` and `tail`.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) head: String,
    pub(super) tail: String,
    /// Whether there are octets beyond ASCII.
    pub(super) eight_bit: bool,
}

impl Subject<'_> {
    /// How the lines between the parts begin; an ending follows.
    pub(super) fn delimiter(&self) -> String {
        format!("--{}", self.boundary(""))
    }

    /// Whether addresses stand in it as they are, because that of the sender is beyond ASCII itself (RFC 6533): then its
    /// notice takes SMTPUTF8 anyhow, and otherwise it must not.
    pub(super) fn is_utf8(&self) -> bool {
        !self.envelope.sender.is_ascii()
    }

    /// Writes all but what comes back.
    pub(super) fn frame(&self, original: &Original) -> Frame {
        let (explanation, status) = (self.explanation(original.whole), self.status());
        let delimiter = self.delimiter();
        let is_free = |ending: &String| {
            let line = format!("{delimiter}{ending}");
            let comes_back = original.taken.iter().any(|taken| taken.as_slice() == ending.as_bytes());
            !comes_back && !explanation.contains(&line) && !status.contains(&line)
        };
        // One of so many is free: a part that may come back holds fewer.
        let ending = (0..=u32::MAX).map(|at| format!("{at:08x}")).find(is_free).unwrap_or_default();
        let boundary = self.boundary(&ending);
        let global = wish::smtputf8(self.envelope) && original.has_utf8_header();
        let eight_bit = self.is_utf8() || original.eight_bit || !explanation.is_ascii() || !status.is_ascii();
        let status_type = if self.is_utf8() { "message/global-delivery-status" } else { "message/delivery-status" };
        // RFC 6532 section 3.7 wants these as they are even where only 8BITMIME is there.
        let returned_type = match (global, original.whole) {
            (true, true) => "message/global",
            (true, false) => "message/global-headers",
            (false, true) => "message/rfc822",
            (false, false) => "text/rfc822-headers",
        };
        let charset = if explanation.is_ascii() { "us-ascii" } else { "utf-8" };
        let mut head = self.header(original, &boundary, eight_bit);
        let bits = |eight: bool| if eight { "8bit" } else { "7bit" };
        head.push_str(&format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset={charset}\r\nContent-Description: Notification\r\n\
             Content-Transfer-Encoding: {}\r\n\r\n{explanation}\r\n\
             --{boundary}\r\nContent-Type: {status_type}\r\nContent-Description: Delivery report\r\n\
             Content-Transfer-Encoding: {}\r\n\r\n{status}\r\n\
             --{boundary}\r\nContent-Type: {returned_type}\r\nContent-Description: {}\r\n\
             Content-Transfer-Encoding: {}\r\n\r\n",
            bits(!explanation.is_ascii()),
            bits(!status.is_ascii()),
            if original.whole { "Your message" } else { "Header of your message" },
            bits(original.eight_bit),
        ));
        Frame { head, tail: format!("\r\n--{boundary}--\r\n"), eight_bit }
    }

    fn boundary(&self, ending: &str) -> String {
        let digest: String =
            Sha256::digest(self.id.as_str()).iter().take(8).map(|octet| format!("{octet:02x}")).collect();
        format!("=_{digest}.{ending}")
    }

    fn header(&self, original: &Original, boundary: &str, eight_bit: bool) -> String {
        let hostname = domain(self.hostname);
        let gravest = self.told.iter().map(|told| told.action).max();
        let mut header = String::new();
        field(&mut header, "Date", &date(self.now));
        field(&mut header, "From", &format!("Mail Delivery System <MAILER-DAEMON@{hostname}>"));
        field(&mut header, "To", &format!("<{}>", self.envelope.sender));
        field(&mut header, "Subject", gravest.map_or("", title));
        field(&mut header, "Message-ID", &format!("<{}@{hostname}>", self.id));
        // RFC 3834 section 3.1.5.
        if let Some(id) = original.message_id() {
            field(&mut header, "In-Reply-To", &id);
            field(&mut header, "References", &id);
        }
        // RFC 3834 section 5: nobody answers it.
        field(&mut header, "Auto-Submitted", "auto-replied");
        field(&mut header, "MIME-Version", "1.0");
        header.push_str(&format!(
            "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{boundary}\"\r\n"
        ));
        field(&mut header, "Content-Transfer-Encoding", if eight_bit { "8bit" } else { "7bit" });
        header
    }

    fn explanation(&self, whole: bool) -> String {
        let mut text = format!("This is the mail server {}.\r\n", domain(self.hostname));
        for action in [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed] {
            let mut told = self.told.iter().filter(|told| told.action == action).peekable();
            if told.peek().is_some() {
                text.push_str("\r\n");
                wrapped(&mut text, "", "", heading(action));
            }
            for told in told {
                text.push_str("\r\n");
                explain(&mut text, told);
            }
        }
        text.push_str("\r\n");
        let what = if whole { "The message is" } else { "Its header is" };
        let mut arrival = format!("Your message arrived here on {}.", date(self.envelope.received));
        if let Some(id) = wish::envelope_id(self.envelope) {
            arrival.push_str(&format!(" Its envelope identifier is {id}."));
        }
        wrapped(&mut text, "", "", &format!("{arrival} {what} attached."));
        text
    }

    /// RFC 3464 section 2.
    fn status(&self) -> String {
        let mut text = String::new();
        if let Some(id) = wish::envelope_id(self.envelope) {
            field(&mut text, "Original-Envelope-Id", &ascii(&id));
        }
        field(&mut text, "Reporting-MTA", &format!("dns; {}", domain(self.hostname)));
        if let Some(helo) = &self.envelope.helo {
            field(&mut text, "Received-From-MTA", &format!("dns; {}", domain(helo)));
        }
        field(&mut text, "Arrival-Date", &date(self.envelope.received));
        for told in self.told {
            text.push_str("\r\n");
            self.recipient_status(&mut text, told);
        }
        text
    }

    fn recipient_status(&self, text: &mut String, told: &Told<'_>) {
        let speakable = |said: &str| if self.is_utf8() { one_line(said) } else { ascii(said) };
        if let Some((kind, address)) = wish::original_recipient(told.recipient) {
            let address = match kind.as_str() {
                "utf-8" if self.is_utf8() => one_line(&address),
                "utf-8" => escaped(&address, |c| c.is_ascii()),
                _ => ascii(&address),
            };
            field(text, "Original-Recipient", &format!("{kind}; {address}"));
        }
        let address = address(told, self.hostname);
        let typed = match (address.is_ascii(), self.is_utf8()) {
            (true, _) => format!("rfc822; {}", ascii(&address)),
            (false, true) => format!("utf-8; {address}"),
            // RFC 6533 section 3: how it is written where there is nothing but ASCII.
            (false, false) => {
                format!("utf-8; {}", escaped(&address, |c| c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\')))
            }
        };
        field(text, "Final-Recipient", &typed);
        field(text, "Action", told.action.as_str());
        field(text, "Status", &status(told));
        let (remote, reply) = match told.report {
            Report::Failed(failure) | Report::Delayed(Some(failure), _) => (&failure.remote, &failure.reply),
            Report::Delivered(receipt) => (&receipt.remote, &receipt.reply),
            Report::Delayed(None, _) => (&None, &None),
        };
        if let Some(remote) = remote.as_deref().filter(|remote| !remote.is_empty()) {
            field(text, "Remote-MTA", &format!("dns; {}", domain(remote)));
        }
        if let Some(reply) = reply {
            folded_field(text, "Diagnostic-Code", &format!("smtp; {}", speakable(reply)));
        }
        field(text, "Last-Attempt-Date", &date(self.now));
        if let Report::Delayed(_, until) = told.report {
            field(text, "Will-Retry-Until", &date(*until));
        }
    }
}

fn title(action: Action) -> &'static str {
    match action {
        Action::Failed => "Your message could not be delivered",
        Action::Delayed => "Your message is delayed",
        Action::Delivered | Action::Relayed => "Your message was delivered",
    }
}

fn heading(action: Action) -> &'static str {
    match action {
        Action::Failed => "Your message could not be delivered to the following, and will not be tried again:",
        Action::Delayed => {
            "Your message could not be delivered to the following so far. It is tried again by itself; you need not send it \
             once more:"
        }
        Action::Delivered => "Your message was delivered to the following, as you wished to know:",
        Action::Relayed => {
            "Your message was passed on for the following to a server that sends no notices of delivery. If it is \
             delivered, you will not hear of it:"
        }
    }
}

fn explain(text: &mut String, told: &Told<'_>) {
    let address = &told.recipient.address;
    let written = wish::original_recipient(told.recipient).filter(|(_, original)| original != address);
    match written {
        Some((_, original)) => wrapped(text, "  ", "    ", &format!("<{address}>, sent to <{original}>")),
        None => wrapped(text, "  ", "    ", &format!("<{address}>")),
    }
    let sentence = |text: &mut String, said: &str| wrapped(text, "    ", "    ", said);
    match told.report {
        Report::Failed(failure) => explain_failure(text, failure),
        Report::Delayed(failure, until) => {
            failure.iter().for_each(|failure| explain_failure(text, failure));
            sentence(text, &format!("It is given up on {}.", date(*until)));
        }
        Report::Delivered(receipt) => {
            if let (Some(remote), Some(reply)) = (&receipt.remote, &receipt.reply) {
                sentence(text, &format!("{} said: {reply}", domain(remote)));
            }
        }
    }
}

/// What only this server says of a failure is for its log: it names files, and hosts of the inside.
fn explain_failure(text: &mut String, failure: &Failure) {
    let remote = failure.remote.as_deref().map(domain);
    let mut said = phrase(&failure.status).to_owned();
    if let Some([class, subject, detail]) = failure.cause {
        said = format!("{said} The last attempt: {}", phrase(&format!("{class}.{subject}.{detail}")));
    }
    let said = match (&remote, &failure.reply) {
        (Some(remote), Some(reply)) => format!("{said} {remote} said: {reply}"),
        (None, Some(reply)) => format!("{said} The reply was: {reply}"),
        (Some(remote), None) => format!("{said} This happened with {remote}."),
        (None, None) => said,
    };
    wrapped(text, "    ", "    ", &said);
}

/// A status of the class that the action takes (RFC 3464 section 2.3.4). A failure may be of class 4: what would pass did
/// not in all the time there was.
fn status(told: &Told<'_>) -> String {
    let failure = match told.report {
        Report::Delivered(_) if told.action == Action::Relayed => return "2.1.9".to_owned(),
        Report::Delivered(_) => return "2.0.0".to_owned(),
        // RFC 2852 section 4.1: that it is late is all there is to say.
        Report::Delayed(None, _) => return "4.4.7".to_owned(),
        Report::Delayed(Some(failure), _) | Report::Failed(failure) => failure,
    };
    let detail = detail(&failure.status).unwrap_or("0.0");
    let class = match (told.action, failure.status.as_bytes().first()) {
        (Action::Delayed, _) | (_, Some(b'4')) => '4',
        _ => '5',
    };
    format!("{class}.{detail}")
}

/// Subject and detail of a well-formed status code (RFC 3463 section 2).
fn detail(status: &str) -> Option<&str> {
    let (class, rest) = status.split_once('.')?;
    let (subject, detail) = rest.split_once('.')?;
    let number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    (matches!(class, "2" | "4" | "5") && number(subject) && number(detail)).then_some(rest)
}

/// What a status code means, as a sentence.
fn phrase(status: &str) -> &'static str {
    let detail = detail(status).unwrap_or("0.0");
    match detail {
        "1.0" | "1.1" | "1.4" => "There is no such mailbox.",
        "1.2" => "There is no such domain, or it takes no mail.",
        "1.3" => "The address is malformed.",
        "1.6" => "The mailbox has moved.",
        "1.10" => "The domain takes no mail.",
        "2.1" => "The mailbox is closed.",
        "2.2" => "The mailbox is full.",
        "2.3" | "3.4" => "The message is too large.",
        "3.1" => "There is no room for the message.",
        "4.1" => "The server of the domain does not answer.",
        "4.2" => "The connection to the server of the domain broke off.",
        "4.3" => "The domain could not be looked up.",
        "4.4" => "There is no way to the domain.",
        "4.6" => "The message goes round in circles.",
        "4.7" => "There was no more time to deliver it.",
        "6.3" | "6.5" | "6.7" => "The server of the domain cannot take a message of this kind.",
        "7.30" => "The server of the domain does not keep the message under TLS, which it requires.",
        _ => match detail.split('.').next().unwrap_or_default() {
            "1" => "The address cannot be used.",
            "2" => "The mailbox cannot take it.",
            "3" => "The mail system cannot take it.",
            "4" => "The message did not get through.",
            "5" => "The server of the domain did not follow the protocol.",
            "6" => "The message's content is not taken.",
            "7" => "The message was refused for reasons of security or policy.",
            _ => "It was not taken.",
        },
    }
}

/// The recipient's address, that of the bare postmaster with this server's name.
fn address(told: &Told<'_>, hostname: &str) -> String {
    let address = &told.recipient.address;
    one_line(&if address.contains('@') { address.clone() } else { format!("{address}@{}", domain(hostname)) })
}

/// A host's name or address, without what no name has.
fn domain(name: &str) -> String {
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let plain = name.strip_prefix("IPv6:").unwrap_or(name);
    if plain.parse::<Ipv6Addr>().is_ok() {
        return format!("[IPv6:{plain}]");
    }
    if plain.parse::<Ipv4Addr>().is_ok() {
        return format!("[{plain}]");
    }
    let keeps = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    name.chars().map(|c| if keeps(c) { c } else { '?' }).take(255).collect()
}

/// The text with whatever is not kept in the form `\x{HEX}` (RFC 6533 section 3).
fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> String {
    one_line(text)
        .chars()
        .map(|c| if keeps(c) { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) })
        .collect()
}
