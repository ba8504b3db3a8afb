//! User names and passwords made comparable: SASLprep (RFC 4013), and what this server takes as a name at all.

use std::borrow::Cow;

use stringprep::{saslprep, tables};

use crate::{Failure, Secret};

/// The longest name or password that is taken, in octets, as it comes and as it is prepared: four times what RFC 4616
/// section 2 asks for.
pub const FIELD: usize = 1024;

/// Why a name or password cannot be used. No text quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreparationError {
    /// There is nothing, or nothing is left of it.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`FIELD`].
    #[error("it is longer than {FIELD} octets")]
    TooLong,
    /// It holds C0, DEL or C1.
    #[error("it holds a control character")]
    Control,
    /// It holds what RFC 4013 prohibits, or mixes directions of writing.
    #[error("it holds characters that SASLprep (RFC 4013) prohibits")]
    Prohibited,
}

impl PreparationError {
    /// What it is to a client. RFC 4616 section 2 and RFC 5802 section 5.1 let a name that cannot be prepared fail as a
    /// wrong password does; the others break the grammar or would break a log line.
    pub(crate) fn failure(self) -> Failure {
        match self {
            PreparationError::Prohibited => Failure::Refused,
            PreparationError::Empty | PreparationError::TooLong | PreparationError::Control => Failure::Malformed,
        }
    }
}

/// A user name in its one form. Prepared names are equal octet for octet or name different users.
///
/// # Errors
/// It is none.
pub fn prepare_user(name: &str) -> Result<String, PreparationError> {
    prepare(name).map(Cow::into_owned)
}

/// A password in its one form.
///
/// SASLprep knows Unicode 3.2 alone, and refuses what is not assigned there: every emoji of the last twenty years, and
/// whole scripts. A password with such characters is taken as it stands, where it is stored and where it is proven, as
/// PostgreSQL does: it needs no form of its own, because nobody sees it. A name does, and is refused. What SASLprep
/// prohibits for another reason, control characters first, is refused in passwords too, beside such characters or not.
///
/// # Errors
/// It is none.
pub fn prepare_password(password: &str) -> Result<Secret, PreparationError> {
    let prepared = match prepare(password) {
        Err(PreparationError::Prohibited) if is_only_newer(password) => Cow::Borrowed(password),
        prepared => prepared?,
    };
    Ok(Secret::new(prepared.into_owned()))
}

/// The name in a field of a client's response.
pub(crate) fn user(octets: &[u8]) -> Result<String, Failure> {
    let name = str::from_utf8(octets).map_err(|_| Failure::Malformed)?;
    prepare_user(name).map_err(PreparationError::failure)
}

/// The password in a field of a client's response.
pub(crate) fn password(octets: &[u8]) -> Result<Secret, Failure> {
    let password = str::from_utf8(octets).map_err(|_| Failure::Malformed)?;
    prepare_password(password).map_err(PreparationError::failure)
}

fn prepare(text: &str) -> Result<Cow<'_, str>, PreparationError> {
    if text.is_empty() {
        return Err(PreparationError::Empty);
    }
    if text.len() > FIELD {
        return Err(PreparationError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(PreparationError::Control);
    }
    let prepared = saslprep(text).map_err(|_| PreparationError::Prohibited)?;
    // NFKC makes 33 octets of the three of U+FDFA.
    if prepared.len() > FIELD {
        return Err(PreparationError::TooLong);
    }
    // RFC 4013 section 2.1 maps a soft hyphen to nothing.
    if prepared.is_empty() { Err(PreparationError::Empty) } else { Ok(prepared) }
}

/// Whether a text that SASLprep refuses has characters that are not assigned in Unicode 3.2, and none that RFC 4013
/// section 2.3 prohibits.
fn is_only_newer(text: &str) -> bool {
    // Section 2.1 takes these away before it prohibits: emoji are put together by U+200D and U+FE0F.
    let mut kept = text.chars().filter(|it| !tables::commonly_mapped_to_nothing(*it));
    text.chars().any(tables::unassigned_code_point) && !kept.any(is_prohibited)
}

/// Section 2.3, without the blanks, which section 2.1 makes one, and the surrogates, which no text holds.
fn is_prohibited(character: char) -> bool {
    tables::ascii_control_character(character)
        || tables::non_ascii_control_character(character)
        || tables::private_use(character)
        || tables::non_character_code_point(character)
        || tables::inappropriate_for_plain_text(character)
        || tables::inappropriate_for_canonical_representation(character)
        || tables::change_display_properties_or_deprecated(character)
        || tables::tagging_character(character)
}
