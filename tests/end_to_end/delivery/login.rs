//! Logging in at the next hop, which is Pillarbox too: by the strongest mechanism that it offers.

use super::{config, greeted, route, send};
use crate::configs;
use pillarbox_tests::certificate::Pair;
use pillarbox_tests::{Server, Site};

const NAME: &str = "re=lay,er";
const PASSWORD: &str = "correct-horse-staple";

/// A server that takes mail for elsewhere from whoever logs in, by these mechanisms. `kind` is how it keeps the password.
fn next_hop(mechanisms: &str, kind: &[&str]) -> Server {
    let listener =
        format!("auth.users = \"users\"\n{mechanisms}relay.authenticated = true\n{}", configs::tls("starttls"));
    let site = Site::new(&configs::maildirs(&listener));
    Pair::new(&["mx.example.test"]).write(&site.path("tls"));
    site.edit_users(&[&["add", NAME], kind].concat(), PASSWORD).exits(0);
    site.start()
}

#[test]
fn by_the_strongest_mechanism_that_is_offered() {
    let cases: [(&str, &[&str], &str); 5] = [
        ("", &[], "SCRAM-SHA-256-PLUS"),
        ("auth.mechanisms = [\"SCRAM-SHA-256\", \"PLAIN\"]\n", &[], "SCRAM-SHA-256"),
        ("auth.mechanisms = [\"PLAIN\", \"LOGIN\"]\n", &[], "PLAIN"),
        ("auth.mechanisms = [\"LOGIN\"]\n", &[], "LOGIN"),
        ("", &["--argon2id"], "PLAIN"),
    ];
    for (mechanisms, kind, expected) in cases {
        let hop = next_hop(mechanisms, kind);
        if !kind.is_empty() {
            // SCRAM is offered for another's sake, and has no use for this one's hash.
            hop.site().user("another", "password");
            hop.log().event("users read again", &[("users", "2")]);
        }
        let keys = format!("tls.mode = \"required\"\nlogin.user = \"{NAME}\"\nlogin.password-file = \"password\"");
        let to = format!("smtp://{}", hop.address("edge"));
        let site = Site::new(&config("", "", &route("elsewhere.test", &to, &keys)));
        site.write("password", format!("{PASSWORD}\n"));
        let server = site.start();
        let id = send(&mut greeted(&server), "<a@client.test>", &["<b@elsewhere.test>"], "Subject: x\r\n\r\n");
        server.log().event("delivered", &[("id", &id)]);
        let login = hop.log().event("logged in", &[("user", NAME)]);
        assert_eq!(login.field("mechanism"), expected, "{mechanisms}");
    }
}
