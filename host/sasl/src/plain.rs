//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd` in one response.

use crate::{Failure, Step, preparation};

/// Reads the one response. Gives the user too.
pub(crate) fn respond(response: &[u8]) -> Result<(String, Step), Failure> {
    let mut fields = response.split(|octet| *octet == 0);
    let (Some(authorization), Some(user), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Failure::Malformed);
    };
    let user = preparation::user(user)?;
    let password = preparation::password(password)?;
    let authorization = match authorization {
        [] => None,
        name => Some(preparation::user(name)?),
    };
    // RFC 4616 section 2: to act as another is a right of its own, and nobody has it here.
    if authorization.as_ref().is_some_and(|name| *name != user) {
        return Err(Failure::Refused);
    }
    Ok((user.clone(), Step::Password { user, password, authorization }))
}
