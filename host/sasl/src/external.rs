//! EXTERNAL (RFC 4422 appendix A): the client has proven itself by its certificate, and says at most as whom it comes.

use crate::{Failure, Step, preparation};

/// Reads the authorization identity. `identity` is who the certificate says the client is.
pub(crate) fn respond(identity: Option<&str>, response: &[u8]) -> Result<Step, Failure> {
    let asked = match response {
        [] => None,
        name => Some(preparation::user(name)?),
    };
    let identity = identity.ok_or(Failure::Refused)?;
    if asked.is_some_and(|name| name != identity) {
        return Err(Failure::Refused);
    }
    Ok(Step::Success { user: identity.to_owned() })
}
