//! `stream`: byte streams to addresses that are granted, for the length of one call.

use crate::config::{Capability, Spending, StreamAddress};
use crate::extension::bindings::pillarbox::extension::stream::Host;
use crate::extension::bindings::pillarbox::extension::types::Error;
use crate::extension::state::State;
use crate::extension::streams::{self, Socket};
use std::io;

/// Octets of one `read`.
const LARGEST_READ: u32 = 64 << 10;

impl State {
    /// The address, if it may be connected to.
    fn address(&mut self, text: &str) -> Result<StreamAddress, Error> {
        let Some(address) = StreamAddress::parse(text) else {
            return Err(Error::Invalid("an address is HOST:PORT or unix:PATH".to_owned()));
        };
        if !self.linked.grant.opens(&address) {
            return self.deny(Capability::Stream, &address.to_string());
        }
        self.session().map(|_| address)
    }

    fn socket(&mut self, handle: u32) -> Result<&mut dyn Socket, Error> {
        self.streams.get(handle).map(|socket| &mut **socket as &mut dyn Socket).ok_or_else(unknown)
    }
}

impl Host for State {
    async fn open(&mut self, address: String) -> wasmtime::Result<Result<u32, Error>> {
        self.cross(address.len())?;
        self.spend(Spending::Handle)?;
        Ok(match self.address(&address) {
            Ok(address) => self.streams.connect(&address).await.map_err(Error::from),
            Err(error) => Err(error),
        })
    }

    async fn write(&mut self, handle: u32, octets: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        self.cross(octets.len())?;
        Ok(match self.socket(handle) {
            Ok(socket) => streams::write(socket, &octets).await.map_err(Error::from),
            Err(error) => Err(error),
        })
    }

    async fn read(&mut self, handle: u32, length: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.cross(8)?;
        if length == 0 {
            // It would look like the end.
            return Ok(Err(Error::Invalid("at least one octet is read".to_owned())));
        }
        let most = usize::try_from(length.min(LARGEST_READ)).unwrap_or_default();
        let read = match self.socket(handle) {
            Ok(socket) => streams::read(socket, most).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        self.answer(read.as_ref().map_or(0, Vec::len), read)
    }

    async fn close(&mut self, handle: u32) -> wasmtime::Result<Result<(), Error>> {
        self.cross(4)?;
        Ok(match self.streams.close(handle) {
            true => Ok(()),
            false => Err(unknown()),
        })
    }
}

fn unknown() -> Error {
    Error::Invalid("there is no stream of this handle".to_owned())
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Failed(match error.kind() {
            io::ErrorKind::TimedOut => "the other end did not answer in time".to_owned(),
            kind => kind.to_string(),
        })
    }
}
