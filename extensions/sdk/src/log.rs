//! The server's log. Lines are tagged with session, listener and extension by the host, escaped and cut.
//!
//! The macros take what `format!` takes and make the text only when the level is kept.

pub use crate::bindings::imports::pillarbox::extension::log::{Level, enabled, log};

/// Logs a line at `trace`.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => { $crate::__log!(Trace, $($argument)+) };
}

/// Logs a line at `debug`.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => { $crate::__log!(Debug, $($argument)+) };
}

/// Logs a line at `info`.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => { $crate::__log!(Info, $($argument)+) };
}

/// Logs a line at `warn`.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => { $crate::__log!(Warn, $($argument)+) };
}

/// Logs a line at `error`.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => { $crate::__log!(Error, $($argument)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($argument:tt)+) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::log($crate::log::Level::$level, &::std::format!($($argument)+));
        }
    };
}
