//! The host's side of the WIT package, generated from `wit/`. Nothing outside this room sees it.
#![allow(unsafe_code, unused_qualifications, missing_debug_implementations, clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "all",
    imports: {
        // These wait for the disk.
        "pillarbox:extension/message-read": async | trappable,
        // These wait for the store.
        "pillarbox:extension/kv": async | trappable,
        // These wait for others on the network.
        "pillarbox:extension/dns": async | trappable,
        "pillarbox:extension/http": async | trappable,
        "pillarbox:extension/stream": async | trappable,
        "pillarbox:extension/message-write": async | trappable,
        // And these for a route's mailboxes.
        "pillarbox:extension/envelope-write": async | trappable,
        // A host function answers errors as values; what traps is a used-up budget.
        default: trappable,
    },
    exports: { default: async },
});
