//! What is to arrive of a message, written down once more and as simply as can be, for what the machine hands over to be held
//! against.

use pillarbox_smtp::Limits;

/// The same limits, but none on how much there is of a message, nor on what may be said and refused.
pub fn unlimited(limits: Limits) -> Limits {
    let of_session = Limits { commands: 0, errors: 0, junk_commands: 0, ..limits };
    Limits { message_size: 0, header_size: 0, header_lines: 0, hops: 0, ..of_session }
}

/// The content as it is to arrive, where lone CR and LF become CRLF or let the message be refused: none, then.
pub fn expected(content: &[u8], normalizes: bool) -> Option<Vec<u8>> {
    let mut arrives = Vec::new();
    let mut rest = content;
    loop {
        rest = match rest {
            [] => return Some(arrives),
            [b'\r', b'\n', rest @ ..] => {
                arrives.extend_from_slice(b"\r\n");
                rest
            }
            [b'\r' | b'\n', rest @ ..] => {
                if !normalizes {
                    return None;
                }
                arrives.extend_from_slice(b"\r\n");
                rest
            }
            [octet, rest @ ..] => {
                arrives.push(*octet);
                rest
            }
        };
    }
}
