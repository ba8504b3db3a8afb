//! How servers take a message, and the dozen ways in which they do not.

use super::*;
use std::time::Duration;

/// What becomes of a message to one recipient at a server with this script.
async fn one(script: &str) -> Outcome {
    let sink = Sink::start(&[script]).await;
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    let outcome = deliver(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await.remove(0);
    sink.is_content();
    outcome
}

#[tokio::test]
async fn a_message_arrives_octet_by_octet() {
    let long: Vec<u8> =
        (0..300_000_u32).flat_map(|n| format!("{}.{n}\r\n", if n % 3 == 0 { "." } else { "" }).into_bytes()).collect();
    let unended = b"no end".to_vec();
    let mut bed = Bed::new();
    for (content, arrived) in [
        (HELLO.to_vec(), HELLO.to_vec()),
        (b"".to_vec(), b"".to_vec()),
        (b".\r\n".to_vec(), b".\r\n".to_vec()),
        (b"\r\n.\r\n\r\n.\r\n".to_vec(), b"\r\n.\r\n\r\n.\r\n".to_vec()),
        (long.clone(), long),
        (unended, b"no end\r\n".to_vec()),
    ] {
        let sink = Sink::start(&[&format!("{UP_TO_DATA}\nMESSAGE\nS: 250 2.0.0 taken\nEND")]).await;
        let stored = bed.message(&content, TO_B, |_| {}).await;
        let outcome = deliver(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await.remove(0);
        let Outcome::Delivered(receipt) = outcome else { panic!("{outcome:?}") };
        assert_eq!(receipt.to, format!("smtp://127.0.0.1:{}", sink.address.port()));
        assert_eq!(receipt.reply.as_deref(), Some("250 2.0.0 taken"));
        assert_eq!(receipt.duty, crate::spool::Duty::Relayed);
        assert!(sink.messages() == [arrived], "{} octets", content.len());
        sink.is_content();
    }
}

#[tokio::test]
async fn refusals_count_by_their_first_digit_and_the_moment() {
    // Where in the conversation it ends, with which reply, and what follows.
    let banner = "S: {}\nEND";
    let hello = "S: 220 mx\nC: EHLO here.example.test\nS: {}\nEND";
    let mail = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: {}\nEND";
    let rcpt = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: {}\nEND";
    let data = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: {}\nEND";
    let dot = format!("{UP_TO_DATA}\nMESSAGE\nS: {{}}\nEND");
    let cases = [
        (banner, "421 busy", "deferred 4.3.2 destination"),
        (banner, "450 later", "deferred 4.0.0 destination"),
        (banner, "554 no mail here", "deferred 4.0.0 destination"),
        (banner, "250 wrong", "deferred 4.0.0 destination"),
        (hello, "421 4.3.2 busy", "deferred 4.3.2 destination"),
        (hello, "450 4.7.1 later", "deferred 4.7.1 destination"),
        (mail, "421 4.3.2 busy", "deferred 4.3.2 destination"),
        (mail, "450 busy", "deferred 4.0.0 message"),
        (mail, "451 4.7.1 greylisted", "deferred 4.7.1 message"),
        (mail, "452 full", "deferred 4.3.1 message"),
        (mail, "550 5.7.1 not you", "failed 5.7.1 message"),
        (mail, "553 who?", "failed 5.1.7 message"),
        (mail, "550 4.7.1 its class is wrong", "failed 5.7.1 message"),
        (mail, "354 what?", "deferred 4.0.0 message"),
        (rcpt, "421 busy", "deferred 4.3.2 destination"),
        (rcpt, "450 4.2.1 later", "deferred 4.2.1 recipient"),
        (rcpt, "451 later", "deferred 4.3.0 recipient"),
        (rcpt, "452 4.2.2 full", "deferred 4.2.2 recipient"),
        (rcpt, "452 too many", "deferred 4.5.3 recipient"),
        // RFC 5321 section 4.5.3.1.10.
        (rcpt, "552 too many", "deferred 4.5.3 recipient"),
        (rcpt, "552 5.2.2 full for good", "failed 5.2.2 recipient"),
        (rcpt, "550 5.1.1 nobody", "failed 5.1.1 recipient"),
        (rcpt, "550 nobody", "failed 5.1.1 recipient"),
        (rcpt, "556 5.1.10 no mail", "failed 5.1.10 recipient"),
        (data, "421 busy", "deferred 4.3.2 destination"),
        (data, "451 4.3.0 later", "deferred 4.3.0 message"),
        (data, "554 5.5.1 no", "failed 5.5.1 message"),
        (data, "250 what?", "deferred 4.0.0 message"),
        (&dot, "250 ok", "delivered 250 ok"),
        (&dot, "421 4.3.2 going", "deferred 4.3.2 destination"),
        (&dot, "450 4.7.1 later", "deferred 4.7.1 message"),
        (&dot, "452 4.3.1 full", "deferred 4.3.1 message"),
        (&dot, "552 too large", "failed 5.3.4 message"),
        (&dot, "554 5.7.1 spam", "failed 5.7.1 message"),
        (&dot, "354 again?", "deferred 4.5.0 message"),
    ];
    for (script, reply, expected) in cases {
        let outcome = one(&script.replace("{}", reply)).await;
        assert_eq!(words(&outcome), expected, "{reply:?} in {script}");
        if let Outcome::Failed(failure) | Outcome::Deferred(failure) = &outcome
            && failure.status != "4.5.0"
        {
            assert_eq!(failure.reply.as_deref(), Some(reply));
            assert_eq!(failure.remote.as_deref(), Some("127.0.0.1"));
        }
    }
}

#[tokio::test]
async fn what_is_no_reply_defers() {
    let cases = [
        ("S+ 25\\r\\n", "does not begin with a reply code"),
        ("S+ \\0\\0\\0\\r\\n", "NUL"),
        ("S+ \\x80\\xff\\xfe\\xfd\\r\\n", "does not begin with a reply code"),
        ("S: HTTP/1.1 400 Bad Request", "does not begin with a reply code"),
        ("S* 220-and another", "more than 100 lines"),
        ("S+ 220-a\\r\\n250 b\\r\\n", "different codes"),
        ("S+ 220 no end", "was closed"),
        ("", "was closed"),
        ("RESET", "broke"),
    ];
    for (script, expected) in cases {
        let outcome = one(script).await;
        let Outcome::Deferred(failure) = &outcome else { panic!("{script}: {outcome:?}") };
        assert_eq!(failure.reach, Reach::Destination, "{script}");
        assert!(failure.text.contains(expected), "{script}: {}", failure.text);
    }
    let long = format!("S+ 220 {}", "x".repeat(10_000));
    assert!(text(&one(&long).await).contains("longer than 4096"));
    // The same where a message is under way.
    let outcome = one(&format!("{UP_TO_DATA}\nMESSAGE\nS+ 25\\r\\n")).await;
    assert_eq!(words(&outcome), "deferred 4.5.0 message");
    assert!(text(&outcome).contains("uncertain"));
}

#[tokio::test]
async fn a_reply_before_its_question_is_none() {
    // It would be taken for the answer to the dot.
    let script = UP_TO_DATA.replace("S: 354 go", "S+ 354 go\\r\\n250 taken already\\r\\n");
    let outcome = one(&format!("{script}\nHANG")).await;
    assert_eq!(words(&outcome), "deferred 4.5.0 message");
    // What it says of the message before its end is heard.
    let script = UP_TO_DATA.replace("S: 354 go", "S+ 354 go\\r\\n552 5.3.4 too large\\r\\n");
    let outcome = one(&format!("{script}\nHANG")).await;
    assert_eq!(words(&outcome), "failed 5.3.4 message");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_its_time() {
    let cases = [
        ("HANG", 300, "greeting", "deferred 4.4.2 destination"),
        ("S: 220 mx\nHANG", 300, "EHLO", "deferred 4.4.2 destination"),
        ("S: 220 mx\nC: EHLO *\nS: 250-mx\nHANG", 300, "EHLO", "deferred 4.4.2 destination"),
        ("S: 220 mx\nC: EHLO *\nS: 250 mx\nHANG", 300, "MAIL", "deferred 4.4.2 destination"),
        (&format!("{UP_TO_DATA}\nMESSAGE\nHANG"), 600, "uncertain", "deferred 4.4.2 message"),
    ];
    for (script, seconds, phase, expected) in cases {
        let began = tokio::time::Instant::now();
        let outcome = one(script).await;
        assert_eq!(words(&outcome), expected, "{script}");
        assert!(text(&outcome).contains(phase), "{script}: {}", text(&outcome));
        assert_eq!(began.elapsed().as_secs(), seconds, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_octet_now_and_then_gains_nothing() {
    // One octet a minute would hold a connection for ever, if each began the time anew.
    let sink = Sink::start(&["S+ 220-\nHANG"]).await;
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    let mut target = to(HopProtocol::Smtp, sink.address);
    target.timeouts.command = Duration::from_secs(7);
    let began = tokio::time::Instant::now();
    deliver(&relay(target), &stored).await;
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_too_slowly_is_left() {
    // More than what lies between the two takes.
    let content = b"0123456789012345678901234567890123456789\r\n".repeat(400_000);
    let sink = Sink::start(&[&format!("{UP_TO_DATA}\nSLOWLY")]).await;
    let mut bed = Bed::new();
    let stored = bed.message(&content, TO_B, |_| {}).await;
    let began = tokio::time::Instant::now();
    let outcome = deliver(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await.remove(0);
    assert_eq!(words(&outcome), "deferred 4.4.2 message");
    assert!(!text(&outcome).contains("uncertain"), "{}", text(&outcome));
    assert!(began.elapsed() < Duration::from_secs(600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_happens_around_the_dot() {
    let cases = [
        // No reply: it may have been taken.
        ("MESSAGE", "deferred 4.4.2 message", true),
        ("MESSAGE\nRESET", "deferred 4.4.2 message", true),
        ("MESSAGE\nS: 250 ok\nRESET", "delivered 250 ok", false),
        ("MESSAGE\nS: 250 ok", "delivered 250 ok", false),
    ];
    for (end, expected, uncertain) in cases {
        let outcome = one(&format!("{UP_TO_DATA}\n{end}")).await;
        assert_eq!(words(&outcome), expected, "{end}");
        assert_eq!(text(&outcome).contains("uncertain"), uncertain, "{end}");
    }
}

#[tokio::test]
async fn each_recipient_gets_its_own() {
    let rcpts = |replies: [&str; 3]| {
        let mut script = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\n".to_owned();
        for (name, reply) in ["b", "c", "d"].iter().zip(replies) {
            script += &format!("C: RCPT TO:<{name}@example.test>\nS: {reply}\n");
        }
        script
    };
    let taken = "C: DATA\nS: 354 go\nMESSAGE\nS: 250 taken\nEND";
    let cases = [
        (
            rcpts(["250 ok", "550 5.1.1 nobody", "250 ok"]) + taken,
            ["delivered 250 taken", "failed 5.1.1 recipient", "delivered 250 taken"],
        ),
        (
            rcpts(["450 4.2.0 later", "550 5.1.1 nobody", "251 ok"]) + taken,
            ["deferred 4.2.0 recipient", "failed 5.1.1 recipient", "delivered 250 taken"],
        ),
        // Nobody is left, so nothing is sent.
        (
            rcpts(["450 4.2.0 later", "550 5.1.1 nobody", "551 elsewhere"]) + "END",
            ["deferred 4.2.0 recipient", "failed 5.1.1 recipient", "failed 5.1.6 recipient"],
        ),
        // It goes while the recipients are named.
        (
            "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 550 no\nC: RCPT *\nS: 421 bye"
                .to_owned(),
            ["failed 5.1.1 recipient", "deferred 4.3.2 destination", "deferred 4.3.2 destination"],
        ),
        // RFC 5321 section 4.5.3.1.10: the rest in a transaction of its own.
        (
            rcpts(["250 ok", "452 too many", "552 too many"])
                + "C: DATA\nS: 354 go\nMESSAGE\nS: 250 first\n\
                   C: MAIL *\nS: 250 ok\nC: RCPT TO:<c@example.test>\nS: 250 ok\nC: RCPT TO:<d@example.test>\nS: 452 too many\n\
                   C: DATA\nS: 354 go\nMESSAGE\nS: 250 second\n\
                   C: MAIL *\nS: 250 ok\nC: RCPT TO:<d@example.test>\nS: 452 too many\nEND",
            ["delivered 250 first", "delivered 250 second", "deferred 4.5.3 recipient"],
        ),
    ];
    for (script, expected) in cases {
        let sink = Sink::start(&[&script]).await;
        let mut bed = Bed::new();
        let stored = bed.message(HELLO, TO_THREE, |_| {}).await;
        assert_eq!(deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await, expected, "{script}");
        sink.is_content();
    }
}

#[tokio::test]
async fn commands_go_ahead_in_one_group() {
    let hello = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 PIPELINING\n\
                 C: MAIL *\nC: RCPT *\nC: RCPT *\nC: RCPT *\nC: DATA\n";
    let cases = [
        (
            "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no\nS: 250 ok\nS: 354 go\nMESSAGE\nS: 250 taken\nEND",
            ["delivered 250 taken", "failed 5.1.1 recipient", "delivered 250 taken"],
        ),
        (
            "S: 550 5.7.1 not you\nS: 503 no\nS: 503 no\nS: 503 no\nS: 503 no\nEND",
            ["failed 5.7.1 message", "failed 5.7.1 message", "failed 5.7.1 message"],
        ),
        // It wants a message for nobody: an empty one (RFC 2920 section 3.1).
        (
            "S: 250 ok\nS: 550 no\nS: 450 later\nS: 550 no\nS: 354 go\nC: .\nS: 554 nobody\nEND",
            ["failed 5.1.1 recipient", "deferred 4.1.1 recipient", "failed 5.1.1 recipient"],
        ),
        (
            "S: 451 4.7.1 later\nS: 503 no\nS: 503 no\nS: 503 no\nS: 354 go\nC: .\nS: 250 taken?\nEND",
            ["deferred 4.7.1 message", "deferred 4.7.1 message", "deferred 4.7.1 message"],
        ),
    ];
    for (script, expected) in cases {
        let sink = Sink::start(&[&format!("{hello}{script}")]).await;
        let mut bed = Bed::new();
        let stored = bed.message(HELLO, TO_THREE, |_| {}).await;
        assert_eq!(deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await, expected, "{script}");
        sink.is_content();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_announces_pipelining_is_asked_one_thing_at_a_time() {
    let liar = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 PIPELINING\nC: MAIL *\nS: 250 ok\nHANG";
    let patient = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 PIPELINING\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 550 no\nEND";
    let sink = Sink::start(&[liar, patient]).await;
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    let relay = relay(to(HopProtocol::Smtp, sink.address));
    assert_eq!(deliver_words(&relay, &stored).await, ["deferred 4.4.2 destination"]);
    let outcome = deliver(&relay, &stored).await.remove(0);
    assert_eq!(words(&outcome), "failed 5.1.1 recipient", "{outcome:?}");
    sink.is_content();
}

#[tokio::test]
async fn lmtp_answers_for_each() {
    let script = "S: 220 mx\nC: LHLO here.example.test\nS: 250-mx\nS: 250 PIPELINING\n\
                  C: MAIL *\nC: RCPT *\nC: RCPT *\nC: RCPT *\nC: DATA\n\
                  S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nMESSAGE\n";
    let cases = [
        (
            "S: 250 2.0.0 b has it\nS: 452 4.2.2 full\nS: 550 5.2.1 closed\nEND",
            ["delivered 250 2.0.0 b has it", "deferred 4.2.2 recipient", "failed 5.2.1 recipient"],
        ),
        // It goes before it has answered for all.
        ("S: 250 ok", ["delivered 250 ok", "deferred 4.4.2 message", "deferred 4.4.2 message"]),
    ];
    let mut bed = Bed::new();
    for (end, expected) in cases {
        let sink = Sink::start(&[&format!("{script}{end}")]).await;
        let stored = bed.message(HELLO, TO_THREE, |_| {}).await;
        let outcomes = deliver(&relay(to(HopProtocol::Lmtp, sink.address)), &stored).await;
        assert_eq!(outcomes.iter().map(words).collect::<Vec<_>>(), expected);
        let Outcome::Delivered(receipt) = &outcomes[0] else { panic!() };
        assert_eq!(receipt.duty, crate::spool::Duty::Delivered);
        sink.is_content();
    }
    // On a Unix socket.
    let path = bed.at.path().join("lmtp");
    let sink = Sink::start_unix(
        &path,
        "S: 220 mx\nC: LHLO *\nS: 250 mx\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 ok\nEND",
    );
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    let relay = relay(RelayTarget::new(HopProtocol::Lmtp, Hop::Unix(path)));
    assert_eq!(deliver_words(&relay, &stored).await, ["delivered 250 ok"]);
    assert_eq!(sink.messages(), [HELLO]);
    sink.is_content();
}

#[tokio::test]
async fn what_the_server_does_not_take_is_not_begun() {
    let greeting = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 {}\n";
    let parameter = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    let large = parameter("SIZE", Some("5"));
    let by = |value: &str| parameter("BY", Some(value));
    let cases = [
        (large.clone(), "SIZE 20", "END", "failed 5.3.4 message"),
        (large.clone(), "SIZE 0", "C: MAIL FROM:<a@example.test> SIZE=33\nS: 550 no\nEND", "failed 5.7.1 message"),
        (large, "SIZE", "C: MAIL FROM:<a@example.test> SIZE=33\nS: 550 no\nEND", "failed 5.7.1 message"),
        (by("999999999;R"), "DSN", "END", "failed 5.3.3 message"),
        (by("10;R"), "DELIVERBY", "END", "failed 5.4.7 message"),
        (by("10;N"), "DELIVERBY", "C: MAIL FROM:<a@example.test> BY=-*\nS: 550 no\nEND", "failed 5.7.1 message"),
        (by("10;N"), "DSN", "C: MAIL FROM:<a@example.test>\nS: 550 no\nEND", "failed 5.7.1 message"),
        (
            parameter("RET", Some("HDRS")),
            "DSN",
            "C: MAIL FROM:<a@example.test> RET=HDRS\nS: 550 no\nEND",
            "failed 5.7.1 message",
        ),
        (
            parameter("ENVID", Some("x+2By")),
            "SIZE",
            "C: MAIL FROM:<a@example.test> SIZE=33\nS: 550 no\nEND",
            "failed 5.7.1 message",
        ),
        (
            parameter("MT-PRIORITY", Some("-3")),
            "MT-PRIORITY",
            "C: MAIL FROM:<a@example.test> MT-PRIORITY=-3\nS: 550 no\nEND",
            "failed 5.7.1 message",
        ),
        (parameter("REQUIRETLS", None), "DSN", "END", "failed 5.7.30 message"),
    ];
    let mut bed = Bed::new();
    for (parameter, keyword, rest, expected) in cases {
        let sink = Sink::start(&[&format!("{}{rest}", greeting.replace("{}", keyword))]).await;
        let what = format!("{parameter:?} {keyword}");
        let stored = bed.message(HELLO, TO_B, |envelope| envelope.parameters.push(parameter)).await;
        assert_eq!(deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await, [expected], "{what}");
        sink.is_content();
    }
}

#[tokio::test]
async fn notices_are_left_to_who_knows_of_them() {
    let script = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 DSN\nC: MAIL FROM:<>\nS: 250 ok\n\
                  C: RCPT TO:<b@example.test> NOTIFY=NEVER ORCPT=rfc822;b+40x\nS: 250 ok\n\
                  C: DATA\nS: 354 go\nMESSAGE\nS: 250 ok\nEND";
    let sink = Sink::start(&[script]).await;
    let mut bed = Bed::new();
    let stored = bed
        .message(HELLO, TO_B, |envelope| {
            envelope.sender = String::new();
            let parameters = &mut envelope.recipients[0].parameters;
            parameters.push(("NOTIFY".to_owned(), Some("NEVER".to_owned())));
            parameters.push(("ORCPT".to_owned(), Some("rfc822;b+40x".to_owned())));
        })
        .await;
    let outcome = deliver(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await.remove(0);
    let Outcome::Delivered(receipt) = outcome else { panic!("{outcome:?}") };
    assert_eq!(receipt.duty, crate::spool::Duty::NextHop);
    sink.is_content();
}

#[tokio::test]
async fn nothing_of_an_envelope_begins_a_line() {
    let mut bed = Bed::new();
    let script = "S: 220 mx\nC: EHLO *\nS: 250 mx\nC: MAIL FROM:<a@example.test>\nS: 250 ok\nC: RCPT TO:<c@example.test>\nS: 550 no\nEND";
    let sink = Sink::start(&[script]).await;
    let stored = bed.message(HELLO, &["b@x\r\nDATA", "c@example.test"], |_| {}).await;
    let found = deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await;
    assert_eq!(found, ["failed 5.1.3 message", "failed 5.1.1 recipient"]);
    sink.is_content();
    let sink = Sink::start(&["S: 220 mx\nC: EHLO *\nS: 250 mx\nEND"]).await;
    let stored = bed.message(HELLO, TO_B, |envelope| envelope.sender = "a@x>\nRCPT TO:<z@x".to_owned()).await;
    let found = deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await;
    assert_eq!(found, ["failed 5.1.7 message"]);
    sink.is_content();
}

#[tokio::test]
async fn what_a_server_does_not_know_is_converted_or_refused() {
    let greeting = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250 {}\n";
    let taken = "C: MAIL {}\nS: 250 ok\nC: RCPT {}\nS: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 taken\nEND";
    let said = |mail: &str, rcpt: &str| taken.replacen("{}", mail, 1).replacen("{}", rcpt, 1);
    let eight =
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\né\r\n";
    let plain = "FROM:<a@example.test>";
    let cases = [
        (
            "8BITMIME",
            "b@example.test",
            said("FROM:<a@example.test> BODY=8BITMIME", "TO:<b@example.test>"),
            "delivered 250 taken",
            true,
        ),
        ("DSN", "b@example.test", said(plain, "TO:<b@example.test>"), "delivered 250 taken", false),
        ("8BITMIME", "b@bücher.test", said("FROM:*", "TO:<b@xn--bcher-kva.test>"), "delivered 250 taken", true),
        ("8BITMIME", "bü@example.test", "END".to_owned(), "failed 5.6.7 recipient", true),
        (
            "SMTPUTF8",
            "bü@example.test",
            said("FROM:<a@example.test> SMTPUTF8", "TO:<bü@example.test>"),
            "delivered 250 taken",
            true,
        ),
    ];
    let mut bed = Bed::new();
    for (keyword, recipient, rest, expected, kept) in cases {
        let sink = Sink::start(&[&format!("{}{rest}", greeting.replace("{}", keyword))]).await;
        let stored = bed
            .message(eight.as_bytes(), &[recipient], |envelope| {
                envelope.parameters.push(("BODY".to_owned(), Some("8BITMIME".to_owned())));
            })
            .await;
        let found = deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await;
        assert_eq!(found, [expected], "{keyword} {recipient}");
        for message in sink.messages() {
            assert_eq!(message == eight.as_bytes(), kept, "{}", String::from_utf8_lossy(&message));
            assert!(kept || message.is_ascii());
        }
        sink.is_content();
    }
}

#[tokio::test]
async fn octets_that_are_no_lines_go_in_chunks() {
    let mut binary = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n".to_vec();
    for length in [0, 64 * 1024 - binary.len(), 200_000] {
        binary.extend((0..length).map(|n| u8::try_from(n % 251).unwrap()));
        let script = "S: 220 mx\nC: EHLO *\nS: 250-mx\nS: 250-PIPELINING\nS: 250-CHUNKING\nS: 250 BINARYMIME\n\
                      C: MAIL FROM:<a@example.test> BODY=BINARYMIME\nC: RCPT *\nS: 250 ok\nS: 250 ok\nCHUNKS\nS: 250 taken\nEND";
        let sink = Sink::start(&[script]).await;
        let mut bed = Bed::new();
        let stored = bed
            .message(&binary, TO_B, |envelope| {
                envelope.parameters.push(("BODY".to_owned(), Some("BINARYMIME".to_owned())));
            })
            .await;
        let found = deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await;
        assert_eq!(found, ["delivered 250 taken"]);
        assert!(sink.messages() == [&*binary], "{length}");
        sink.is_content();
    }
}
