//! Where mail goes: by the listener it came in at, and by the context, at RCPT and at delivery.

use crate::configs;
use pillarbox_tests::Server;

const ROUTES: &str = r#"
[server]
hostname = "mx.example.test"
state-dir = "state"
[log]
format = "json"

[listener.edge]
address = ["127.0.0.1:0"]
relay.domains = ["*"]
[listener.inside]
address = ["127.0.0.1:0"]
relay.domains = ["*"]
context = { pathway = "internal" }

[[route]]
addresses = ["ann@example.test"]
to = "maildir:ann"
create = true
[[route]]
domains = ["inside.test"]
listeners = ["inside"]
to = "maildir:inside/{local}"
create = true
[[route]]
context = { class = "v*p", region = "*" }
to = "maildir:class/{local}"
create = true
[[route]]
context = { pathway = "internal" }
to = "maildir:internal/{local}"
create = true
[[route]]
domains = ["example.test"]
to = "maildir:rest/{local}"
create = true
"#;

#[test]
fn mail_goes_by_address_listener_and_context() {
    let server = Server::start(&format!("{ROUTES}{}", configs::extensions(&["xsetcontext"])));
    let mut count = 0;
    let mut sent = |listener: &str, context: &[&str], recipients: &[&str]| {
        let mut client = server.client(listener);
        client.hello();
        for values in context {
            client.expect(&format!("XSETCONTEXT {values}"), "250 *");
        }
        client.deliver("a@client.test", recipients, "Subject: x\r\n\r\n");
        count += recipients.len();
        server.log().count(count, "delivered");
    };
    sent("edge", &[], &["Ann@Example.TEST", "bob@example.test"]);
    sent("edge", &["class=vip"], &["carol@example.test"]);
    sent("edge", &["class=vip", "region=eu"], &["dora@example.test", "dora@else.test"]);
    sent("inside", &[], &["eve@inside.test", "fred@example.test", "ann@example.test"]);
    for (maildir, messages) in
        [("ann", 2), ("rest/bob", 1), ("rest/carol", 1), ("class/dora", 2), ("inside/eve", 1), ("internal/fred", 1)]
    {
        assert_eq!(server.maildir(maildir).messages().len(), messages, "{maildir}");
    }

    // What no route takes here and now, is refused here and now.
    let mut client = server.client("edge");
    client.hello();
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<eve@inside.test>", "550 5.4.4 *");
    client.expect("RCPT TO:<dora@else.test>", "550 5.4.4 *");
    client.expect("RSET", "250 *");
    client.expect("XSETCONTEXT class=vip", "250 *");
    client.expect("XSETCONTEXT region=eu", "250 *");
    client.expect("MAIL FROM:<a@client.test>", "250 *");
    client.expect("RCPT TO:<dora@else.test>", "250 *");
}
