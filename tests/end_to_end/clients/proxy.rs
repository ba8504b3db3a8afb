//! The PROXY protocol as swaks speaks it.

use super::{Way, arrived_as_sent, clients, delivered, sending, start_with, succeeds};
use pillarbox_tests::Server;

/// Listeners that take a PROXY header from this host.
const KEYS: &str = "proxy.from = [\"127.0.0.0/8\"]\n";

/// A server behind a proxy; none when clients are not to be tried.
pub fn start() -> Option<Server> {
    clients()?;
    Some(start_with(KEYS, ""))
}

#[test]
fn swaks_says_whom_it_stands_for() {
    let versions: [&[&str]; 4] = [
        &["--proxy-version", "1", "--proxy-family", "TCP4"],
        &["--proxy-version", "2", "--proxy-family", "AF_INET"],
        &["--proxy-version", "1", "--proxy-family", "TCP6"],
        &["--proxy-version", "2", "--proxy-family", "AF_INET6"],
    ];
    for version in versions {
        let Some(server) = start() else { return };
        let (source, destination) =
            if version[3].ends_with('6') { ("2001:db8::9", "::1") } else { ("192.0.2.9", "192.0.2.1") };
        for way in Way::ALL {
            let to = format!("{}@example.test", way.name());
            let Some(mut swaks) = sending::swaks(&server, way.address(&server), way, None, &to) else { return };
            swaks.args(version).args(["--proxy-source", source, "--proxy-source-port", "1234"]);
            succeeds(swaks.args(["--proxy-dest", destination, "--proxy-dest-port", "25"]));
            arrived_as_sent(&server, way.name(), way.protocol(false));
            let message = delivered(&server, way.name());
            assert!(message.contains(&format!("{source}])\n")), "{version:?}\n{message}");
        }
    }
}
