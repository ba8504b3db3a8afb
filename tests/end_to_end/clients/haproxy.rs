//! haproxy between a client and the server: what comes through is the same, and with `send-proxy` the server knows whom it
//! serves.

use super::{Way, arrived_as_sent, clients, delivered, proxy, sending, start_with, succeeds};
use pillarbox_tests::Server;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

#[test]
fn haproxy_passes_mail_through() {
    let server = start_with("", "");
    for way in Way::ALL {
        let Some(proxy) = Haproxy::start(&server, way, "") else { return };
        sends_through(&proxy, &server, way);
        assert!(delivered(&server, way.name()).contains(" [127.0.0.1])\n"));
    }
}

#[test]
fn haproxy_tells_whom_it_stands_for() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let Some(server) = proxy::start() else { return };
        for way in Way::ALL {
            let Some(proxy) = Haproxy::start(&server, way, version) else { return };
            sends_through(&proxy, &server, way);
            let message = delivered(&server, way.name());
            assert!(message.contains(" [127.0.0.5])\n"), "{version}\n{message}");
        }
    }
}

/// swaks comes from an address that tells it from haproxy.
#[track_caller]
fn sends_through(proxy: &Haproxy, server: &Server, way: Way) {
    let to = format!("{}@example.test", way.name());
    let mut swaks = sending::swaks(server, proxy.address, way, None, &to).expect("clients are tried");
    succeeds(swaks.args(["--local-interface", "127.0.0.5"]));
    arrived_as_sent(server, way.name(), way.protocol(false));
}

/// A haproxy that runs. Dropped, it is killed.
#[derive(Debug)]
struct Haproxy {
    child: Child,
    address: SocketAddr,
}

impl Haproxy {
    /// Starts one before the listener for this way. `option` stands behind the server it leads to.
    fn start(server: &Server, way: Way, option: &str) -> Option<Haproxy> {
        let program = clients()?.join("haproxy/usr/sbin/haproxy");
        // The socket is handed over as its standard input, so that nobody else gets the port, and connections wait there
        // until it has started.
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("a bound socket has an address");
        server.site().write(
            "haproxy.cfg",
            format!(
                "defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n timeout server 60s\n\
                 listen mail\n bind fd@0\n server pillarbox {} {option}\n",
                way.address(server)
            ),
        );
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(server.site().path("haproxy.cfg"));
        command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Haproxy { child: command.spawn().expect("haproxy can be run"), address })
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
