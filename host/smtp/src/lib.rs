//! SMTP as a machine: octets in, steps out.
//!
//! The crate knows the protocol (RFC 5321 and the extensions the server speaks itself) and nothing else: no socket, no
//! clock, no runtime, no policy, no storage. Whoever runs a session owns those, feeds the machine what the peer sent,
//! and obeys its steps:
//!
//! ```text
//! loop {
//!     match server.step() {
//!         Read   wait for octets, with the patience it may have; then `receive`, `expire` or `end_of_input`
//!         Write  send these replies
//!         Tarpit the replies that come next hold errors: wait, for each of them
//!         Turn   a command line waits, not looked at yet: the moment to move to another configuration
//!         Ask    the machine is parked until policy answers; the answer consumes the question. AUTH's are answered in
//!                several steps: challenge, response
//!         Body   content of the message, decoded, to be kept for now
//!         Abort  what was kept of the message is not wanted
//!         Reset  the transaction's scope is over: what was known about the message goes
//!         StartTls  do the handshake, then `secured`
//!         Close  close the connection
//!     }
//! }
//! ```
//!
//! **The way of a command**, `RCPT TO:<b@example.test>`: `line` finds the line in the buffer (only CRLF ends one), `command`
//! names its verb, `server` hands it to `verb::rcpt`. `check` decides whether it may be said now and what it says; a
//! wrong moment or bad syntax is a reply and the end of it. Otherwise the step is [`Ask::Recipient`]. Policy answers;
//! `accept` leads to `proceed`, which records the recipient and queues the reply; `refuse` queues the refusal. The
//! replies of a pipelined group leave together, in the next [`Step::Write`] (RFC 2920).
//!
//! **The way of a message.** DATA and the first BDAT both lead to [`Ask::Data`]. From there on there is one path: `body`
//! finds the end of DATA's content and takes the stuffed dots out, `server::intake` counts a chunk's octets, and both feed
//! one `content`, which measures, looks at the header, finds stray newlines, and hands on what is to be kept as
//! [`Step::Body`]. A fault is found once ([`Step::Abort`]), the rest is read and dropped, within bounds, and the reply comes
//! at the end. [`Ask::Message`] and [`Ask::Commit`] follow a sound end. The octets of a chunk that is refused are used up
//! before the reply, so that they are never read as commands.
//!
//! **What always holds.** Every command gets exactly one reply, in order, however its octets were cut into segments; in LMTP
//! the end of a message gets one for each recipient. Nothing a peer sends makes the machine panic, and what it holds is
//! bounded: one line and one read, or one chunk of a body, however large a message and however many its chunks. Every
//! sentence it can say is a function in [`reply`], and a [`Refusal`] cannot be a success. Each message for which
//! [`Ask::Data`] was accepted ends in exactly one [`Ask::Commit`] or one [`Step::Abort`]. What a peer has used up is
//! counted in `tally`, and a limit that was hit is named to the log ([`Noted`]).

#![forbid(unsafe_code)]

mod address;
pub mod ask;
mod body;
mod command;
mod content;
mod envelope;
mod header;
mod line;
mod parameter;
mod phase;
pub mod reply;
mod server;
mod settings;
mod step;
mod tally;
pub mod terms;
mod verb;
mod xtext;

pub use address::{Address, AddressError, Domain, Mailbox, Sender};
pub use ask::Ask;
pub use command::VERBS;
pub use envelope::{Body, Envelope, EnvelopeRecipient};
pub use parameter::{MAIL_PARAMETERS, Parameter, RECIPIENT_PARAMETERS};
pub use reply::{Refusal, Reply, ReplyError};
pub use server::{Noted, Server};
pub use settings::{Auth, Claim, Keywords, Limits, Protocol, Rule, Settings, StrayNewlines, Tls, Verbs};
pub use step::{Expiry, Patience, Step};
pub use verb::hello::KEYWORDS;
pub use xtext::decode_xtext;
