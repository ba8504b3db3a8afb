//! The least a receiver can do: canned replies, the end of the data found, nothing else looked at and nothing kept.
//!
//! Its figures are the limit that this machine, this kernel and this client set to any server.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Starts this program as the responder; an address follows.
pub const FLAG: &str = "--responder";

/// Serves until the process ends.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that goes away is its own business.
        tokio::spawn(async move { respond(stream).await.ok() });
    }
}

async fn respond(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"220 responder\r\n").await?;
    let mut received = Vec::with_capacity(8192);
    let mut in_data = false;
    while stream.read_buf(&mut received).await? > 0 {
        if in_data {
            if received.ends_with(b"\r\n.\r\n") {
                in_data = false;
                received.clear();
                stream.write_all(b"250 taken\r\n").await?;
            } else if let Some(surplus) = received.len().checked_sub(4) {
                // The end may be split over two reads.
                received.drain(..surplus);
            }
            continue;
        }
        if !received.ends_with(b"\r\n") {
            continue;
        }
        in_data = received.starts_with(b"DATA");
        let quit = received.starts_with(b"QUIT");
        let reply: &[u8] = match (in_data, quit) {
            (true, _) => b"354 go on\r\n",
            (_, true) => b"221 bye\r\n",
            _ => b"250 yes\r\n",
        };
        received.clear();
        stream.write_all(reply).await?;
        if quit {
            break;
        }
    }
    Ok(())
}
