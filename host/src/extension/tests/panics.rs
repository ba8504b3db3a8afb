//! A panic in a host function, which is a mistake of ours: the call fails, the session gets its answer, and the process
//! goes on with everybody, this session included.

use super::super::bindings::pillarbox::extension::log::Level;
use super::super::instance::Indices;
use super::super::link;
use super::*;
use crate::session::policy::{Outcome, Question, Ruling};

/// Logs at `connect` and `hello`, and has no opinion.
const GUEST: &str = r#"
(import "pillarbox:extension/log@0.1.0" "log" (func $log (param i32 i32 i32)))
(func (export "pillarbox:extension/connect@0.1.0#connect") (result i32)
  (call $log (i32.const 2) (i32.const 0) (i32.const 4))
  i32.const 0)
(func (export "pillarbox:extension/disconnect@0.1.0#disconnect")
  (call $log (i32.const 2) (i32.const 0) (i32.const 4)))
"#;

/// A roster in which `log` panics.
async fn poisoned(bench: &Bench, extension: &str) -> Arc<Roster> {
    let world = world(["log"], ["lifecycle", "connect", "disconnect"]);
    bench.keep("guest", &component(&world, module(GUEST)));
    let mut roster = roster(bench.load("guest", "grant.session = true", extension).await.unwrap());
    let entry = Arc::get_mut(&mut Arc::get_mut(&mut roster).unwrap().entries[0]).unwrap();
    let linked = Arc::get_mut(&mut entry.linked).unwrap();
    let mut linker = link::linker(&linked.engine, &linked.grant).unwrap();
    linker.allow_shadowing(true);
    let mut interface = linker.instance("pillarbox:extension/log@0.1.0").unwrap();
    interface.func_wrap("log", |_, (_, _): (Level, String)| -> wasmtime::Result<()> { panic!("on purpose") }).unwrap();
    linked.pre = linker.instantiate_pre(linked.pre.component()).unwrap();
    linked.indices = Indices::new(&linked.pre).unwrap();
    roster
}

fn said(ruling: &Ruling) -> String {
    match &ruling.outcome {
        Outcome::Refuse(refusal) => refusal.reply().to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_panic_of_the_host_fails_the_call() {
    for (on_failure, expected) in [("tempfail", "421 4.3.0 "), ("skip", "Pass"), ("reject", "554 5.7.1 ")] {
        let bench = Bench::new();
        let roster = poisoned(&bench, &format!("on-failure = \"{on_failure}\"")).await;
        let (mut policy, mut facts) = (policy(&roster), facts());
        // Each call has an instance of its own, because the one before is gone.
        for round in 1..=3 {
            let ruling = policy.rule(Question::Connect, &mut facts).await;
            let text = said(&ruling);
            assert!(text.starts_with(expected), "{on_failure}: {text}");
            assert_eq!(bench.failures(), [("host-panic".to_owned(), round)]);
            assert_eq!(bench.runtime.instances(), 0);
        }
        // Where nobody is answered, nobody is told.
        policy.ended(&mut facts).await;
        assert_eq!(bench.failures(), [("host-panic".to_owned(), 4)]);
        assert_eq!(bench.runtime.instances(), 0);
    }
}
