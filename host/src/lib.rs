pub mod config;
pub mod extension;
pub mod observe;
pub mod session;
pub mod spool;
pub mod tls;
