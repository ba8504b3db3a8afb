//! A component that tries what it is told to and says how that went, so that a test sees what a grant gives.
//!
//! What to try stands in its settings, a list under a hook's name, or behind its verb, with `;` between: see `attempt`.
//! A hook with such a list rejects with the results, one a line; a hook named in `verdicts` (`"mail=accept"`) answers
//! that instead. The verb's name is the setting `verb` (`XTRY` by default), which is its keyword as well; `parameter` is a
//! parameter of MAIL. The SASL mechanisms in `mechanisms` it speaks itself: whoever names a user is that user. With
//! `judge` (`yes`, `no`, `later`, `fail`) it judges passwords, and knows nobody for SCRAM. With `stamp` each hook of a
//! transaction writes that text into the message context as `stamp_HOOK`.

mod attempt;

use pillarbox_sdk::authenticate::{self, Step, Success};
use pillarbox_sdk::verify::Outcome;
use pillarbox_sdk::{
    Accepted, Answer, Authenticate, Command, Connect, Data, Decision, Disconnect, Extension, Hello, Mail, Message,
    Parameter, Pending, Recipient, Reply, Scope, Verify, context_write, declare, fail, info, settings,
};

#[derive(Debug)]
struct Prober {
    verdicts: Vec<String>,
    stamp: Option<String>,
    judge: String,
}

const HOOKS: [&str; 11] = [
    "connect",
    "hello",
    "authenticate",
    "verify",
    "mail",
    "recipient",
    "data",
    "message",
    "accepted",
    "disconnect",
    "init",
];

impl Extension for Prober {
    fn init() -> Result<Self, String> {
        let mut known = vec!["verb", "verdicts", "parameter", "stamp", "mechanisms", "judge"];
        known.extend(HOOKS);
        settings::only(&known)?;
        let verb = settings::text("verb")?.unwrap_or_else(|| "XTRY".to_owned());
        if !verb.is_empty() {
            declare::keyword(&verb, None)?;
            declare::verb(
                &verb,
                declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false },
            )?;
        }
        if let Some(parameter) = settings::text("parameter")? {
            declare::mail_parameter(&parameter)?;
        }
        let mechanisms = settings::texts("mechanisms")?.unwrap_or_default();
        mechanisms.iter().try_for_each(|mechanism| declare::mechanism(mechanism))?;
        if mechanisms.is_empty() {
            declare::without(declare::Hook::Authenticate)?;
        }
        let judge = settings::text("judge")?.unwrap_or_default();
        if judge.is_empty() {
            declare::without(declare::Hook::Verify)?;
        }
        match settings::texts("init")? {
            Some(attempts) => Err(results(&attempts).join("; ")),
            None => Ok(Self {
                verdicts: settings::texts("verdicts")?.unwrap_or_default(),
                stamp: settings::text("stamp")?,
                judge,
            }),
        }
    }
}

impl Prober {
    fn ask(&self, hook: &str) -> Decision {
        info!("asked at {hook}");
        if let Some(stamp) = self.stamp.as_ref().filter(|_| !matches!(hook, "connect" | "hello")) {
            _ = context_write::set(Scope::Message, &format!("stamp_{hook}"), stamp);
        }
        let verdict = self.verdicts.iter().find_map(|verdict| verdict.strip_prefix(hook)?.strip_prefix('='));
        match verdict {
            Some("accept") => return Decision::accept(),
            Some("tempfail") => return Decision::tempfail(None),
            Some("reject") => return Decision::reject(None),
            Some("disconnect") => return Decision::disconnect(None),
            Some("discard") => return Decision::discard(),
            Some("quarantine") => return Decision::quarantine("suspicious"),
            _ => {}
        }
        match settings::texts(hook) {
            Ok(Some(attempts)) => {
                let code = if hook == "connect" { 554 } else { 550 };
                Decision::reject(Reply::lines(code, "5.7.1", results(&attempts)))
            }
            _ => Decision::next(),
        }
    }

    /// Where nothing can be answered the results go to the log.
    fn tell(hook: &str) {
        info!("told of {hook}");
        if let Ok(Some(attempts)) = settings::texts(hook) {
            info!("{}", results(&attempts).join("; "));
        }
    }
}

impl Connect for Prober {
    fn connect(&mut self) -> Decision {
        self.ask("connect")
    }
}

impl Hello for Prober {
    fn hello(&mut self, _verb: &str, _domain: &str) -> Decision {
        self.ask("hello")
    }
}

impl Command for Prober {
    /// `restart` behind the attempts leads back to the greeting, `more` asks for another line.
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        let (attempts, last) = match argument.rsplit_once(';').map_or(("", argument), |(head, tail)| (head, tail)) {
            (attempts, last) if matches!(last.trim(), "restart" | "more") => (attempts, last.trim()),
            _ => (argument, ""),
        };
        let attempts: Vec<String> = attempts.split(';').map(|text| text.trim().to_owned()).collect();
        let results = results(&attempts);
        match last {
            "restart" => Answer::Restart(false),
            "more" => Answer::More(Pending {
                reply: Reply::new(354, None, "one more line"),
                state: argument.as_bytes().to_vec(),
            }),
            _ => Answer::Done(Reply::lines(250, "2.0.0", results)),
        }
    }

    fn resume(&mut self, state: &[u8], line: &[u8]) -> Answer {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Answer::Done(Reply::lines(250, "2.0.0", vec![format!("state {}", text(state)), format!("line {}", text(line))]))
    }
}

impl Authenticate for Prober {
    fn begin(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Step {
        info!("asked at authenticate for {mechanism}");
        if let Ok(Some(attempts)) = settings::texts("authenticate") {
            return Step::Failure(Some(Reply::lines(535, "5.7.8", results(&attempts))));
        }
        match initial {
            Some(user) => named(user),
            None => Step::Challenge(authenticate::Pending {
                challenge: b"who?".to_vec(),
                state: mechanism.as_bytes().to_vec(),
            }),
        }
    }

    fn resume(&mut self, state: &[u8], response: &[u8]) -> Step {
        info!("asked at authenticate again for {}", String::from_utf8_lossy(state));
        named(response)
    }
}

impl Verify for Prober {
    fn password(&mut self, user: &str, _password: &str, _authorization: Option<&str>) -> Outcome {
        info!("asked at verify");
        if let Ok(Some(attempts)) = settings::texts("verify") {
            info!("{}", results(&attempts).join("; "));
        }
        match &*self.judge {
            "yes" => Outcome::Yes(user.to_owned()),
            "later" => Outcome::Later,
            "fail" => fail("on purpose"),
            _ => Outcome::No,
        }
    }

    fn lookup(&mut self, _user: &str) -> Outcome {
        info!("asked at verify to look up");
        Outcome::No
    }
}

/// Whoever it says it is; nobody is nobody.
fn named(user: &[u8]) -> Step {
    match std::str::from_utf8(user) {
        Ok(user) if !user.is_empty() => Step::Success(Success { user: user.to_owned(), data: None }),
        _ => Step::Failure(None),
    }
}

impl Mail for Prober {
    fn mail(&mut self, _sender: &str, _parameters: &[Parameter]) -> Decision {
        self.ask("mail")
    }
}

impl Recipient for Prober {
    fn recipient(&mut self, _address: &str, _parameters: &[Parameter]) -> Decision {
        self.ask("recipient")
    }
}

impl Data for Prober {
    fn data(&mut self) -> Decision {
        self.ask("data")
    }
}

impl Message for Prober {
    fn message(&mut self) -> Decision {
        self.ask("message")
    }
}

impl Accepted for Prober {
    fn accepted(&mut self, _id: &str) {
        Self::tell("accepted");
    }
}

impl Disconnect for Prober {
    fn disconnect(&mut self) {
        Self::tell("disconnect");
    }
}

pillarbox_sdk::export!(
    Prober: connect, hello, command, authenticate, verify, mail, recipient, data, message, accepted, disconnect
);

fn results(attempts: &[String]) -> Vec<String> {
    let tried = attempts.iter().filter(|attempt| !attempt.is_empty());
    let mut results: Vec<String> =
        tried.map(|attempt| format!("{attempt}: {}", attempt::attempt(attempt)).chars().take(380).collect()).collect();
    if results.is_empty() {
        results.push("nothing tried".to_owned());
    }
    results
}
