//! Candidates: a component that is asked beside the one in use and heard by nobody, or that has some of its sessions.

mod canary;
mod refused;
mod shadow;

use crate::configs::listeners as config;
use crate::reload::{listener, policy, version};

const ONE: &str = "example-policy";
const TWO: &str = "example-policy-v2";

/// A listener with the policy, version one, and `candidate` below it.
fn with_candidate(candidate: &str) -> String {
    let settings = r#"settings = { senders = ["spam@example.net"], refusals = 3, marker = "X-TEST-MARKER" }"#;
    config(&(listener("test", "", &policy("test")) + &version(ONE, settings) + candidate))
}

/// Version two as the candidate, with these lines.
fn candidate(lines: &str) -> String {
    with_candidate(&format!(
        "[extension.policy.candidate]\ncomponent = \"../../../target/guests/{TWO}.wasm\"\n{lines}\n"
    ))
}

/// A listener where `prober` with these settings is in use, and a candidate with others is tried.
fn probers(settings: &str, candidate: &str) -> String {
    tried("prober", settings, "prober", candidate)
}

/// One test component in use, another tried.
fn tried(active: &str, settings: &str, component: &str, candidate: &str) -> String {
    config(&format!(
        r#"
[listener.test]
address = ["127.0.0.1:0"]
relay.domains = ["example.test"]
auth.without-tls = true
[[listener.test.extension]]
use = "tried"
peers = ["127.0.0.0/8"]
grant.session = true
grant.identity = ["addr"]
grant.authentication = true
grant.context-read = true
grant.context-write = true
grant.credentials = true
grant.envelope-read = true
grant.message-read = true

[extension.tried]
component = "../../../target/guests/{active}.wasm"
settings = {{ {settings} }}
[extension.tried.candidate]
component = "../../../target/guests/{component}.wasm"
{candidate}
"#
    ))
}
