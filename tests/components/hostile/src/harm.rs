//! What a guest can do to the call it is in: end it, never end it, or use up what it was given.
#![allow(clippy::panic, reason = "this is what it is for")]

use std::hint::black_box;

use pillarbox_sdk::log::{self, Level};
use pillarbox_sdk::{Scope, authentication, context_write, identity, state};

/// Does it; an act that is none of these, or that is borne, comes back.
pub fn harm(act: &str) {
    match act {
        "panic" => panic!("on purpose"),
        "unreachable" => std::process::abort(),
        "loop" => spin(u64::MAX),
        "memory" => devour(),
        "memory-grow" => grow_quietly(),
        "recursion" => _ = descend(1),
        "host-calls" => call_for_ever(),
        "edits" => stage_for_ever(),
        "host-bytes" => write_for_ever(),
        "host-bytes-log" => log_for_ever(),
        "host-bytes-at-once" => log::log(Level::Info, &"x".repeat(2 << 20)),
        "panic-at-length" => panic!("one\r\ntwo\u{1b}[2J\u{2028}\u{202e}{}", "x".repeat(100_000)),
        "panic-forged" => {
            log::log(Level::Error, "panicked at /home/me/forged/src/lib.rs:1:1:\nnot\nso");
            std::process::abort();
        }
        "one-call" => _ = black_box(log::enabled(Level::Error)),
        "log-flood" => flood_the_log(),
        "log-control" => log::log(Level::Info, "one\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{2028}two"),
        "stage" => stage(),
        "stage-then-panic" => {
            stage();
            panic!("after staging");
        }
        "stage-then-loop" => {
            stage();
            spin(u64::MAX);
        }
        // Tens of milliseconds.
        "slow" => spin(20_000_000),
        _ => {}
    }
}

fn spin(rounds: u64) {
    let mut round = 0;
    while black_box(round) < rounds {
        round += 1;
    }
}

fn devour() {
    let mut eaten = Vec::new();
    loop {
        // Written to, so that it is memory and no promise.
        eaten.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Asks for four gigabytes, is told no, and goes on.
fn grow_quietly() {
    #[cfg(target_family = "wasm")]
    {
        black_box(core::arch::wasm32::memory_grow::<0>(65_535));
    }
}

#[allow(unconditional_recursion, reason = "this is what it is for")]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    black_box(descend(depth + 1)) + frame.iter().sum::<u64>()
}

fn call_for_ever() {
    loop {
        black_box(log::enabled(Level::Error));
    }
}

fn stage_for_ever() {
    loop {
        _ = context_write::unset(Scope::Connection, "staged");
    }
}

fn write_for_ever() {
    let value = "x".repeat(64 << 10);
    for _ in 0..64 {
        _ = context_write::set(Scope::Connection, "staged", &value);
    }
}

fn log_for_ever() {
    let line = "x".repeat(64 << 10);
    for _ in 0..64 {
        log::log(Level::Trace, &line);
    }
}

fn flood_the_log() {
    for number in 0..2_000 {
        log::log(Level::Info, &format!("flood {number}"));
    }
}

/// Stages whatever can be staged; what cannot be at this hook is no matter.
fn stage() {
    _ = context_write::set(Scope::Connection, "staged", "connection");
    _ = context_write::set(Scope::Message, "staged", "message");
    _ = state::set(Scope::Connection, "staged", b"connection");
    _ = identity::set_addr(Some("10.0.0.1"));
    _ = authentication::allow("mallory");
}
