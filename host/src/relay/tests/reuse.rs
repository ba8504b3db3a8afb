//! Connections that are used again.

use super::*;
