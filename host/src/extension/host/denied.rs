//! What is linked where the operator wrote `false`: every function answers `denied`, and is counted as every denial is.
//! The WIT decides the signatures; this is a table.

use crate::config::Capability;
use crate::extension::bindings::pillarbox::extension as wit;
use crate::extension::state::State;
use wit::types::{Entry, Error, Parameter, Reply, Scope};

/// The stub's sight of the guest: enough to say who was denied.
pub struct Denied<'a>(pub &'a mut State);

impl Denied<'_> {
    fn deny<T>(&mut self, capability: Capability, function: &str) -> wasmtime::Result<Result<T, Error>> {
        self.0.cross(0)?;
        Ok(self.0.deny(capability, &function.replace('_', "-")))
    }
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

macro_rules! denied {
    ($($interface:ident as $capability:ident { $($function:ident($($argument:ty),*) -> $answer:ty;)* })*) => { $(
        impl wit::$interface::Host for Denied<'_> {
            $( denied!(@function $capability $function($($argument),*) -> $answer); )*
        }
    )* };
    (@function $capability:ident $function:ident() -> $answer:ty) => {
        fn $function(&mut self) -> Answer<$answer> {
            self.deny(Capability::$capability, stringify!($function))
        }
    };
    (@function $capability:ident $function:ident($a:ty) -> $answer:ty) => {
        fn $function(&mut self, _: $a) -> Answer<$answer> {
            self.deny(Capability::$capability, stringify!($function))
        }
    };
    (@function $capability:ident $function:ident($a:ty, $b:ty) -> $answer:ty) => {
        fn $function(&mut self, _: $a, _: $b) -> Answer<$answer> {
            self.deny(Capability::$capability, stringify!($function))
        }
    };
    (@function $capability:ident $function:ident($a:ty, $b:ty, $c:ty) -> $answer:ty) => {
        fn $function(&mut self, _: $a, _: $b, _: $c) -> Answer<$answer> {
            self.deny(Capability::$capability, stringify!($function))
        }
    };
}

denied! {
    session as Session {
        id() -> String;
        listener() -> String;
        peer() -> wit::session::Endpoint;
        client() -> wit::session::ClientFacts;
        destination() -> wit::session::Endpoint;
        tls() -> Option<wit::session::TlsFacts>;
        authentication() -> Option<wit::session::Login>;
        phase() -> wit::session::Stage;
    }
    identity as Identity {
        settable() -> Vec<wit::identity::Field>;
        set_addr(Option<String>) -> ();
        set_port(Option<u16>) -> ();
        set_name(wit::identity::HostName) -> ();
        set_helo(Option<String>) -> ();
        set_proto(String) -> ();
        set_login(Option<String>) -> ();
        set_destaddr(Option<String>) -> ();
        set_destport(Option<u16>) -> ();
    }
    context_read as ContextRead {
        get(Scope, String) -> Option<String>;
        entries(Scope) -> Vec<Entry>;
    }
    context_write as ContextWrite {
        set(Scope, String, String) -> ();
        set_all(Scope, Vec<Entry>) -> ();
        unset(Scope, String) -> ();
    }
    authentication as Authentication {
        allow(String) -> ();
        forbid() -> ();
    }
    envelope_read as EnvelopeRead {
        sender() -> Option<String>;
        recipients() -> Vec<String>;
        parameters() -> Vec<Parameter>;
    }
    table as Table {
        lookup(String, String) -> Option<String>;
    }
    clock as Clock {
        now() -> u64;
        monotonic() -> u64;
    }
    random as Random {
        bytes(u32) -> Vec<u8>;
    }
    metrics as Metrics {
        count(String, u64, Vec<Entry>) -> ();
    }
}

impl wit::kv::Host for Denied<'_> {
    async fn get(&mut self, _: String) -> Answer<Option<Vec<u8>>> {
        self.deny(Capability::Kv, "get")
    }

    async fn set(&mut self, _: String, _: Vec<u8>, _: u64) -> Answer<()> {
        self.deny(Capability::Kv, "set")
    }

    async fn unset(&mut self, _: String) -> Answer<()> {
        self.deny(Capability::Kv, "unset")
    }

    async fn increment(&mut self, _: String, _: i64, _: u64) -> Answer<i64> {
        self.deny(Capability::Kv, "increment")
    }
}

impl wit::envelope_write::Host for Denied<'_> {
    async fn set_sender(&mut self, _: String) -> Answer<()> {
        self.deny(Capability::EnvelopeWrite, "set_sender")
    }

    async fn add_recipient(&mut self, _: String) -> Answer<()> {
        self.deny(Capability::EnvelopeWrite, "add_recipient")
    }

    async fn drop_recipient(&mut self, _: String) -> Answer<()> {
        self.deny(Capability::EnvelopeWrite, "drop_recipient")
    }

    async fn rewrite_recipient(&mut self, _: String, _: String) -> Answer<()> {
        self.deny(Capability::EnvelopeWrite, "rewrite_recipient")
    }

    async fn refuse_recipient(&mut self, _: String, _: Reply) -> Answer<()> {
        self.deny(Capability::EnvelopeWrite, "refuse_recipient")
    }
}

impl wit::message_write::Host for Denied<'_> {
    async fn insert_header(&mut self, _: String, _: u32, _: String) -> Answer<()> {
        self.deny(Capability::MessageWrite, "insert_header")
    }

    async fn replace_header(&mut self, _: String, _: u32, _: String) -> Answer<()> {
        self.deny(Capability::MessageWrite, "replace_header")
    }

    async fn remove_header(&mut self, _: String, _: u32) -> Answer<()> {
        self.deny(Capability::MessageWrite, "remove_header")
    }
}

impl wit::message_read::Host for Denied<'_> {
    async fn size(&mut self) -> Answer<u64> {
        self.deny(Capability::MessageRead, "size")
    }

    async fn body_offset(&mut self) -> Answer<u64> {
        self.deny(Capability::MessageRead, "body_offset")
    }

    async fn headers(&mut self) -> Answer<Vec<wit::message_read::Header>> {
        self.deny(Capability::MessageRead, "headers")
    }

    async fn header_values(&mut self, _: String) -> Answer<Vec<Vec<u8>>> {
        self.deny(Capability::MessageRead, "header_values")
    }

    async fn read(&mut self, _: u64, _: u32) -> Answer<Vec<u8>> {
        self.deny(Capability::MessageRead, "read")
    }

    async fn find(&mut self, _: Vec<u8>, _: u64) -> Answer<Option<u64>> {
        self.deny(Capability::MessageRead, "find")
    }
}

impl wit::dns::Host for Denied<'_> {
    async fn addresses(&mut self, _: String) -> Answer<Vec<String>> {
        self.deny(Capability::Dns, "addresses")
    }

    async fn mail_exchangers(&mut self, _: String) -> Answer<Vec<wit::dns::Exchange>> {
        self.deny(Capability::Dns, "mail_exchangers")
    }

    async fn texts(&mut self, _: String) -> Answer<Vec<Vec<u8>>> {
        self.deny(Capability::Dns, "texts")
    }

    async fn pointers(&mut self, _: String) -> Answer<Vec<String>> {
        self.deny(Capability::Dns, "pointers")
    }
}

impl wit::http::Host for Denied<'_> {
    async fn send(&mut self, _: wit::http::Request) -> Answer<wit::http::Response> {
        self.deny(Capability::Http, "send")
    }
}

impl wit::stream::Host for Denied<'_> {
    async fn open(&mut self, _: String) -> Answer<u32> {
        self.deny(Capability::Stream, "open")
    }

    async fn write(&mut self, _: u32, _: Vec<u8>) -> Answer<()> {
        self.deny(Capability::Stream, "write")
    }

    async fn read(&mut self, _: u32, _: u32) -> Answer<Vec<u8>> {
        self.deny(Capability::Stream, "read")
    }

    async fn close(&mut self, _: u32) -> Answer<()> {
        self.deny(Capability::Stream, "close")
    }
}
