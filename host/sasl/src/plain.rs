//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd` in one response.

use crate::{Failure, Step, preparation};

/// Reads the one response, and tells `user` who tries.
pub(crate) fn respond(user: &mut Option<String>, response: &[u8]) -> Result<Step, Failure> {
    let mut fields = response.split(|octet| *octet == 0);
    let (Some(authorization), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Failure::Malformed);
    };
    let name = user.insert(preparation::user(name)?).clone();
    let password = preparation::password(password)?;
    let authorization = match authorization {
        [] => None,
        other => Some(preparation::user(other)?),
    };
    // RFC 4616 section 2: to act as another is a right of its own, and nobody has it here.
    if authorization.as_ref().is_some_and(|other| *other != name) {
        return Err(Failure::Refused);
    }
    Ok(Step::Password { user: name, password, authorization })
}
