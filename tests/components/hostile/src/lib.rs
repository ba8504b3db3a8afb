//! A component that misbehaves: at the hook its setting `at` names, it does what its setting `act` says; at all others it
//! has no opinion. It exports every hook there is to be asked at, so that each can be tried.
//!
//! What it does is in `harm` (to the call), `answer` (malformed answers) and `junk` (senseless declarations). It does not
//! know how the server takes it: that is what the tests tell.

mod answer;
mod harm;
mod junk;

use pillarbox_sdk::authenticate::{self, Step};
use pillarbox_sdk::verify::Outcome;
use pillarbox_sdk::{
    Accepted, Answer, Authenticate, Command, Connect, Data, Decision, Disconnect, Extension, Hello, Mail, Message,
    Parameter, Pending, Recipient, Reply, Verify, declare, settings,
};

#[derive(Debug)]
struct Hostile {
    at: String,
    act: String,
}

impl Extension for Hostile {
    fn init() -> Result<Self, String> {
        settings::only(&["at", "act"])?;
        let hostile =
            Self { at: settings::text("at")?.unwrap_or_default(), act: settings::text("act")?.unwrap_or_default() };
        // `command` and `resume` are the two ways into one hook; the others are not its business.
        if matches!(&*hostile.at, "command" | "resume") {
            let rule =
                declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false };
            declare::verb("XHOSTILE", rule)?;
        }
        // The same holds of the two ways into `authenticate` and into `verify`. Elsewhere nobody is asked for a login, so
        // that nothing need be granted for it.
        match &*hostile.at {
            "authenticate" | "respond" => declare::mechanism("XHOSTILE")?,
            _ => declare::without(declare::Hook::Authenticate)?,
        }
        if !matches!(&*hostile.at, "password" | "lookup") {
            declare::without(declare::Hook::Verify)?;
        }
        if hostile.at == "init" {
            match &*hostile.act {
                "error" => return Err("these settings make no sense".to_owned()),
                "error-of-many-lines" => return Err("one\r\ntwo\u{1b}[2J\u{2028}three".to_owned()),
                "error-of-a-megabyte" => return Err("x".repeat(900 << 10)),
                act => {
                    junk::declare(act)?;
                    harm::harm(act);
                }
            }
        }
        Ok(hostile)
    }
}

impl Hostile {
    fn decide(&self, here: &str) -> Decision {
        if self.at != here {
            return Decision::next();
        }
        harm::harm(&self.act);
        answer::decision(&self.act).unwrap_or_else(Decision::next)
    }

    fn suffer(&self, here: &str) {
        if self.at == here {
            harm::harm(&self.act);
        }
    }
}

impl Connect for Hostile {
    fn connect(&mut self) -> Decision {
        self.decide("connect")
    }
}

impl Hello for Hostile {
    fn hello(&mut self, _verb: &str, _domain: &str) -> Decision {
        self.decide("hello")
    }
}

impl Command for Hostile {
    fn begin(&mut self, _verb: &str, _argument: &str) -> Answer {
        if self.at == "resume" {
            return Answer::More(Pending { reply: Reply::new(354, None, "go on"), state: Vec::new() });
        }
        self.suffer("command");
        answer::answer(&self.act)
    }

    fn resume(&mut self, _state: &[u8], _line: &[u8]) -> Answer {
        self.suffer("resume");
        answer::answer(&self.act)
    }
}

impl Authenticate for Hostile {
    fn begin(&mut self, _mechanism: &str, _initial: Option<&[u8]>) -> Step {
        if self.at == "respond" {
            return Step::Challenge(authenticate::Pending { challenge: Vec::new(), state: Vec::new() });
        }
        self.suffer("authenticate");
        answer::step(&self.act)
    }

    fn resume(&mut self, _state: &[u8], _response: &[u8]) -> Step {
        self.suffer("respond");
        answer::step(&self.act)
    }
}

impl Verify for Hostile {
    fn password(&mut self, _user: &str, _password: &str, _authorization: Option<&str>) -> Outcome {
        self.suffer("password");
        answer::outcome(&self.act)
    }

    fn lookup(&mut self, _user: &str) -> Outcome {
        self.suffer("lookup");
        answer::outcome(&self.act)
    }
}

impl Mail for Hostile {
    fn mail(&mut self, _sender: &str, _parameters: &[Parameter]) -> Decision {
        self.decide("mail")
    }
}

impl Recipient for Hostile {
    fn recipient(&mut self, _address: &str, _parameters: &[Parameter]) -> Decision {
        self.decide("recipient")
    }
}

impl Data for Hostile {
    fn data(&mut self) -> Decision {
        self.decide("data")
    }
}

impl Message for Hostile {
    fn message(&mut self) -> Decision {
        self.decide("message")
    }
}

impl Accepted for Hostile {
    fn accepted(&mut self, _id: &str) {
        self.suffer("accepted");
    }
}

impl Disconnect for Hostile {
    fn disconnect(&mut self) {
        self.suffer("disconnect");
    }
}

pillarbox_sdk::export!(
    Hostile: connect, hello, command, authenticate, verify, mail, recipient, data, message, accepted, disconnect
);
