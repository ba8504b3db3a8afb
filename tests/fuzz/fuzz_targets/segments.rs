//! How the octets are cut into segments makes no difference to what is replied, asked and received.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox_fuzz::{Cut, Script};

fuzz_target!(|input: &[u8]| {
    let Some(script) = Script::read(input).map(Script::cut_makes_no_difference) else { return };
    let play = |cut: Cut| {
        let mut session = script.play(cut);
        // How errors are grouped into writes is a matter of segments; that they are waited for is not.
        session.trace.retain(|step| *step != "tarpit");
        (session.lines(), session.messages, session.trace, session.tarpitted)
    };
    let whole = play(Cut::Nowhere);
    for cut in [Cut::Every(1), Cut::Lines, script.cut()] {
        assert_eq!(play(cut), whole, "cut {cut:?}");
    }
});
