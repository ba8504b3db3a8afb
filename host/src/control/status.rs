//! How the server is, as data for programs and as text for people.

use super::SpoolStatus;
use crate::observe::escape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// How the server is. Displayed, it is a page for a terminal. Fields that an older server does not know are left at their
/// defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of the program that runs.
    pub version: String,
    /// Which of the configurations loaded since the start is in force, counted from 1.
    pub generation: u64,
    /// The generation that a rollback took the place of, until the next reload.
    pub rolled_back_from: Option<u64>,
    /// Since the start.
    pub uptime_seconds: u64,
    /// Where the configuration is read from.
    pub config: String,
    /// By name.
    pub listeners: Vec<ListenerStatus>,
    /// A line for each extension on each listener.
    pub extensions: Vec<ExtensionStatus>,
    /// Messages that wait for delivery.
    pub queue: u64,
    /// Those of them that are held.
    pub queue_held: u64,
    /// When the oldest of them was accepted, RFC 3339 in UTC.
    pub queue_oldest: Option<String>,
    /// How long ago that is.
    pub queue_oldest_seconds: Option<u64>,
    /// Where they go, the fullest first; of many only the first hundred.
    pub destinations: Vec<DestinationStatus>,
    /// Messages that are kept aside.
    pub quarantined: u64,
    /// The disk of both.
    pub spool: SpoolStatus,
    /// Messages that got their 250 since the start.
    pub messages_accepted: u64,
    /// Connections turned away because of a limit, since the start.
    pub connections_refused: u64,
    /// Recipients refused since the start.
    pub recipients_refused: u64,
    /// Connections of proxies closed because of their PROXY header.
    pub proxy_headers_refused: u64,
    /// Exchanges of AUTH that did not succeed.
    pub logins_failed: u64,
    /// How often sessions reached a limit, by its key.
    pub limits_reached: BTreeMap<String, u64>,
    /// TLS handshakes that failed since the start.
    pub handshakes_failed: u64,
    /// The last attempt at a reload, if there was one.
    pub last_reload: Option<ReloadStatus>,
    /// The certificates in use.
    pub certificates: Vec<CertificateStatus>,
    /// Why what is in the files of certificates is not in use, by listener.
    pub renewal_errors: BTreeMap<String, String>,
    /// Why what is in a file of users is not in use, by file.
    pub users_errors: BTreeMap<String, String>,
}

/// Where messages of the queue go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationStatus {
    /// Which: `smtp://mx.example.net:25`.
    pub destination: String,
    /// Messages with recipients there.
    pub messages: u64,
    /// Attempts under way.
    pub active: u64,
    /// Until when nothing is tried there, because it could not be reached; RFC 3339 in UTC.
    pub resting_until: Option<String>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens, with real ports; none when it is gone and sessions of it are left.
    pub addresses: Vec<SocketAddr>,
    /// Sessions there are.
    pub sessions: u64,
}

/// An extension on a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtensionStatus {
    /// Its name.
    pub name: String,
    /// The listener's name.
    pub listener: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The generation this component was loaded with.
    pub generation: u64,
    /// Instances alive now.
    pub instances: u64,
    /// Calls since the start.
    pub calls: u64,
    /// Failed calls since the start, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Denials since the start, by capability.
    pub denials: BTreeMap<String, u64>,
    /// Whether it is called: `closed`, `open` (it kept failing, and is not), `half-open` (the next call decides), `off`.
    pub breaker: String,
    /// Until when it is left alone, RFC 3339 in UTC.
    pub breaker_until: Option<String>,
    /// How often the breaker opened, since the start or since the extension was last changed.
    pub breaker_opened: u64,
    /// Its own counters since the start: `name{label="value",…}`.
    pub series: BTreeMap<String, u64>,
    /// What is tried beside it, or in some of its sessions.
    pub candidate: Option<CandidateStatus>,
}

/// A candidate for an extension on a listener; what is counted is since it was first loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CandidateStatus {
    /// `shadow`, or `canary` with what narrows it.
    pub trial: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Instances alive now.
    pub instances: u64,
    /// Calls.
    pub calls: u64,
    /// Failed calls, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Denials, by capability.
    pub denials: BTreeMap<String, u64>,
    /// Answers of a shadow that were compared with the extension's.
    pub compared: u64,
    /// How many of them differed.
    pub differed: u64,
}

/// An attempt at a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Whether the new configuration is in force.
    pub ok: bool,
    /// What happened, in lines.
    pub text: String,
}

/// A certificate in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateStatus {
    /// The listener's name.
    pub listener: String,
    /// The file of its chain.
    pub chain: String,
    /// When it expires, RFC 3339 in UTC.
    pub not_after: String,
    /// Whole days until then; negative when it has expired.
    pub days_left: i64,
    /// `good`, `ageing`, `early` or `expired`.
    pub standing: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pillarbox {}, up {}", escape(&self.version), span(self.uptime_seconds))?;
        let rolled_back =
            self.rolled_back_from.map(|from| format!(", rolled back from generation {from}")).unwrap_or_default();
        writeln!(f, "configuration  {}, generation {}{rolled_back}", escape(&self.config), self.generation)?;
        if let Some(reload) = &self.last_reload {
            let outcome = if reload.ok { "done" } else { "refused, the old configuration stays" };
            writeln!(f, "last reload    {}, {outcome}", escape(&reload.at))?;
            for line in reload.text.lines() {
                writeln!(f, "               {}", escape(line))?;
            }
        }
        write!(f, "messages       {} accepted, {} in the queue", self.messages_accepted, self.queue)?;
        let held = Some(self.queue_held).filter(|held| *held > 0).map(|held| format!("{held} held"));
        let oldest = self.queue_oldest_seconds.map(|seconds| format!("oldest {}", span(seconds)));
        let more: Vec<String> = held.into_iter().chain(oldest).collect();
        if !more.is_empty() {
            write!(f, " ({})", more.join(", "))?;
        }
        match self.quarantined {
            0 => writeln!(f)?,
            aside => writeln!(f, ", {aside} in quarantine")?,
        }
        writeln!(f, "spool          {}", self.spool)?;
        writeln!(
            f,
            "refused        {} connections, {} PROXY headers, {} TLS handshakes, {} logins, {} recipients",
            self.connections_refused,
            self.proxy_headers_refused,
            self.handshakes_failed,
            self.logins_failed,
            self.recipients_refused
        )?;
        if !self.limits_reached.is_empty() {
            let limits = self.limits_reached.iter().map(|(limit, count)| format!("{limit} {count}"));
            writeln!(f, "limits reached {}", limits.collect::<Vec<_>>().join(", "))?;
        }
        table(f, ["LISTENER", "SESSIONS", "ADDRESSES"], self.listeners.iter().map(ListenerStatus::row))?;
        table(
            f,
            ["DESTINATION", "MESSAGES", "ACTIVE", "RESTING UNTIL"],
            self.destinations.iter().map(DestinationStatus::row),
        )?;
        table(
            f,
            ["EXTENSION", "LISTENER", "GENERATION", "INSTANCES", "CALLS", "FAILURES", "DENIALS", "BREAKER", "DIGEST"],
            self.extensions.iter().map(ExtensionStatus::row),
        )?;
        table(
            f,
            ["CANDIDATE FOR", "LISTENER", "TRIAL", "INSTANCES", "CALLS", "FAILURES", "DIFFERED", "DIGEST"],
            self.extensions.iter().filter_map(ExtensionStatus::candidate_row),
        )?;
        table(
            f,
            ["COUNTER", "EXTENSION", "LISTENER", "COUNT"],
            self.extensions.iter().flat_map(ExtensionStatus::series_rows),
        )?;
        table(
            f,
            ["CERTIFICATE", "LISTENER", "EXPIRES", "DAYS", "STANDING"],
            self.certificates.iter().map(CertificateStatus::row),
        )?;
        table(
            f,
            ["NOT TAKEN UP", "ERROR"],
            self.renewal_errors.iter().chain(&self.users_errors).map(|(what, error)| [what.clone(), error.clone()]),
        )
    }
}

impl DestinationStatus {
    fn row(&self) -> [String; 4] {
        let resting = self.resting_until.clone().unwrap_or_else(|| "-".to_owned());
        [self.destination.clone(), self.messages.to_string(), self.active.to_string(), resting]
    }
}

impl ListenerStatus {
    fn row(&self) -> [String; 3] {
        let addresses = self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
        let addresses = if addresses.is_empty() { "none, it is gone".to_owned() } else { addresses };
        [self.name.clone(), self.sessions.to_string(), addresses]
    }
}

impl ExtensionStatus {
    fn row(&self) -> [String; 9] {
        let mut breaker = self.breaker.clone();
        if let Some(until) = &self.breaker_until {
            breaker.push_str(&format!(" until {until}"));
        }
        if self.breaker_opened > 0 {
            let times =
                if self.breaker_opened == 1 { "once".to_owned() } else { format!("{} times", self.breaker_opened) };
            breaker.push_str(&format!(", opened {times}"));
        }
        [
            self.name.clone(),
            self.listener.clone(),
            self.generation.to_string(),
            self.instances.to_string(),
            self.calls.to_string(),
            counts(&self.failures),
            counts(&self.denials),
            breaker,
            // Enough to tell two apart by eye.
            self.digest.chars().take(12).collect(),
        ]
    }
}

impl ExtensionStatus {
    fn candidate_row(&self) -> Option<[String; 8]> {
        let candidate = self.candidate.as_ref()?;
        let differed = match candidate.compared {
            0 => "-".to_owned(),
            compared => format!("{} of {compared}", candidate.differed),
        };
        Some([
            self.name.clone(),
            self.listener.clone(),
            candidate.trial.clone(),
            candidate.instances.to_string(),
            candidate.calls.to_string(),
            counts(&candidate.failures),
            differed,
            candidate.digest.chars().take(12).collect(),
        ])
    }

    fn series_rows(&self) -> impl Iterator<Item = [String; 4]> {
        self.series
            .iter()
            .map(|(series, count)| [series.clone(), self.name.clone(), self.listener.clone(), count.to_string()])
    }
}

impl CertificateStatus {
    fn row(&self) -> [String; 5] {
        [
            self.chain.clone(),
            self.listener.clone(),
            self.not_after.clone(),
            self.days_left.to_string(),
            self.standing.clone(),
        ]
    }
}

/// `none`, or each name with its number.
fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// The two largest units: `3d 4h`, `5m 6s`.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// Writes rows under their heads, with a blank line before; nothing where there are no rows.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let mut lines = vec![heads.map(str::to_owned)];
    lines.extend(rows.map(|row| row.map(|cell| escape(&cell).into_owned())));
    if lines.len() == 1 {
        return Ok(());
    }
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    writeln!(f)?;
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_a_terminal() {
        let status = Status {
            version: "0.1.0".to_owned(),
            generation: 7,
            rolled_back_from: Some(6),
            uptime_seconds: 3 * 86400 + 4 * 3600 + 59,
            config: "/etc/pillarbox/pillarbox.toml".to_owned(),
            listeners: vec![
                ListenerStatus {
                    name: "edge".to_owned(),
                    addresses: vec![([0, 0, 0, 0], 25).into(), ([0u16; 8], 25).into()],
                    sessions: 1200,
                },
                ListenerStatus { name: "old".to_owned(), addresses: Vec::new(), sessions: 1 },
            ],
            extensions: vec![ExtensionStatus {
                name: "xclient".to_owned(),
                listener: "edge".to_owned(),
                digest: "0123456789abcdef".repeat(4),
                generation: 6,
                instances: 2,
                calls: 98765,
                failures: BTreeMap::from([("trap".to_owned(), 2), ("wall".to_owned(), 1)]),
                denials: BTreeMap::new(),
                breaker: "open".to_owned(),
                breaker_until: Some("2026-11-22T16:01:00.000Z".to_owned()),
                breaker_opened: 3,
                candidate: Some(CandidateStatus {
                    trial: "shadow".to_owned(),
                    digest: "fedcba9876543210".repeat(4),
                    calls: 97,
                    compared: 96,
                    differed: 3,
                    ..CandidateStatus::default()
                }),
                series: BTreeMap::from([("seen{kind=\"a\"}".to_owned(), 12)]),
            }],
            queue: 3,
            queue_held: 1,
            queue_oldest: Some("2026-11-22T16:00:00.123Z".to_owned()),
            queue_oldest_seconds: Some(3 * 3600 + 240),
            destinations: vec![
                DestinationStatus {
                    destination: "smtp://mx.example.net:25".to_owned(),
                    messages: 2,
                    active: 0,
                    resting_until: Some("2026-11-22T16:10:00.000Z".to_owned()),
                },
                DestinationStatus {
                    destination: "maildir:/var/mail".to_owned(),
                    messages: 1,
                    active: 1,
                    resting_until: None,
                },
            ],
            quarantined: 2,
            spool: SpoolStatus {
                free_octets: 5 << 30,
                free_inodes: Some(7000),
                takes_mail: true,
                damaged: 1,
                foreign: 2,
            },
            messages_accepted: 4000,
            connections_refused: 2,
            recipients_refused: 5,
            handshakes_failed: 1,
            proxy_headers_refused: 2,
            logins_failed: 7,
            limits_reached: BTreeMap::from([("errors".to_owned(), 3), ("recipients".to_owned(), 1)]),
            last_reload: Some(ReloadStatus {
                at: "2026-11-22T16:00:00.123Z".to_owned(),
                ok: false,
                text: "error: unknown key\n  --> x\u{1b}[2J:4:1".to_owned(),
            }),
            certificates: vec![CertificateStatus {
                listener: "edge".to_owned(),
                chain: "/etc/pillarbox/cert.pem".to_owned(),
                not_after: "2027-01-01T00:00:00.000Z".to_owned(),
                days_left: 39,
                standing: "ageing".to_owned(),
            }],
            renewal_errors: BTreeMap::from([(
                "edge".to_owned(),
                "cannot use x\u{1b}[2J: it cannot be read".to_owned(),
            )]),
            users_errors: BTreeMap::from([("/etc/pillarbox/users".to_owned(), "line 3: no colon".to_owned())]),
        };
        let expected = r#"pillarbox 0.1.0, up 3d 4h
configuration  /etc/pillarbox/pillarbox.toml, generation 7, rolled back from generation 6
last reload    2026-11-22T16:00:00.123Z, refused, the old configuration stays
               error: unknown key
                 --> x\u001b[2J:4:1
messages       4000 accepted, 3 in the queue (1 held, oldest 3h 4m), 2 in quarantine
spool          takes mail, 5368709120 octets and 7000 files free, 1 damaged, 2 foreign
refused        2 connections, 2 PROXY headers, 1 TLS handshakes, 7 logins, 5 recipients
limits reached errors 3, recipients 1

LISTENER  SESSIONS  ADDRESSES
edge      1200      0.0.0.0:25, [::]:25
old       1         none, it is gone

DESTINATION               MESSAGES  ACTIVE  RESTING UNTIL
smtp://mx.example.net:25  2         0       2026-11-22T16:10:00.000Z
maildir:/var/mail         1         1       -

EXTENSION  LISTENER  GENERATION  INSTANCES  CALLS  FAILURES        DENIALS  BREAKER                                              DIGEST
xclient    edge      6           2          98765  trap 2, wall 1  none     open until 2026-11-22T16:01:00.000Z, opened 3 times  0123456789ab

CANDIDATE FOR  LISTENER  TRIAL   INSTANCES  CALLS  FAILURES  DIFFERED  DIGEST
xclient        edge      shadow  0          97     none      3 of 96   fedcba987654

COUNTER         EXTENSION  LISTENER  COUNT
seen{kind="a"}  xclient    edge      12

CERTIFICATE              LISTENER  EXPIRES                   DAYS  STANDING
/etc/pillarbox/cert.pem  edge      2027-01-01T00:00:00.000Z  39    ageing

NOT TAKEN UP          ERROR
edge                  cannot use x\u001b[2J: it cannot be read
/etc/pillarbox/users  line 3: no colon
"#;
        assert_eq!(status.to_string(), expected);
    }

    #[test]
    fn spans_show_two_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3599, "59m 59s"), (3600, "1h 0m"), (86400, "1d 0h")]
        {
            assert_eq!(span(seconds), text);
        }
    }
}
