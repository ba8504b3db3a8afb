//! Which server gets a message.

use super::*;
