//! The one place where octets become code that the processor runs.
//!
//! It does not know how they were made or kept. It takes them in a type that only two can make: who was given them by a
//! worker of ours, and who found them in the cache under a MAC that was right.
#![allow(unsafe_code, reason = "wasmtime cannot know who made the code it is given; here it is known")]

use super::engine::Engine;
use std::fmt;
use std::ops::Range;
use wasmtime::component::Component;

/// Compiled code that we made ourselves.
pub struct Code {
    octets: Vec<u8>,
    range: Range<usize>,
}

impl Code {
    /// What a worker answered: this binary, which had the component to read and a pipe to write to.
    pub(super) fn made(octets: Vec<u8>) -> Code {
        let range = 0..octets.len();
        Code { octets, range }
    }

    /// What lay in the cache, at this place in the octets of a file whose MAC was right.
    pub(super) fn kept(octets: Vec<u8>, range: Range<usize>) -> Code {
        Code { octets, range }
    }

    /// The code itself.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(self.range.clone()).unwrap_or_default()
    }

    /// Makes it a component.
    ///
    /// # Errors
    /// It was made with another runtime, for another processor, or with other settings.
    pub fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the octets must be what `precompile_component` answered. A `Code` holds nothing else: see the two who
        // make one. That they fit this engine is checked by wasmtime itself.
        unsafe { Component::deserialize(engine.wasmtime(), self.octets()) }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("octets", &self.range.len()).finish()
    }
}
