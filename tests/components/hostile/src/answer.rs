//! Answers that cannot be used.

use pillarbox_sdk::authenticate::{self, Step, Success};
use pillarbox_sdk::verify::{Outcome, Verifier};
use pillarbox_sdk::{Answer, Decision, Pending, Reply};

/// The malformed decision of this name.
pub fn decision(act: &str) -> Option<Decision> {
    Some(match act {
        "discard" => Decision::discard(),
        "quarantine" => Decision::quarantine("no reason"),
        "tempfail-550" => Decision::tempfail(Reply::new(550, "5.7.1", "not for now")),
        "tempfail-450" => Decision::tempfail(Reply::new(450, "4.7.1", "not for now")),
        "reject-450" => Decision::reject(Reply::new(450, "4.7.1", "not for good")),
        "disconnect-450" => Decision::disconnect(Reply::new(450, "4.7.1", "no reason to close")),
        "delay" => Decision::next().delayed(u32::MAX),
        act => Decision::reject(reply(act)?),
    })
}

/// The malformed answer of this name to a verb; a good one where there is none.
pub fn answer(act: &str) -> Answer {
    match act {
        "done-354" => Answer::Done(Reply::new(354, None, "go on")),
        "more-250" => Answer::More(Pending { reply: Reply::new(250, "2.0.0", "done"), state: Vec::new() }),
        "more-state" => Answer::More(Pending { reply: Reply::new(354, None, "go on"), state: vec![0; 5_000] }),
        "close-250" => Answer::Close(Reply::new(250, "2.0.0", "done")),
        "close-450" => Answer::Close(Reply::new(450, "4.7.1", "no reason to close")),
        act => Answer::Done(reply(act).unwrap_or_else(|| Reply::new(250, "2.0.0", "done"))),
    }
}

/// The malformed step of this name; a failure where there is none.
pub fn step(act: &str) -> Step {
    let success = |user: &str, data: Option<Vec<u8>>| Step::Success(Success { user: user.to_owned(), data });
    let challenge = |challenge: usize, state: usize| {
        Step::Challenge(authenticate::Pending { challenge: vec![b'x'; challenge], state: vec![0; state] })
    };
    match act {
        "challenge-large" => challenge(9_001, 0),
        "state-large" => challenge(0, 5_000),
        "user-empty" => success("", None),
        "user-long" => success(&"x".repeat(256), None),
        "user-control" => success("mallory\r\nroot", None),
        "data-large" => success("mallory", Some(vec![b'x'; 9_001])),
        "failure-450" => Step::Failure(Some(Reply::new(450, "4.7.1", "not for good"))),
        act => Step::Failure(reply(act)),
    }
}

/// The malformed judgement of this name; `no` where there is none.
pub fn outcome(act: &str) -> Outcome {
    let verifier = |salt: usize, iterations: u32, key: usize| {
        Outcome::Verifier(Verifier {
            salt: vec![b's'; salt],
            iterations,
            stored_key: vec![1; key],
            server_key: vec![2; 32],
        })
    };
    match act {
        "yes" => Outcome::Yes("mallory".to_owned()),
        "yes-empty" => Outcome::Yes(String::new()),
        "yes-long" => Outcome::Yes("x".repeat(256)),
        "yes-control" => Outcome::Yes("mallory\r\nroot".to_owned()),
        "verifier" => verifier(16, 4_096, 32),
        "salt-empty" => verifier(0, 4_096, 32),
        "salt-long" => verifier(1_025, 4_096, 32),
        "iterations-few" => verifier(16, 1, 32),
        "iterations-many" => verifier(16, u32::MAX, 32),
        "key-short" => verifier(16, 4_096, 31),
        "key-long" => verifier(16, 4_096, 33),
        _ => Outcome::No,
    }
}

fn reply(act: &str) -> Option<Reply> {
    let text = |text: &str| Reply::new(550, "5.7.1", text);
    let enhanced = |enhanced: &str| Reply::new(550, enhanced, "no");
    Some(match act {
        "code-999" => Reply::new(999, None, "no"),
        "code-0" => Reply::new(0, None, "no"),
        "code-65535" => Reply::new(65_535, None, "no"),
        // Of a refusal; a verb may answer it.
        "code-250" => Reply::new(250, "2.0.0", "no"),
        "line-feed" => text("no\nmore"),
        "crlf" => text("no\r\n250 2.0.0 welcome"),
        "carriage-return" => text("no\rmore"),
        "nul" => text("no\0more"),
        "escape" => text("no\u{1b}[2J"),
        "eight-bit" => text("d\u{e9}sol\u{e9}"),
        "megabyte" => text(&"x".repeat(1 << 20)),
        "long-line" => text(&"x".repeat(506)),
        "many-lines" => Reply::lines(550, "5.7.1", vec!["x".to_owned(); 2_000]),
        "no-line" => Reply::lines(550, "5.7.1", Vec::new()),
        "enhanced-word" => enhanced("unwelcome"),
        "enhanced-class" => enhanced("4.7.1"),
        "enhanced-line-feed" => enhanced("5.7.1\r\n250"),
        "enhanced-long" => enhanced("5.7.1000"),
        _ => return None,
    })
}
