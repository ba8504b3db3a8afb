//! Every answer that cannot be said, at every hook that could say it: a failed call, never mended and never sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use types::Verdict as V;

const DECIDING: [Hook; 6] = [Hook::Connect, Hook::Hello, Hook::Mail, Hook::Recipient, Hook::Data, Hook::Message];

/// Everything may be answered, so that nothing is dropped as not granted.
const GRANTED: Verdicts =
    Verdicts { accept: true, tempfail: true, reject: true, disconnect: true, discard: true, quarantine: false };

fn reply(code: u16, enhanced: Option<&str>, text: &[&str]) -> types::Reply {
    types::Reply {
        code,
        enhanced: enhanced.map(str::to_owned),
        text: text.iter().map(|line| (*line).to_owned()).collect(),
    }
}

fn decided(hook: Hook, verdict: V) -> Result<Ruled, Failure> {
    decision(hook, Returned::Decision(types::Decision { verdict, delay_ms: 0 }), &GRANTED)
}

/// Replies of a class that can be said with this code, each wrong in one way.
fn malformed(code: u16) -> Vec<types::Reply> {
    let class = code / 100;
    let good = format!("{class}.7.1");
    let other = format!("{}.7.1", if class == 5 { 4 } else { 5 });
    let mut wrong = Vec::new();
    for text in
        ["a\r\n250 ok", "a\nb", "a\rb", "a\0b", "a\u{7f}b", "a\u{1b}[2J", "a\u{85}b", "é", "a\u{2028}b", "a\tb\u{b}"]
    {
        wrong.push(reply(code, Some(&good), &[text]));
        wrong.push(reply(code, Some(&good), &["fine", text]));
    }
    for enhanced in
        ["", "5", "5.7", &other, "2.0.0", "x.y.z", "5.7.1\r\n250 ok", "5.7.1 ", "05.7.1", "5.1000.1", "-5.7.1"]
    {
        wrong.push(reply(code, Some(enhanced), &["text"]));
    }
    wrong.push(reply(code, Some(&good), &[]));
    wrong.push(reply(code, Some(&good), &[&"x".repeat(401)]));
    wrong.push(reply(code, Some(&good), &[&"x".repeat(1 << 20)]));
    wrong.push(reply(code, Some(&good), &["x"; 21]));
    wrong
}

#[test]
fn no_hook_says_a_malformed_reply() {
    for hook in DECIDING {
        let tempfail = if hook == Hook::Connect { 421 } else { 451 };
        for (code, verdict) in [
            (tempfail, V::Tempfail as fn(Option<types::Reply>) -> V),
            (550, V::Reject as fn(Option<types::Reply>) -> V),
            (554, V::Disconnect as fn(Option<types::Reply>) -> V),
        ] {
            let class = code / 100;
            let good = reply(code, Some(&format!("{class}.7.1")), &["fine", "and more"]);
            assert!(decided(hook, verdict(Some(good))).is_ok(), "{code} at {}", hook.name());
            assert!(decided(hook, verdict(None)).is_ok(), "without words at {}", hook.name());
            for words in malformed(code) {
                let shown = format!("{words:?}");
                let Err(failure) = decided(hook, verdict(Some(words))) else {
                    panic!("{shown:.200} is said at {}", hook.name());
                };
                assert_eq!(failure.kind(), "answer");
            }
        }
    }
}

#[test]
fn a_code_is_of_its_verdicts_class() {
    for hook in DECIDING {
        let connect = hook == Hook::Connect;
        for code in (0..=700).chain([999, 1000, 4510, 5500, u16::MAX]) {
            let said = |verdict: fn(Option<types::Reply>) -> V| {
                decided(hook, verdict(Some(reply(code, None, &["text"])))).is_ok()
            };
            let temporary = (400..500).contains(&code);
            let lasting = (500..600).contains(&code);
            // Which codes of a class there are is for the protocol's own tests: none outside it is said.
            assert!(!said(V::Tempfail) || (temporary && (!connect || code == 421)), "tempfail {code} {hook:?}");
            assert!(!said(V::Reject) || lasting, "reject {code} {hook:?}");
            assert!(!said(V::Disconnect) || lasting || code == 421, "disconnect {code} {hook:?}");
        }
        for code in [550, 554] {
            let words = Some(reply(code, None, &["text"]));
            assert!(decided(hook, V::Reject(words)).is_ok(), "reject {code} {hook:?}");
        }
        assert_eq!(decided(hook, V::Tempfail(Some(reply(451, None, &["text"])))).is_ok(), !connect, "{hook:?}");
        assert!(decided(hook, V::Tempfail(Some(reply(421, None, &["text"])))).is_ok(), "{hook:?}");
    }
}

#[test]
fn a_verdict_has_its_columns() {
    for hook in DECIDING {
        let message = !matches!(hook, Hook::Connect | Hook::Hello);
        assert_eq!(decided(hook, V::Discard).is_ok(), message, "discard at {}", hook.name());
    }
    // A hook that decides answers with a decision, and nothing else is one.
    assert!(decision(Hook::Mail, Returned::Nothing, &GRANTED).is_err());
    assert!(answer(Returned::Nothing).is_err());
}

#[test]
fn no_verb_answers_what_cannot_be_said() {
    use command::Answer as A;
    let more = |reply: types::Reply, state: usize| A::More(command::Pending { reply, state: vec![0; state] });
    for (answered, usable) in [
        (A::Done(reply(250, Some("2.0.0"), &["done"])), true),
        (A::Done(reply(250, None, &["done"])), true),
        (A::Done(reply(550, Some("5.7.1"), &["no"])), true),
        (A::Done(reply(354, None, &["go on"])), false),
        (A::Done(reply(0, None, &["x"])), false),
        (A::Done(reply(99, None, &["x"])), false),
        (A::Done(reply(150, None, &["x"])), false),
        (A::Done(reply(600, None, &["x"])), false),
        (A::Done(reply(999, None, &["x"])), false),
        (A::Done(reply(u16::MAX, None, &["x"])), false),
        (A::Done(reply(250, None, &["a\r\n550 no"])), false),
        (A::Done(reply(250, None, &[])), false),
        (A::Done(reply(250, None, &[&"x".repeat(1 << 20)])), false),
        (A::Done(reply(250, None, &["x"; 1_025])), false),
        (A::Done(reply(250, Some("5.7.1"), &["x"])), false),
        (more(reply(354, None, &["go on"]), 4_096), true),
        (more(reply(354, None, &["go on"]), 4_097), false),
        (more(reply(250, None, &["done"]), 0), false),
        (more(reply(354, None, &["go\non"]), 0), false),
        (A::Restart(true), true),
        (A::Restart(false), true),
        (A::Close(reply(421, Some("4.7.0"), &["bye"])), true),
        (A::Close(reply(554, Some("5.7.1"), &["bye"])), true),
        (A::Close(reply(450, Some("4.7.1"), &["bye"])), false),
        (A::Close(reply(250, Some("2.0.0"), &["bye"])), false),
        (A::Close(reply(354, None, &["bye"])), false),
    ] {
        let shown = format!("{answered:?}");
        assert_eq!(answer(Returned::Answer(answered)).is_ok(), usable, "{shown:.100}");
    }
}

#[test]
fn a_delay_is_kept_whatever_its_length_and_nobody_without_a_verdict_has_one() {
    let delayed = |granted: &Verdicts| {
        let decision = types::Decision { verdict: V::Next, delay_ms: u32::MAX };
        super::decision(Hook::Mail, Returned::Decision(decision), granted).unwrap().delay
    };
    // The listener's `limits.delay` cuts it.
    assert_eq!(delayed(&GRANTED), Duration::from_millis(u32::MAX.into()));
    let none = Verdicts {
        accept: false,
        tempfail: false,
        reject: false,
        disconnect: false,
        discard: false,
        quarantine: false,
    };
    assert_eq!(delayed(&none), Duration::ZERO);
}
