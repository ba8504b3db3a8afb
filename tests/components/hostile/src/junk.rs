//! Declarations no server should take.

use pillarbox_sdk::declare::{self, Rule};

/// Declares it. The host's refusal is the error.
pub fn declare(act: &str) -> Result<(), String> {
    let rule = Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false };
    match act {
        "core-verb" => declare::verb("EHLO", rule)?,
        "core-verb-lower-case" => declare::verb("starttls", rule)?,
        "core-keyword" => declare::keyword("PIPELINING", None)?,
        "core-mail-parameter" => declare::mail_parameter("SIZE")?,
        "core-mechanism" => declare::mechanism("PLAIN")?,
        "mechanism-of-two-words" => declare::mechanism("X BAD")?,
        "mechanism-too-long" => declare::mechanism(&"X".repeat(21))?,
        // Declared away already, as everywhere but where it is asked.
        "without-authenticate" => declare::mechanism("XBAD")?,
        "verb-of-two-words" => declare::verb("MAIL FROM", rule)?,
        "verb-of-no-letters" => declare::verb("", rule)?,
        "verb-with-line-feed" => declare::verb("XBAD\r\nQUIT", rule)?,
        "verb-too-long" => declare::verb(&"X".repeat(33), rule)?,
        "keyword-with-line-feed" => declare::keyword("XBAD", Some("a\r\n250 AUTH PLAIN"))?,
        "keyword-too-long" => declare::keyword("XBAD", Some(&"x".repeat(500)))?,
        "thousand-keywords" => {
            for number in 0..1_000 {
                declare::keyword(&format!("X{number}"), None)?;
            }
        }
        "without-command" => {
            declare::verb("XBAD", rule)?;
            declare::without(declare::Hook::Command)?;
        }
        _ => {}
    }
    Ok(())
}
