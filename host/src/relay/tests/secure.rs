//! TLS, logins, and passing the client on.

use super::*;
