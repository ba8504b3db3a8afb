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
use super::mix::Mix;
use super::source::{self, Fault, UsersError};
use super::{entry, key, random};

/// Who may log in, and what proves them. Names are compared octet for octet, in their prepared form.
pub struct Users {
    entries: BTreeMap<String, Credential>,
    digest: [u8; 32],
    /// Whose cost and likeness are dealt out to those who have no entry.
    mix: Mix,
    /// Those for SCRAM alone, for those who have no verifier.
    verifiers: Mix,
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
        Users {
            digest: digest.finalize().into(),
            mix: Mix::new(entries.values()),
            verifiers: Mix::new(entries.values().filter(|credential| credential.scram().is_some())),
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

    /// The SCRAM verifier of a user. Of one who has none, one that nothing proves: the same for the same name, across
    /// files and, where a key is kept, restarts; and like those of the file, so that nobody learns who is known (RFC 5802
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
        let matches = self.compared(user).is_some_and(|credential| credential.matches(password));
        matches && self.knows(user)
    }

    /// What a password of that user is compared with. Of an unknown one, for the work's sake: with one of the file's, for
    /// each name always with one of the same cost. The same one for all would tell those of any other from them.
    pub(super) fn compared(&self, user: &str) -> Option<&Credential> {
        let dealt = self.mix.dealt(self.lot(b"cost\0", user));
        self.entries.get(user).or(dealt)
    }

    fn made_up(&self, user: &str) -> Verifier {
        // Where a password of theirs is compared with a verifier, it is the one they are shown.
        let verifiers = self.verifiers.dealt(self.lot(b"likeness\0", user)).and_then(Credential::scram);
        let like = self.compared(user).and_then(Credential::scram).or(verifiers);
        let (iterations, length) = like.map_or((ITERATIONS, SALT), |like| (like.iterations, like.salt.len()));
        // A salt is at most 64 octets long.
        let salt = [self.octets(b"salt\0", user), self.octets(b"more\0", user)].concat();
        Verifier {
            salt: salt.into_iter().take(length).collect(),
            iterations,
            stored_key: self.octets(b"stored\0", user),
            server_key: self.octets(b"server\0", user),
        }
    }

    /// Evenly spread over names, and nobody else can compute it.
    fn lot(&self, label: &[u8], user: &str) -> u64 {
        self.octets(label, user).iter().take(8).fold(0, |lot, octet| (lot << 8) | u64::from(*octet))
    }

    /// What a name always has of its own: see [`key`].
    fn octets(&self, label: &[u8], user: &str) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as Mac>::new(&block(key::kept().unwrap_or(&self.secret)).into());
        mac.update(label);
        mac.update(user.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

/// HMAC pads a key to the length of its block; of this length it cannot be wrong.
fn block(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    for (octet, of_key) in block.iter_mut().zip(key) {
        *octet = *of_key;
    }
    block
}
