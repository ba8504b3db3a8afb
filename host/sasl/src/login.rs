//! LOGIN: a prompt for the name, a prompt for the password. Never a standard, and what old clients speak.

use crate::{Failure, Step, preparation};

/// What asks for the name. The colons and the case matter: clients compare.
pub(crate) const USER_PROMPT: &[u8] = b"Username:";
/// What asks for the password.
const PASSWORD_PROMPT: &[u8] = b"Password:";

/// Reads a response: the name, and once `user` is known, the password.
pub(crate) fn respond(user: &mut Option<String>, response: &[u8]) -> Result<Step, Failure> {
    match user {
        None => {
            *user = Some(preparation::user(response)?);
            Ok(Step::Challenge(PASSWORD_PROMPT.to_vec()))
        }
        Some(user) => {
            let password = preparation::password(response)?;
            Ok(Step::Password { user: user.clone(), password, authorization: None })
        }
    }
}
