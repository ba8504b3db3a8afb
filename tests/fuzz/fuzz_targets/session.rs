//! A whole session: whatever a peer sends, in whatever segments, whatever policy answers and whatever happens meanwhile, the
//! machine does not panic, comes to rest, holds little, and gives each command one well-formed reply.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillarbox_fuzz::{Script, judge};

fuzz_target!(|input: &[u8]| {
    if let Some(script) = Script::read(input) {
        judge(&mut script.play(script.cut()));
    }
});
