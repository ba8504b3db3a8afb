//! A component that asks for more than it is given, to be loaded without: its verb says what
//! became of each.

use std::fmt::Debug;

use pillarbox_sdk::{Answer, Command, Error, Extension, Reply, clock, declare, dns, kv, random, settings};

#[derive(Debug)]
struct Greedy;

impl Extension for Greedy {
    fn init() -> Result<Self, String> {
        settings::only(&[])?;
        declare::verb(
            "XGREEDY",
            declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false },
        )?;
        Ok(Self)
    }
}

impl Command for Greedy {
    fn begin(&mut self, _verb: &str, _argument: &str) -> Answer {
        Answer::Done(Reply::lines(
            250,
            "2.0.0",
            vec![
                said("clock", clock::now()),
                said("dns", dns::addresses("example.test").map(|addresses| addresses.len())),
                said("kv", kv::set("key", b"value", 0)),
                said("random", random::bytes(4)),
            ],
        ))
    }
}

pillarbox_sdk::export!(Greedy: command);

fn said<T: Debug>(what: &str, result: Result<T, Error>) -> String {
    match result {
        Ok(value) => format!("{what} ok {value:?}"),
        Err(Error::Denied(_)) => format!("{what} denied"),
        Err(error) => format!("{what} {}", error.describe()),
    }
}
