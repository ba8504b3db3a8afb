//! Answers that cannot be used.

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
