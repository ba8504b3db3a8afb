//! The configurations that several modules test with.

/// One listener, `edge`, that takes mail for `example.test` into Maildirs below `mail`, which it makes. `listener` is more
/// of its keys, and whatever tables are to follow.
pub fn maildirs(listener: &str) -> String {
    with_route(listener, "to = \"maildir:mail/{domain}/{local}\"\ncreate = true")
}

/// The same, with everything discarded.
pub fn discard(listener: &str) -> String {
    with_route(listener, "to = \"discard:\"")
}

/// The same, with this as its only route.
pub fn with_route(listener: &str, route: &str) -> String {
    format!(
        "[server]
hostname = \"mx.example.test\"
state-dir = \"state\"

[log]
format = \"json\"

[[route]]
{route}

[listener.edge]
address = [\"127.0.0.1:0\"]
relay.domains = [\"example.test\"]
{listener}
"
    )
}

/// A server with these listeners, and whatever tables are to follow; `xdumpcontext` is there to be used, and everything is
/// discarded.
pub fn listeners(listeners: &str) -> String {
    format!(
        r#"{listeners}
[server]
hostname = "mx.example.test"
state-dir = "state"

[extension.xdumpcontext]
component = "builtin:xdumpcontext"

[[route]]
to = "discard:"
"#
    )
}

/// The keys of a listener that speaks TLS by `tls/cert.pem` and `tls/key.pem`.
pub fn tls(mode: &str) -> String {
    format!("tls.mode = \"{mode}\"\ntls.certificates = [{{ chain = \"tls/cert.pem\", key = \"tls/key.pem\" }}]\n")
}

/// The X verbs of this name, each for 127.0.0.1 only, with what they need.
pub fn extensions(names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let grants = match *name {
            "xclient" => {
                "grant.session = true\n\
                 grant.identity = [\"addr\", \"port\", \"name\", \"helo\", \"proto\", \"login\", \"destaddr\", \"destport\"]\n\
                 grant.authentication = true"
            }
            "xremoteip" => "grant.session = true\ngrant.identity = [\"addr\"]",
            "xsetcontext" => "grant.context-write = { connection = [\"*\"] }",
            "xdumpcontext" => "grant.context-read = true",
            "always-allow" => "grant.session = true\ngrant.authentication = [\"anonymous\"]",
            other => panic!("no grants are known for {other}"),
        };
        text.push_str(&format!(
            "\n[[listener.edge.extension]]\nuse = \"{name}\"\npeers = [\"127.0.0.1\"]\n{grants}\n\
             [extension.{name}]\ncomponent = \"builtin:{name}\"\n"
        ));
    }
    text
}
