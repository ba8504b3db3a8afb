//! What `wit-bindgen` makes of the WIT package: the imports once, each hook in a module of its own.
//!
//! Nothing here is written for reading; `lib.rs` re-exports what an author needs under shorter names. One world for
//! each hook, and not one world for all, is what lets a component export only the hooks its `export!` line names. A
//! component imports only the functions its code reaches: the rest is dropped when it is linked.

// The canonical ABI is lowered by hand in generated code: pointers into linear memory and exported C symbols.
#![allow(unsafe_code)]
// Generated code answers to its generator, not to this workspace's style.
#![allow(missing_debug_implementations, unused_qualifications, clippy::all, clippy::restriction)]

pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "imports",
        generate_all,
        additional_derives: [PartialEq],
    });
}

/// A hook's exports. `with` makes `Decision`, `Reply` and the other shared types one Rust type for all hooks.
macro_rules! hook {
    ($module:ident, $world:literal, $export:literal, $path:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $path,
                additional_derives: [PartialEq],
                with: { "pillarbox:extension/types@0.1.0": crate::bindings::imports::pillarbox::extension::types },
            });
        }
    };
}

/// The same for an interface that uses no shared type: an unused `with` is an error.
macro_rules! plain_hook {
    ($module:ident, $world:literal, $export:literal, $path:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $path,
                additional_derives: [PartialEq],
            });
        }
    };
}

plain_hook!(lifecycle, "hook-lifecycle", "export_lifecycle", "pillarbox_sdk::bindings::lifecycle");
hook!(connect, "hook-connect", "export_connect", "pillarbox_sdk::bindings::connect");
hook!(hello, "hook-hello", "export_hello", "pillarbox_sdk::bindings::hello");
hook!(command, "hook-command", "export_command", "pillarbox_sdk::bindings::command");
hook!(authenticate, "hook-authenticate", "export_authenticate", "pillarbox_sdk::bindings::authenticate");
plain_hook!(verify, "hook-verify", "export_verify", "pillarbox_sdk::bindings::verify");
hook!(mail, "hook-mail", "export_mail", "pillarbox_sdk::bindings::mail");
hook!(recipient, "hook-recipient", "export_recipient", "pillarbox_sdk::bindings::recipient");
hook!(data, "hook-data", "export_data", "pillarbox_sdk::bindings::data");
hook!(message, "hook-message", "export_message", "pillarbox_sdk::bindings::message");
plain_hook!(accepted, "hook-accepted", "export_accepted", "pillarbox_sdk::bindings::accepted");
plain_hook!(disconnect, "hook-disconnect", "export_disconnect", "pillarbox_sdk::bindings::disconnect");
