//! NOOP (RFC 5321 section 4.1.1.9). It takes any argument and needs no check.

use crate::reply;
use crate::server::Server;

pub(crate) fn proceed(server: &mut Server) {
    server.say(&reply::ok());
}
