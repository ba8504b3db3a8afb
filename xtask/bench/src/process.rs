//! A server's process: started, asked what it used, ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client;
use crate::responder;
use crate::variant::Variant;

/// How long a server may take until it greets, and until it has nothing more to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it must have used no CPU to be called quiet.
const STILL: Duration = Duration::from_millis(150);

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts the variant with an empty `directory` for all it writes, and waits until it greets.
    pub async fn start(variant: Variant, server: &Path, directory: &Path) -> Result<Server> {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let address = free_address()?;
        let mut command = match variant.configuration(address) {
            Some(configuration) => {
                let path = directory.join("pillarbox.toml");
                fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;
                let mut command = Command::new(server);
                command.args(["serve", "--config"]).arg(path);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
                command.arg(responder::FLAG).arg(address.to_string());
                command
            }
        };
        let log = directory.join("log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let mut server = Server { address, child };
        if let Err(error) = server.greets().await {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(error.context(format!("the server does not serve; it wrote\n{log}")));
        }
        Ok(server)
    }

    async fn greets(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status})");
            }
            match client::greeted(self.address, 1).await {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The CPU time it has used, in user and kernel mode, by all its threads. The kernel counts in hundredths of a
    /// second (proc(5), `utime` and `stime`).
    pub fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let ticks = cpu_ticks(&stat).with_context(|| format!("cannot understand {path}: {stat}"))?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(ticks * 1000 / per_second.max(1)))
    }

    /// Octets of memory it has resident.
    pub fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kibibytes = resident_kibibytes(&status).with_context(|| format!("cannot understand {path}"))?;
        Ok(kibibytes * 1024)
    }

    /// Waits until it uses no CPU, or until patience ends.
    pub async fn quiet(&self) -> Result<()> {
        let start = Instant::now();
        let mut used = self.cpu()?;
        let mut since = Instant::now();
        while since.elapsed() < STILL && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = self.cpu()?;
            if now != used {
                (used, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Ends it. What it wrote stays.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended on the way ({status})");
        }
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Raises the limit on open files as far as it goes, for this process and those it starts.
pub fn allow_many_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("cannot raise the limit on open files")
}

/// An address nobody listens on now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// `utime` + `stime` of a `/proc/PID/stat`. The name in parentheses may hold anything, parentheses included.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let (user, kernel): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + kernel)
}

fn resident_kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 200 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert_eq!(resident_kibibytes("Name:\ta\nVmRSS:\t    5124 kB\nVmData:\t1 kB\n"), Some(5124));
        assert_eq!(resident_kibibytes("Name:\ta\n"), None);
    }
}
