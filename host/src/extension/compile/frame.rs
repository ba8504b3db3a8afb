//! What server, helper and worker say to each other: an order, and its answer. It knows octets and no processes.
//!
//! Each begins with the version of the binary. The three are one binary, so that this changes with it; only where the
//! system cannot say which one runs could a newer one be started by an older, and then nothing is understood.

use crate::config::Compile;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

const GREETING: &[u8] = concat!("pillarbox ", env!("CARGO_PKG_VERSION"), " compile\n").as_bytes();

/// The longest text of an answer, in octets.
const TEXT: usize = 4096;

/// A component that is to be compiled, and what that may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it may take.
    pub limits: Compile,
    /// Whether somebody is served meanwhile, who goes first.
    pub meanwhile: bool,
    /// The component.
    pub octets: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The compiled code.
    Code(Vec<u8>),
    /// None, and why.
    Fault(Fault),
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The component is wrong; the text is the compiler's.
    Component(String),
    /// It took more processor time than it may.
    Cpu,
    /// It took longer than it may.
    Wall,
    /// It needed more memory than it may.
    Memory,
    /// The code is larger than [`largest_code`].
    Code,
    /// The compiler ended without an answer; the text says how.
    BrokenOff(String),
}

/// The most octets of code that a component of this size may become: helper and server hold all of it at once. JavaScript
/// and Python become two to four times what they were; small ones have parts that do not shrink with them.
pub fn largest_code(component: usize) -> u64 {
    u64::try_from(component).unwrap_or(u64::MAX).saturating_mul(6).saturating_add(16 << 20)
}

impl Order {
    /// Says it.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let Compile { cpu, wall, memory, size } = self.limits;
        output.write_all(GREETING)?;
        for number in [milliseconds(cpu), milliseconds(wall), memory, size, self.meanwhile.into()] {
            output.write_all(&number.to_le_bytes())?;
        }
        write_octets(output, &self.octets)
    }

    /// Hears the next; none at the end.
    ///
    /// # Errors
    /// It broke off, or is none.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Order>> {
        if !greeted(input)? {
            return Ok(None);
        }
        let cpu = Duration::from_millis(read_number(input)?);
        let wall = Duration::from_millis(read_number(input)?);
        let limits = Compile { cpu, wall, memory: read_number(input)?, size: read_number(input)? };
        let meanwhile = read_number(input)? != 0;
        let octets = read_octets(input, limits.size)?;
        Ok(Some(Order { limits, meanwhile, octets }))
    }
}

impl Answer {
    /// Says it.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let (kind, octets): (u8, &[u8]) = match self {
            Answer::Code(code) => (0, code),
            Answer::Fault(Fault::Component(text)) => (1, text.as_bytes()),
            Answer::Fault(Fault::Cpu) => (2, &[]),
            Answer::Fault(Fault::Wall) => (3, &[]),
            Answer::Fault(Fault::Memory) => (4, &[]),
            Answer::Fault(Fault::Code) => (5, &[]),
            Answer::Fault(Fault::BrokenOff(text)) => (6, text.as_bytes()),
        };
        output.write_all(GREETING)?;
        output.write_all(&[kind])?;
        write_octets(output, octets)?;
        output.flush()
    }

    /// Hears it, with at most `most` octets.
    ///
    /// # Errors
    /// It broke off or is none; [`ErrorKind::FileTooLarge`] if it is longer.
    pub fn read(input: &mut impl Read, most: u64) -> io::Result<Answer> {
        if !greeted(input)? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut kind = [0];
        input.read_exact(&mut kind)?;
        let octets = read_octets(input, most)?;
        let text = |octets: &[u8]| printable(&String::from_utf8_lossy(octets));
        Ok(match kind {
            [0] => Answer::Code(octets),
            [1] => Answer::Fault(Fault::Component(text(&octets))),
            [2] => Answer::Fault(Fault::Cpu),
            [3] => Answer::Fault(Fault::Wall),
            [4] => Answer::Fault(Fault::Memory),
            [5] => Answer::Fault(Fault::Code),
            [6] => Answer::Fault(Fault::BrokenOff(text(&octets))),
            _ => return Err(ErrorKind::InvalidData.into()),
        })
    }
}

/// A text that says nothing but what can be read: the names in it are the component's.
pub fn printable(text: &str) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT).collect();
    shown.truncate(shown.trim_end().len());
    shown
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether there is more, which then must begin as everything does.
fn greeted(input: &mut impl Read) -> io::Result<bool> {
    let mut greeting = Vec::with_capacity(GREETING.len());
    input.take(GREETING.len() as u64).read_to_end(&mut greeting)?;
    match &*greeting {
        GREETING => Ok(true),
        [] => Ok(false),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "the other is of another version")),
    }
}

fn write_octets(output: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    output.write_all(&(octets.len() as u64).to_le_bytes())?;
    output.write_all(octets)
}

fn read_octets(input: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let length = read_number(input)?;
    if length > most {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut octets = Vec::new();
    // Grows as they come: the length is only what the other says.
    input.take(length).read_to_end(&mut octets)?;
    match octets.len() as u64 == length {
        true => Ok(octets),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut octets = [0; 8];
    input.read_exact(&mut octets)?;
    Ok(u64::from_le_bytes(octets))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn order() -> Order {
        let limits =
            Compile { cpu: Duration::from_secs(7), wall: Duration::from_millis(1500), memory: 1 << 40, size: 16 };
        Order { limits, meanwhile: true, octets: b"\0asm and more".to_vec() }
    }

    fn answers() -> Vec<Answer> {
        let texts = [Fault::Component("unknown import".to_owned()), Fault::BrokenOff("signal 11".to_owned())];
        let faults = [Fault::Cpu, Fault::Wall, Fault::Memory, Fault::Code].into_iter().chain(texts).map(Answer::Fault);
        [Answer::Code(vec![]), Answer::Code(vec![7; 100_000])].into_iter().chain(faults).collect()
    }

    fn written(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> Vec<u8> {
        let mut octets = Vec::new();
        write(&mut octets).unwrap();
        octets
    }

    #[test]
    fn what_is_said_is_heard() {
        let twice = written(|to| order().write(to).and_then(|()| order().write(to)));
        let mut input = &*twice;
        assert_eq!(Order::read(&mut input).unwrap(), Some(order()));
        assert_eq!(Order::read(&mut input).unwrap(), Some(order()));
        assert_eq!(Order::read(&mut input).unwrap(), None);
        for answer in answers() {
            assert_eq!(Answer::read(&mut &*written(|to| answer.write(to)), 100_000).unwrap(), answer);
        }
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        let octets = written(|to| order().write(to));
        for end in 1..octets.len() {
            assert!(Order::read(&mut &octets[..end]).is_err(), "{end}");
        }
        let octets = written(|to| Answer::Code(vec![1, 2, 3]).write(to));
        for end in 0..octets.len() {
            assert!(Answer::read(&mut &octets[..end], 3).is_err(), "{end}");
        }
    }

    #[test]
    fn another_version_and_another_kind_are_not_understood() {
        let mut octets = written(|to| Answer::Code(vec![]).write(to));
        octets[GREETING.len()] = 7;
        assert_eq!(Answer::read(&mut &*octets, 3).unwrap_err().kind(), ErrorKind::InvalidData);
        octets[GREETING.len()] = 0;
        octets["pillarbox ".len()] = b'9';
        assert_eq!(Answer::read(&mut &*octets, 3).unwrap_err().to_string(), "the other is of another version");
    }

    #[test]
    fn nobody_is_made_to_take_more_than_allowed() {
        let octets = written(|to| Answer::Code(vec![0; 5]).write(to));
        assert_eq!(Answer::read(&mut &*octets, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let mut order = order();
        order.limits.size = 3;
        let octets = written(|to| order.write(to));
        assert_eq!(Order::read(&mut &*octets).unwrap_err().kind(), ErrorKind::FileTooLarge);
        // A length that is a lie reserves nothing.
        let mut lie = written(|to| Answer::Code(vec![]).write(to));
        let from = lie.len() - 8;
        lie[from..].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Answer::read(&mut &*lie, u64::MAX).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn code_is_as_large_as_its_component_makes_it() {
        // Measured: a policy in Rust, JavaScript, Python; then what was made to grow.
        for (component, code, fits) in [
            (100_000, 600_000, true),
            (12_000_000, 49_000_000, true),
            (18_000_000, 40_000_000, true),
            (1_000, 17_000_000, false),
            (64 << 20, 1 << 30, false),
        ] {
            assert_eq!(code <= largest_code(component), fits, "{component} {code}");
        }
    }

    #[test]
    fn texts_are_one_short_line() {
        assert_eq!(printable("a\u{1b}[31m\nb \r\n"), "a [31m b");
        assert_eq!(printable(&"ä".repeat(10_000)).chars().count(), TEXT);
    }
}
