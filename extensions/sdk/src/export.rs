//! Making a component of a type: the one instance a component holds, and the macro that joins it to the exports.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::{Extension, log};

/// Where the instance lives. A component has one thread, and a host function never calls a hook: the cell is never
/// borrowed twice.
pub type Slot<T> = LocalKey<RefCell<Option<T>>>;

/// Makes the instance. A panic's message goes to the log; without this the host sees only that the guest stopped.
pub fn init<T: Extension>(slot: &'static Slot<T>) -> Result<(), String> {
    std::panic::set_hook(Box::new(|panic| log::log(log::Level::Error, &panic.to_string())));
    let extension = T::init()?;
    slot.set(Some(extension));
    Ok(())
}

/// Hands the instance to a hook.
pub fn with<T: Extension, R>(slot: &'static Slot<T>, hook: impl FnOnce(&mut T) -> R) -> R {
    slot.with_borrow_mut(|slot| match slot {
        Some(extension) => hook(extension),
        None => unreachable!("the host calls init before any hook"),
    })
}

/// Makes a component of an extension: `export!(Type: mail, recipient)` exports the life cycle and the hooks named,
/// whose traits the type must implement. A hook that is not named is never asked.
///
/// The hooks are `connect`, `hello`, `command`, `authenticate`, `verify`, `mail`, `recipient`, `data`, `message`,
/// `accepted` and `disconnect`.
#[macro_export]
macro_rules! export {
    ($extension:ty $(: $($hook:ident),+ $(,)?)?) => {
        // What the bindings' macros expand to declares C symbols, which is unsafe by name. They are declared for
        // WebAssembly only: no native linker takes their names, and a guest's own tests need none of them.
        #[allow(unsafe_code, dead_code)]
        const _: () = {
            ::std::thread_local! {
                static SLOT: ::std::cell::RefCell<::std::option::Option<$extension>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            struct Adapter;
            impl $crate::bindings::lifecycle::exports::pillarbox::extension::lifecycle::Guest for Adapter {
                fn init() -> ::std::result::Result<(), ::std::string::String> {
                    $crate::init(&SLOT)
                }
            }
            #[cfg(target_family = "wasm")]
            $crate::bindings::lifecycle::export_lifecycle!(Adapter with_types_in $crate::bindings::lifecycle);
            $($($crate::__hook!($hook, $extension);)+)?
        };
    };
}

/// One arm for each hook.
#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (connect, $extension:ty) => {
        impl $crate::bindings::connect::exports::pillarbox::extension::connect::Guest for Adapter {
            fn connect() -> $crate::Decision {
                $crate::with(&SLOT, |extension| <$extension as $crate::Connect>::connect(extension))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::connect::export_connect!(Adapter with_types_in $crate::bindings::connect);
    };
    (hello, $extension:ty) => {
        impl $crate::bindings::hello::exports::pillarbox::extension::hello::Guest for Adapter {
            fn hello(verb: ::std::string::String, domain: ::std::string::String) -> $crate::Decision {
                $crate::with(&SLOT, |extension| <$extension as $crate::Hello>::hello(extension, &verb, &domain))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::hello::export_hello!(Adapter with_types_in $crate::bindings::hello);
    };
    (command, $extension:ty) => {
        impl $crate::bindings::command::exports::pillarbox::extension::command::Guest for Adapter {
            fn begin(verb: ::std::string::String, argument: ::std::string::String) -> $crate::Answer {
                $crate::with(&SLOT, |extension| <$extension as $crate::Command>::begin(extension, &verb, &argument))
            }
            fn resume(state: ::std::vec::Vec<u8>, line: ::std::vec::Vec<u8>) -> $crate::Answer {
                $crate::with(&SLOT, |extension| <$extension as $crate::Command>::resume(extension, &state, &line))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::command::export_command!(Adapter with_types_in $crate::bindings::command);
    };
    (authenticate, $extension:ty) => {
        impl $crate::bindings::authenticate::exports::pillarbox::extension::authenticate::Guest for Adapter {
            fn begin(
                mechanism: ::std::string::String,
                initial: ::std::option::Option<::std::vec::Vec<u8>>,
            ) -> $crate::authenticate::Step {
                $crate::with(&SLOT, |extension| {
                    <$extension as $crate::Authenticate>::begin(extension, &mechanism, initial.as_deref())
                })
            }
            fn resume(state: ::std::vec::Vec<u8>, response: ::std::vec::Vec<u8>) -> $crate::authenticate::Step {
                $crate::with(&SLOT, |extension| {
                    <$extension as $crate::Authenticate>::resume(extension, &state, &response)
                })
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::authenticate::export_authenticate!(
            Adapter with_types_in $crate::bindings::authenticate
        );
    };
    (verify, $extension:ty) => {
        impl $crate::bindings::verify::exports::pillarbox::extension::verify::Guest for Adapter {
            fn password(
                user: ::std::string::String,
                password: ::std::string::String,
                authorization: ::std::option::Option<::std::string::String>,
            ) -> $crate::verify::Outcome {
                $crate::with(&SLOT, |extension| {
                    <$extension as $crate::Verify>::password(extension, &user, &password, authorization.as_deref())
                })
            }
            fn lookup(user: ::std::string::String) -> $crate::verify::Outcome {
                $crate::with(&SLOT, |extension| <$extension as $crate::Verify>::lookup(extension, &user))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::verify::export_verify!(Adapter with_types_in $crate::bindings::verify);
    };
    (mail, $extension:ty) => {
        impl $crate::bindings::mail::exports::pillarbox::extension::mail::Guest for Adapter {
            fn mail(sender: ::std::string::String, parameters: ::std::vec::Vec<$crate::Parameter>) -> $crate::Decision {
                $crate::with(&SLOT, |extension| <$extension as $crate::Mail>::mail(extension, &sender, &parameters))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::mail::export_mail!(Adapter with_types_in $crate::bindings::mail);
    };
    (recipient, $extension:ty) => {
        impl $crate::bindings::recipient::exports::pillarbox::extension::recipient::Guest for Adapter {
            fn recipient(
                address: ::std::string::String,
                parameters: ::std::vec::Vec<$crate::Parameter>,
            ) -> $crate::Decision {
                $crate::with(&SLOT, |extension| {
                    <$extension as $crate::Recipient>::recipient(extension, &address, &parameters)
                })
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::recipient::export_recipient!(Adapter with_types_in $crate::bindings::recipient);
    };
    (data, $extension:ty) => {
        impl $crate::bindings::data::exports::pillarbox::extension::data::Guest for Adapter {
            fn data() -> $crate::Decision {
                $crate::with(&SLOT, |extension| <$extension as $crate::Data>::data(extension))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::data::export_data!(Adapter with_types_in $crate::bindings::data);
    };
    (message, $extension:ty) => {
        impl $crate::bindings::message::exports::pillarbox::extension::message::Guest for Adapter {
            fn message() -> $crate::Decision {
                $crate::with(&SLOT, |extension| <$extension as $crate::Message>::message(extension))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::message::export_message!(Adapter with_types_in $crate::bindings::message);
    };
    (accepted, $extension:ty) => {
        impl $crate::bindings::accepted::exports::pillarbox::extension::accepted::Guest for Adapter {
            fn accepted(id: ::std::string::String) {
                $crate::with(&SLOT, |extension| <$extension as $crate::Accepted>::accepted(extension, &id))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::accepted::export_accepted!(Adapter with_types_in $crate::bindings::accepted);
    };
    (disconnect, $extension:ty) => {
        impl $crate::bindings::disconnect::exports::pillarbox::extension::disconnect::Guest for Adapter {
            fn disconnect() {
                $crate::with(&SLOT, |extension| <$extension as $crate::Disconnect>::disconnect(extension))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::disconnect::export_disconnect!(Adapter with_types_in $crate::bindings::disconnect);
    };
    ($other:ident, $extension:ty) => {
        ::std::compile_error!(::std::concat!(
            "`",
            ::std::stringify!($other),
            "` is not a hook; the hooks are connect, hello, command, authenticate, verify, mail, recipient, data, ",
            "message, accepted, disconnect"
        ));
    };
}
