//! A component that reaches beyond its session as it is told and says how that went, so that a test sees what the grants
//! of `table`, `kv`, `dns`, `http`, `stream`, `clock`, `random` and `metrics` give.
//!
//! What to try stands behind its verb, XREACH, or in its setting `init`, with `;` between; the reply holds the results, one
//! a line. `stream.*` work on the handle that is named, or on the one that was opened last; what stays open in one call is
//! tried again in the next by its number. `why` is what the denial before it said.

use std::cell::RefCell;
use std::fmt::Debug;

use pillarbox_sdk::{
    Answer, Command, Entry, Error, Extension, Reply, clock, declare, dns, http, kv, metrics, printable, random,
    settings, stream, table,
};

#[derive(Debug)]
struct Reacher;

impl Extension for Reacher {
    fn init() -> Result<Self, String> {
        settings::only(&["init"])?;
        declare::verb(
            "XREACH",
            declare::Rule { before_hello: true, in_transaction: true, only_tls: false, last_in_group: false },
        )?;
        match settings::text("init")? {
            Some(attempts) => Err(results(&attempts).join("; ")),
            None => Ok(Self),
        }
    }
}

impl Command for Reacher {
    fn begin(&mut self, _verb: &str, argument: &str) -> Answer {
        Answer::Done(Reply::lines(250, "2.0.0", results(argument)))
    }

    fn resume(&mut self, _state: &[u8], _line: &[u8]) -> Answer {
        Answer::Done(Reply::new(250, "2.0.0", "nothing"))
    }
}

pillarbox_sdk::export!(Reacher: command);

thread_local! {
    /// What the last denial said.
    static DENIAL: RefCell<String> = const { RefCell::new(String::new()) };
}

fn results(attempts: &str) -> Vec<String> {
    let mut last = None;
    attempts.split(';').map(|text| attempt(text, &mut last).chars().take(380).collect()).collect()
}

fn attempt(attempt: &str, last: &mut Option<u32>) -> String {
    let words: Vec<&str> = attempt.split_ascii_whitespace().collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let handle = || word(1).parse().ok().or(*last).unwrap_or(u32::MAX);
    match word(0) {
        "why" => printable(&DENIAL.take()),
        "table.lookup" => said(table::lookup(word(1), word(2))),
        "kv.get" => {
            said(kv::get(word(1)).map(|value| value.map(|octets| String::from_utf8_lossy(&octets).into_owned())))
        }
        "kv.set" => said(kv::set(word(1), word(2).as_bytes(), 0)),
        "kv.unset" => said(kv::unset(word(1))),
        "kv.increment" => said(kv::increment(word(1), word(2).parse().unwrap_or(1), 0)),
        "dns.addresses" => said(dns::addresses(word(1))),
        "dns.mail-exchangers" => said(dns::mail_exchangers(word(1)).map(|hosts| {
            hosts.into_iter().map(|host| format!("{} {}", host.preference, host.host)).collect::<Vec<_>>()
        })),
        "dns.texts" => said(dns::texts(word(1)).map(|texts| {
            texts.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned()).collect::<Vec<_>>()
        })),
        "dns.pointers" => said(dns::pointers(word(1))),
        "http.send" => send(word(1), word(2), words.get(3..).unwrap_or_default()),
        "stream.open" => said(stream::open(word(1)).inspect(|opened| *last = Some(*opened)).map(|_| "open")),
        "stream.write" => said(stream::write(last.unwrap_or(u32::MAX), format!("{}\n", word(1)).as_bytes())),
        "stream.read" => {
            said(stream::read(handle(), 64).map(|octets| String::from_utf8_lossy(&octets).trim_end().to_owned()))
        }
        "stream.close" => said(stream::close(handle())),
        "stream.many" => said((0..100).try_for_each(|_| stream::open(word(1)).map(drop))),
        "clock.now" => said(clock::now().map(|now| now > 1_700_000_000_000)),
        "clock.monotonic" => said(clock::monotonic().and_then(|one| Ok(clock::monotonic()? >= one))),
        "random.bytes" => said(random::bytes(word(1).parse().unwrap_or_default()).map(|octets| octets.len())),
        "random.differs" => said(random::bytes(16).and_then(|one| Ok(random::bytes(16)? != one))),
        "metrics.count" => said(metrics::count(word(1), word(2).parse().unwrap_or_default(), &labels(words.get(3..)))),
        "metrics.many" => said((0..1_000).try_for_each(|number| metrics::count(&format!("n{number}"), 1, &[]))),
        _ => "there is no such attempt".to_owned(),
    }
}

/// Words behind the URL are headers, `NAME=VALUE`, and a body, `body=TEXT`.
fn send(method: &str, url: &str, more: &[&str]) -> String {
    let pairs = labels(Some(more));
    let (body, headers): (Vec<Entry>, Vec<Entry>) = pairs.into_iter().partition(|entry| entry.name == "body");
    let body = body.into_iter().map(|entry| entry.value).collect::<String>().into_bytes();
    let request = http::Request { method: method.to_owned(), url: url.to_owned(), headers, body };
    said(http::send(&request).map(|response| {
        format!("{} {} octets: {}", response.status, response.body.len(), String::from_utf8_lossy(&response.body))
    }))
}

fn labels(pairs: Option<&[&str]>) -> Vec<Entry> {
    let pair = |pair: &&str| {
        let (name, value) = pair.split_once('=')?;
        Some(Entry { name: name.to_owned(), value: value.to_owned() })
    };
    pairs.unwrap_or_default().iter().filter_map(pair).collect()
}

fn said<T: Debug>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => printable(&format!("ok {value:?}")),
        Err(Error::Denied(why)) => {
            DENIAL.set(why);
            "denied".to_owned()
        }
        Err(Error::Invalid(text)) => printable(&format!("invalid: {text}")),
        Err(Error::Limit(text)) => printable(&format!("limit: {text}")),
        Err(Error::Unavailable(text)) => printable(&format!("unavailable: {text}")),
        Err(Error::Failed(text)) => printable(&format!("failed: {text}")),
    }
}
