//! A component that changes envelope and message as its settings say, so that a test sees what comes of it.
//!
//! Under a hook's name stands a list of steps: `sender S`, `add A`, `drop A`, `rewrite A B`, `refuse A CODE`, `insert NAME
//! NTH VALUE`, `replace NAME NTH VALUE`, `remove NAME NTH`, `see` (what it reads of envelope and header), `sender-of`,
//! `recipients`, `fields` and `body` (what it reads there), `trap`, and last a verdict, or `tell`, which is `tempfail` with
//! what became of each step, one a line. A step that begins with `for A` is taken for that address alone: at `mail` of that
//! sender, at `recipient` of that one, later where it is among the recipients. How each went is logged. `parameter` is a
//! parameter of RCPT.
#![allow(clippy::panic, reason = "one of the steps is a panic")]

use pillarbox_sdk::{
    Accepted, Data, Decision, Error, Extension, Mail, Message, Parameter, Recipient, Reply, declare, envelope_read,
    envelope_write, info, message_read, message_write, printable, settings,
};

#[derive(Debug)]
struct Scripted;

impl Extension for Scripted {
    fn init() -> Result<Self, String> {
        settings::only(&["mail", "recipient", "data", "message", "parameter"])?;
        if let Some(parameter) = settings::text("parameter")? {
            declare::recipient_parameter(&parameter)?;
        }
        Ok(Self)
    }
}

impl Mail for Scripted {
    fn mail(&mut self, sender: &str, _parameters: &[Parameter]) -> Decision {
        play("mail", sender)
    }
}

impl Recipient for Scripted {
    fn recipient(&mut self, address: &str, parameters: &[Parameter]) -> Decision {
        for parameter in parameters {
            info!("{address} has {}={}", parameter.name, parameter.value.as_deref().unwrap_or_default());
        }
        play("recipient", address)
    }
}

impl Data for Scripted {
    fn data(&mut self) -> Decision {
        play("data", "")
    }
}

impl Message for Scripted {
    fn message(&mut self) -> Decision {
        play("message", "")
    }
}

impl Accepted for Scripted {
    fn accepted(&mut self, _id: &str) {
        info!("accepted for {}", envelope_read::recipients().unwrap_or_default().join(" "));
    }
}

pillarbox_sdk::export!(Scripted: mail, recipient, data, message, accepted);

fn play(hook: &str, address: &str) -> Decision {
    info!("asked at {hook} {address}");
    let mut told = Vec::new();
    for step in settings::texts(hook).ok().flatten().unwrap_or_default() {
        let step = match step.strip_prefix("for ").and_then(|rest| rest.split_once(' ')) {
            Some((whose, _)) if !concerns(whose, hook, address) => continue,
            Some((_, step)) => step.to_owned(),
            None => step,
        };
        let mut words = step.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (what, a, b, rest) = (word(), word(), word(), word());
        let nth = b.parse().unwrap_or_default();
        let went = match what {
            "sender" => envelope_write::set_sender(a),
            "add" => envelope_write::add_recipient(a),
            "drop" => envelope_write::drop_recipient(a),
            "rewrite" => envelope_write::rewrite_recipient(a, b),
            "refuse" => envelope_write::refuse_recipient(a, &reply(b)),
            "insert" => message_write::insert_header(a, nth, rest),
            "replace" => message_write::replace_header(a, nth, rest),
            "remove" => message_write::remove_header(a, nth),
            "see" => see(),
            "sender-of" => envelope_read::sender().map(|sender| told.push(sender.unwrap_or_default())),
            "recipients" => envelope_read::recipients().map(|all| told.push(all.join(" "))),
            "fields" => fields().map(|names| told.push(names.join(" "))),
            "body" => message_read::read(0, 300).map(|octets| told.push(String::from_utf8_lossy(&octets).into_owned())),
            "tell" => {
                let shown = told.iter().map(|text| printable(text).chars().take(380).collect()).collect();
                return Decision::tempfail(Reply::lines(450, "4.7.1", shown));
            }
            "trap" => panic!("on purpose"),
            "accept" => return Decision::accept(),
            "tempfail" => return Decision::tempfail(None),
            "reject" => return Decision::reject(None),
            "disconnect" => return Decision::disconnect(None),
            "discard" => return Decision::discard(),
            "quarantine" => return Decision::quarantine(format!("{a} {b} {rest}").trim()),
            _ => return Decision::tempfail(Reply::new(450, "4.3.5", "no such step")),
        };
        let went = went.map_or_else(|error| error.describe(), |()| "ok".to_owned());
        info!("{hook}: {step}: {went}");
        told.push(went);
    }
    Decision::next()
}

fn concerns(whose: &str, hook: &str, address: &str) -> bool {
    match hook {
        "mail" | "recipient" => whose == address,
        _ => envelope_read::recipients().is_ok_and(|recipients| recipients.iter().any(|recipient| recipient == whose)),
    }
}

fn reply(code: &str) -> Reply {
    Reply { code: code.parse().unwrap_or_default(), enhanced: None, text: vec!["not for you".to_owned()] }
}

fn see() -> Result<(), Error> {
    let sender = envelope_read::sender()?.unwrap_or_default();
    info!("sees {sender} to {}", envelope_read::recipients()?.join(" "));
    if let Ok(size) = message_read::size() {
        info!("sees {size} octets with {}", fields()?.join(" "));
    }
    Ok(())
}

fn fields() -> Result<Vec<String>, Error> {
    Ok(message_read::headers()?.into_iter().map(|header| header.name).collect())
}
