//! The users of a file, as they were when it was read.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use pillarbox_sasl::{Secret, Verifier};
use sha2::{Digest, Sha256};

use super::credential::{Credential, ITERATIONS, SALT};
use super::hashing::{Checked, Hashing};
use super::source::{self, Fault, UsersError};
use super::{entry, random};

/// Who may log in, and what proves them. Names are compared octet for octet, in their prepared form.
pub struct Users {
    entries: BTreeMap<String, Credential>,
    digest: [u8; 32],
    /// What a password of an unknown user is compared with: one of the most common cost.
    usual: Credential,
    /// What a made-up verifier looks like: iterations, and octets of salt.
    likeness: (u32, usize),
    secret: [u8; 32],
}

impl Users {
    /// Reads a file of users. Blocking.
    ///
    /// # Errors
    /// It cannot be read, others than its owner may read or write it, or there are lines in it that are wrong: all are
    /// named.
    pub fn load(path: &Path) -> Result<Users, UsersError> {
        let failed = |source| UsersError { file: path.to_path_buf(), source };
        let source = source::read(path).map_err(failed)?;
        let entries = entry::read(&source.text).map_err(Fault::Lines).map_err(failed)?;
        let secret = random::secret().map_err(Fault::Random).map_err(failed)?;
        Ok(Users::new(entries.into_iter().map(|entry| (entry.name, entry.credential)).collect(), secret))
    }

    /// Nobody, for those who know their users by other means: what is made up is as good as a file's.
    ///
    /// # Errors
    /// The system gives no random octets.
    pub fn none() -> io::Result<Users> {
        Ok(Users::new(BTreeMap::new(), random::secret()?))
    }

    fn new(entries: BTreeMap<String, Credential>, secret: [u8; 32]) -> Users {
        let mut digest = Sha256::new();
        for (name, credential) in &entries {
            digest.update(entry::write(name, credential));
            digest.update(b"\n");
        }
        let cost = usual(entries.values().map(Credential::cost));
        let like = entries.values().find(|credential| Some(credential.cost()) == cost).cloned();
        let likeness = usual(entries.values().filter_map(Credential::scram).map(|it| (it.iterations, it.salt.len())));
        Users {
            digest: digest.finalize().into(),
            usual: like.unwrap_or_else(Credential::nobody),
            likeness: likeness.unwrap_or((ITERATIONS, SALT)),
            entries,
            secret,
        }
    }

    /// Whether there is a user of that name.
    pub fn knows(&self, user: &str) -> bool {
        self.entries.contains_key(user)
    }

    /// Whether anyone can log in by SCRAM.
    pub fn supports_scram(&self) -> bool {
        self.entries.values().any(|credential| credential.scram().is_some())
    }

    /// A digest of who may log in by what. It is the same for the same entries, in whichever order and with whichever
    /// comments.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// A print of what proves this user now: another one after the password was changed, the same as long as the line of
    /// the file is the same. `None` of an unknown user. It says nothing of the password.
    pub fn print(&self, user: &str) -> Option<[u8; 32]> {
        self.entries.get(user).map(|credential| Sha256::digest(entry::write(user, credential)).into())
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The SCRAM verifier of a user. Of one who has none, one that nothing proves: the same for the same name as long as
    /// the process lives, across files, and like those of the file, so that nobody learns who is known (RFC 5802
    /// section 9 leaves that to the server).
    pub fn verifier(&self, user: &str) -> Verifier {
        // Made in any case, so that it takes as long for everyone.
        let made_up = self.made_up(user);
        self.entries.get(user).and_then(Credential::scram).cloned().unwrap_or(made_up)
    }

    /// Finds out whether this is the user's password. An unknown user takes as long as a known one.
    pub async fn check(self: &Arc<Self>, user: &str, password: Secret, hashing: &Hashing) -> Checked {
        let (users, user) = (Arc::clone(self), user.to_owned());
        hashing.check(move || users.is_right(&user, &password)).await
    }

    fn is_right(&self, user: &str, password: &Secret) -> bool {
        let matches = self.compared(user).matches(password);
        matches && self.knows(user)
    }

    /// What a password of that user is compared with. Of an unknown one, for the work's sake.
    pub(super) fn compared(&self, user: &str) -> &Credential {
        self.entries.get(user).unwrap_or(&self.usual)
    }

    fn made_up(&self, user: &str) -> Verifier {
        let (iterations, length) = self.likeness;
        let octets = |label: &[u8]| -> [u8; 32] {
            let mut mac = <Hmac<Sha256> as Mac>::new(&block(&self.secret).into());
            mac.update(label);
            mac.update(user.as_bytes());
            mac.finalize().into_bytes().into()
        };
        // A salt is at most 64 octets long.
        let salt = [octets(b"salt\0"), octets(b"more\0")].concat().into_iter().take(length).collect();
        Verifier { salt, iterations, stored_key: octets(b"stored\0"), server_key: octets(b"server\0") }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

/// The most common of `items`; of several, the greatest.
fn usual<M: Ord>(items: impl Iterator<Item = M>) -> Option<M> {
    let mut counts = BTreeMap::new();
    for item in items {
        let count: &mut usize = counts.entry(item).or_default();
        *count = count.saturating_add(1);
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(item, _)| item)
}

/// HMAC pads a key to the length of its block; of this length it cannot be wrong.
fn block(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    for (octet, of_key) in block.iter_mut().zip(key) {
        *octet = *of_key;
    }
    block
}
