//! Connections that are used again.

use std::time::Duration;

use super::*;

const GREETING: &str = "S: 220 mx\nC: EHLO *\nS: 250 mx\n";
const ONE: &str = "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 taken\n";
const REFUSED: &str = "C: MAIL *\nS: 250 ok\nC: RCPT *\nS: 550 no\n";

/// So many messages, one after the other, over as many connections as there are scripts.
async fn several(scripts: &[&str], messages: usize, change: impl FnOnce(&mut RelayTarget)) -> Vec<String> {
    let sink = Sink::start(scripts).await;
    let mut target = to(HopProtocol::Smtp, sink.address);
    change(&mut target);
    let (relay, mut bed, mut found) = (relay(target), Bed::new(), Vec::new());
    for _ in 0..messages {
        let stored = bed.message(HELLO, TO_B, |_| {}).await;
        found.extend(deliver_words(&relay, &stored).await);
    }
    assert_eq!(sink.connections(), scripts.len());
    sink.is_content();
    found
}

#[tokio::test]
async fn a_connection_takes_one_message_after_the_other() {
    let taken = "delivered 250 taken";
    let three = format!("{GREETING}{ONE}{ONE}{ONE}HANG");
    assert_eq!(several(&[&three], 3, |_| {}).await, [taken; 3]);
    // As many as it may.
    let (two, one) = (format!("{GREETING}{ONE}{ONE}END"), format!("{GREETING}{ONE}HANG"));
    assert_eq!(several(&[&two, &one], 3, |target| target.messages = 2).await, [taken; 3]);
    // None where none may wait.
    let ends = format!("{GREETING}{ONE}END");
    assert_eq!(several(&[&ends, &ends], 2, |target| target.idle = Duration::ZERO).await, [taken; 2]);
    // What was begun and not ended is taken back first.
    let reset = format!("{GREETING}{REFUSED}C: RSET\nS: 250 ok\n{ONE}HANG");
    assert_eq!(several(&[&reset], 2, |_| {}).await, ["failed 5.1.1 recipient", taken]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let taken = "delivered 250 taken";
    let again = format!("{GREETING}{ONE}HANG");
    for end in [
        "",
        "RESET",
        "S: 421 4.4.2 idle",
        "C: MAIL *",
        "C: MAIL *\nS: 421 4.4.2 idle",
        "C: MAIL *\nRESET",
        "C: MAIL *\nS: 250 ok",
    ] {
        let first = format!("{GREETING}{ONE}{end}");
        assert_eq!(several(&[&first, &again], 2, |_| {}).await, [taken; 2], "{end}");
    }
    // Once is enough: a new one that goes the same way is a server that fails.
    let gone = format!("{GREETING}C: MAIL *");
    let first = format!("{GREETING}{ONE}C: MAIL *");
    assert_eq!(several(&[&first, &gone], 2, |_| {}).await, [taken, "deferred 4.4.2 destination"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_waits_as_long_as_it_may() {
    let sink = Sink::start(&[&format!("{GREETING}{ONE}C: QUIT\nS: 221 bye"), &format!("{GREETING}{ONE}HANG")]).await;
    let (relay, mut bed) = (relay(to(HopProtocol::Smtp, sink.address)), Bed::new());
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    deliver(&relay, &stored).await;
    assert_eq!(relay.0.pool.waiting(), 1);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(relay.0.pool.waiting(), 0);
    assert_eq!(deliver_words(&relay, &stored).await, ["delivered 250 taken"]);
    assert_eq!(sink.connections(), 2);
    sink.is_content();
}

#[tokio::test]
async fn a_new_configuration_takes_connections_over() {
    let sink = Sink::start(&[&format!("{GREETING}{ONE}{ONE}HANG")]).await;
    let (before, mut bed) = (relay(to(HopProtocol::Smtp, sink.address)), Bed::new());
    let stored = bed.message(HELLO, TO_B, |_| {}).await;
    deliver(&before, &stored).await;
    let after = relay(to(HopProtocol::Smtp, sink.address));
    after.inherit(&before);
    drop(before);
    assert_eq!(deliver_words(&after, &stored).await, ["delivered 250 taken"]);
    assert_eq!(sink.connections(), 1);
    sink.is_content();
}

#[tokio::test]
async fn many_recipients_take_several_transactions() {
    let addresses: Vec<String> = (0..150).map(|n| format!("u{n}@example.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let of = |count: usize| {
        let rcpts = "C: RCPT *\nS: 250 ok\n".repeat(count);
        format!("C: MAIL *\nS: 250 ok\n{rcpts}C: DATA\nS: 354 go\nMESSAGE\nS: 250 taken\n")
    };
    let sink = Sink::start(&[&format!("{GREETING}{}{}HANG", of(100), of(50))]).await;
    let mut bed = Bed::new();
    let stored = bed.message(HELLO, &addresses, |_| {}).await;
    let found = deliver_words(&relay(to(HopProtocol::Smtp, sink.address)), &stored).await;
    assert!(found.iter().all(|it| it == "delivered 250 taken"), "{found:?}");
    assert_eq!(sink.messages(), [HELLO, HELLO]);
    sink.is_content();
}
