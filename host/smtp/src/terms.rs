//! What a sender asks of the queue with MAIL, from text to value: BY (RFC 2852), HOLDFOR and HOLDUNTIL (RFC 4865),
//! MT-PRIORITY (RFC 6710).
//!
//! It knows the forms and no clock: whether something can be granted is decided where a clock is.

/// `BY=`: when a message is to be delivered, and what happens else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverBy {
    /// From its arrival, in seconds. Zero and less is over already.
    pub seconds: i64,
    /// It is returned then (`R`); else its sender is told of the delay (`N`), and it goes on.
    pub returns: bool,
    /// The sender wants to hear of each relay that cannot promise the same (`T`).
    pub traced: bool,
}

impl DeliverBy {
    /// RFC 2852 section 4: `["-" / "+"] 1*9DIGIT ";" ("N" / "R") ["T"]`.
    pub fn parse(value: &str) -> Option<DeliverBy> {
        let (time, mode) = value.split_once(';')?;
        let (sign, digits) = match time.as_bytes().first()? {
            b'-' => (-1, time.get(1..)?),
            b'+' => (1, time.get(1..)?),
            _ => (1, time),
        };
        let seconds = sign * i64::from(digits_up_to_nine(digits)?);
        let (returns, traced) = match mode.to_ascii_uppercase().as_str() {
            "N" => (false, false),
            "NT" => (false, true),
            "R" => (true, false),
            "RT" => (true, true),
            _ => return None,
        };
        Some(DeliverBy { seconds, returns, traced })
    }
}

/// `HOLDFOR=`: seconds from the message's arrival. RFC 4865 section 4: one to nine digits, the first of them none of zero.
pub fn hold_for(value: &str) -> Option<u32> {
    digits_up_to_nine(value).filter(|_| !value.starts_with('0'))
}

/// `HOLDUNTIL=`: milliseconds since 1970, 0 for what lies before. RFC 4865 section 4 with erratum 2040: a `date-time` of
/// RFC 3339 section 5.6, which may have an offset.
pub fn hold_until(value: &str) -> Option<u64> {
    let (date, time) = value.split_once(['T', 't'])?;
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || !(1..=days_of(year, month)?).contains(&day) {
        return None;
    }
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(zone)?;
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    // 60 is a leap second, and as good as the one after it.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = fraction.map_or(Some(0), |fraction| {
        let is_number = !fraction.is_empty() && fraction.bytes().all(|octet| octet.is_ascii_digit());
        let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
        is_number.then(|| thousandths.parse::<i64>().ok()).flatten()
    })?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(u64::try_from(seconds * 1000 + millis).unwrap_or(0))
}

/// `MT-PRIORITY=`: RFC 6710 section 3: -9 to 9, without a plus and without leading zeros.
pub fn priority(value: &str) -> Option<i8> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_digit = digits.len() == 1 && digits.bytes().all(|octet| octet.is_ascii_digit()) && value != "-0";
    is_digit.then(|| value.parse().ok()).flatten()
}

fn digits_up_to_nine(digits: &str) -> Option<u32> {
    let is_number = (1..=9).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// A number of exactly so many digits.
fn number(digits: &str, length: usize) -> Option<i64> {
    let is_number = digits.len() == length && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// `Z`, `+01:30`, `-08:00`, in seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let seconds = hours * 3600 + minutes * 60;
    (hours <= 23 && minutes <= 59).then_some(if zone.starts_with('-') { -seconds } else { seconds })
}

fn days_of(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    })
}

/// Of a date of the Gregorian calendar; the year is taken to begin in March, so that its last day is the one that comes
/// and goes.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_time_to_deliver_by_has_a_sign_digits_and_a_mode() {
        let by = |seconds, returns, traced| Some(DeliverBy { seconds, returns, traced });
        for (value, expected) in [
            ("120;R", by(120, true, false)),
            ("+120;nt", by(120, false, true)),
            ("-999999999;N", by(-999_999_999, false, false)),
            ("0;RT", by(0, true, true)),
            ("1000000000;N", None),
            (";N", None),
            ("-;N", None),
            ("+-1;N", None),
            ("1", None),
            ("1;", None),
            ("1;T", None),
            ("1;NR", None),
            ("1;TN", None),
            ("1;N;", None),
            ("\u{661};N", None),
            ("\u{fc}1;N", None),
        ] {
            assert_eq!(DeliverBy::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn a_hold_is_some_seconds_or_a_moment() {
        for (value, expected) in [
            ("1", Some(1)),
            ("999999999", Some(999_999_999)),
            ("0", None),
            ("01", None),
            ("1000000000", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(hold_for(value), expected, "{value}");
        }
        for (value, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59Z", Some(0)),
            ("0000-01-01T00:00:00+23:59", Some(0)),
            ("2026-11-23T02:00:00Z", Some(1_795_399_200_000)),
            ("2026-11-23t02:00:00.25z", Some(1_795_399_200_250)),
            ("2026-11-23T02:00:00.123456789012345678901234567890Z", Some(1_795_399_200_123)),
            ("2026-11-23T03:30:00+01:30", Some(1_795_399_200_000)),
            ("2026-11-22T18:00:00-08:00", Some(1_795_399_200_000)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799_000)),
            ("1900-02-29T00:00:00Z", None),
            ("2026-02-30T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-01-00T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:60:00Z", None),
            ("2026-01-01T00:00:61Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00Z", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00.1.2Z", None),
            ("2026-01-01T00:00:00+0100", None),
            ("2026-01-01T00:00:00+24:00", None),
            ("2026-01-01T00:00:00ZZ", None),
            ("2026-1-1T00:00:00Z", None),
            ("+026-01-01T00:00:00Z", None),
            ("2026-01-01-01T00:00:00Z", None),
            ("2026-01-01 00:00:00Z", None),
            ("T", None),
            ("", None),
        ] {
            assert_eq!(hold_until(value), expected, "{value}");
        }
    }

    #[test]
    fn a_priority_is_one_digit() {
        for (value, expected) in [("9", Some(9)), ("0", Some(0)), ("-9", Some(-9)), ("-1", Some(-1))] {
            assert_eq!(priority(value), expected, "{value}");
        }
        for value in ["10", "-10", "+1", "-0", "00", "", "-", "--1", "x", "\u{661}"] {
            assert_eq!(priority(value), None, "{value}");
        }
    }
}
