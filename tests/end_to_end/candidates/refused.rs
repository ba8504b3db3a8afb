//! What is wrong with a candidate is found when it is loaded.

use super::{candidate, probers, tried};
use pillarbox_tests::Site;

#[test]
fn what_it_adds_to_the_protocol_is_what_the_one_in_use_does() {
    for (active, tried, words) in [
        (
            "verb = \"XTRY\"",
            "verb = \"XOTHER\"",
            "extension `tried (candidate)` declares the verb `XOTHER`, and `tried` does not",
        ),
        (
            "verb = \"XTRY\"",
            "verb = \"\"",
            "extension `tried (candidate)` does not declare the verb `XTRY`, and `tried` does",
        ),
        (
            "verb = \"XTRY\"",
            "verb = \"XTRY\", parameter = \"XPARAMETER\"",
            "extension `tried (candidate)` declares the MAIL parameter `XPARAMETER`, and `tried` does not",
        ),
        (
            "mechanisms = [\"XONE\"]",
            "mechanisms = [\"XTWO\"]",
            "extension `tried (candidate)` declares the SASL mechanism `XTWO`, and `tried` does not",
        ),
        (
            "verb = \"XTRY\"",
            "verb = \"XTRY\", judge = \"no\"",
            "extension `tried (candidate)` has the hook `verify`, and `tried` has not",
        ),
        (
            "judge = \"no\"",
            "verb = \"XTRY\"",
            "extension `tried (candidate)` has not the hook `verify`, and `tried` has",
        ),
        // And like every extension it must begin well.
        ("", "init = [\"session.id\"]", "extension `tried (candidate)` says: session.id:"),
    ] {
        for trial in ["shadow = true", "canary = { share = \"5%\" }"] {
            let text = probers(active, &format!("{trial}\nsettings = {{ {tried} }}"));
            Site::new(&text).run(&["check"]).exits(65).says(words);
        }
    }
    Site::new(&probers("", "shadow = true\nsettings = {}")).run(&["check"]).exits(0).says("CANDIDATE FOR");
}

#[test]
fn it_has_the_grants_of_the_entry_and_no_others() {
    let text = tried("xforward", "", "prober", "shadow = true").replace("grant.message-read = true\n", "");
    Site::new(&text).run(&["check"]).exits(65).says("extension `tried (candidate)` needs `message-read`");
}

#[test]
fn its_component_is_read_and_pinned() {
    let text = candidate("shadow = true").replace("example-policy-v2.wasm", "nowhere.wasm");
    Site::new(&text).run(&["check"]).exits(65).says("extension `policy (candidate)`: cannot read");
    let pin = format!("shadow = true\nsha256 = \"{}\"", "00".repeat(32));
    Site::new(&candidate(&pin)).run(&["check"]).exits(65).says("the component is not the pinned one");
}
