//! The load: clients that wait for each reply before they say the next thing, as most mail servers do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long any reply may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Every message has its own, ended by QUIT.
    OnePerMessage,
    /// All of a sender's messages share one.
    Persistent,
}

/// Lets `senders` send messages of `size` octets for as long as `duration`, and counts what was answered with 250.
///
/// # Errors
/// Any reply but the one that was hoped for: a rate with refusals in it says nothing.
pub async fn load(
    address: SocketAddr,
    senders: usize,
    connections: Connections,
    size: usize,
    duration: Duration,
) -> Result<u32> {
    let end = Instant::now() + duration;
    let mut tasks = JoinSet::new();
    for number in 0..senders {
        tasks.spawn(send(address, format!("RCPT TO:<user{number}@example.test>\r\n"), connections, message(size), end));
    }
    let mut messages = 0;
    while let Some(sent) = tasks.join_next().await {
        messages += sent.context("a sender failed")??;
    }
    Ok(messages)
}

/// Connections that have said EHLO and have nothing else to say.
pub async fn greeted(address: SocketAddr, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(Client::greet(address).await?);
    }
    Ok(clients)
}

async fn send(
    address: SocketAddr,
    recipient: String,
    connections: Connections,
    message: Vec<u8>,
    end: Instant,
) -> Result<u32> {
    let mut sent = 0;
    let mut kept = None;
    while Instant::now() < end {
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::greet(address).await?,
        };
        client.say(b"MAIL FROM:<sender@example.test>\r\n", "250").await?;
        client.say(recipient.as_bytes(), "250").await?;
        client.say(b"DATA\r\n", "354").await?;
        client.say(&message, "250").await?;
        sent += 1;
        match connections {
            Connections::Persistent => kept = Some(client),
            Connections::OnePerMessage => client.say(b"QUIT\r\n", "221").await?,
        }
    }
    if let Some(mut client) = kept {
        client.say(b"QUIT\r\n", "221").await?;
    }
    Ok(sent)
}

/// A message with its final dot, `size` octets without it.
fn message(size: usize) -> Vec<u8> {
    let mut message = b"From: <sender@example.test>\r\nSubject: measured\r\n\r\n".to_vec();
    while message.len() + 64 < size {
        message.extend(b"Lines of a usual length, none of which begins with a full stop\r\n");
    }
    message.resize(size.saturating_sub(2).max(message.len()), b'x');
    message.extend(b"\r\n.\r\n");
    message
}

/// One connection that has been greeted.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    async fn greet(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, received: Vec::with_capacity(1024) };
        client.hear("220").await?;
        client.say(b"EHLO client.example.test\r\n", "250").await?;
        Ok(client)
    }

    async fn say(&mut self, octets: &[u8], code: &str) -> Result<()> {
        self.stream.write_all(octets).await.context("the server does not read")?;
        self.hear(code).await
    }

    /// Reads one reply and compares its code.
    async fn hear(&mut self, code: &str) -> Result<()> {
        self.received.clear();
        while !is_whole(&self.received) {
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            if read.context("the server does not answer")?? == 0 {
                bail!("the server closed the connection");
            }
        }
        if !self.received.starts_with(code.as_bytes()) {
            bail!("the server said `{}` instead of {code}", String::from_utf8_lossy(&self.received).trim_end());
        }
        Ok(())
    }
}

/// Whether these octets end with a reply's last line: a code and no hyphen (RFC 5321 4.2.1).
fn is_whole(received: &[u8]) -> bool {
    let Some(lines) = received.strip_suffix(b"\r\n") else { return false };
    let last = lines.rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
    last.get(3) != Some(&b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_size() {
        for size in [100, 4096, 65_536] {
            let message = message(size);
            assert_eq!(message.len(), size + b".\r\n".len());
            assert!(message.ends_with(b"\r\n.\r\n"));
        }
    }

    #[test]
    fn a_reply_is_whole_at_its_last_line() {
        for whole in ["250 ok\r\n", "250-a\r\n250 b\r\n", "250\r\n"] {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
        for part in ["", "25", "250 ok", "250-a\r\n", "250-a\r\n250 b"] {
            assert!(!is_whole(part.as_bytes()), "{part}");
        }
    }
}
