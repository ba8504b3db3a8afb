//! What a server says of itself in its answer to EHLO or LHLO: a table of what may be asked of it.
//!
//! Nothing here decides whether any of it is used.

/// The service extensions of one server, as it announced them on this connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    /// SIZE (RFC 1870): the largest message in octets, 0 where it names no limit.
    pub size: Option<u64>,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030): BDAT.
    pub chunking: bool,
    /// BINARYMIME (RFC 3030), which is of no use without CHUNKING.
    pub binarymime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// DELIVERBY (RFC 2852): the least by-time in seconds that it takes, 0 where it names none.
    pub deliver_by: Option<u64>,
    /// MT-PRIORITY (RFC 6710), whatever the profile.
    pub mt_priority: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954): the names of its mechanisms, in upper case.
    pub auth: Vec<String>,
    /// XCLIENT: the attributes it takes, in upper case.
    pub xclient: Option<Vec<String>>,
    /// XFORWARD: the attributes it takes, in upper case.
    pub xforward: Option<Vec<String>>,
}

impl Keywords {
    /// Reads the lines of the answer, without their codes. The first is a greeting and says nothing.
    ///
    /// A line that is no keyword, and a keyword with an argument that means nothing, are passed over: what is not
    /// understood is not there.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Keywords {
        let mut keywords = Keywords::default();
        for line in lines.into_iter().skip(1) {
            // RFC 5321 section 4.1.1.1: arguments are parted by spaces. `AUTH=` is from before RFC 2554, and still about.
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            let (keyword, first) = match keyword.split_once('=') {
                Some((keyword, first)) if keyword.eq_ignore_ascii_case("AUTH") => (keyword, Some(first)),
                _ => (keyword, None),
            };
            keywords.note(&keyword.to_ascii_uppercase(), first.into_iter().chain(words));
        }
        keywords
    }

    fn note<'a>(&mut self, keyword: &str, mut words: impl Iterator<Item = &'a str>) {
        match keyword {
            "SIZE" => self.size = words.next().map_or(Some(0), |word| word.parse().ok()),
            "PIPELINING" => self.pipelining = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binarymime = true,
            "DSN" => self.dsn = true,
            "DELIVERBY" => self.deliver_by = words.next().map_or(Some(0), |word| word.parse().ok()),
            "MT-PRIORITY" => self.mt_priority = true,
            "REQUIRETLS" => self.require_tls = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => {
                for name in words.map(str::to_ascii_uppercase) {
                    if !self.auth.contains(&name) {
                        self.auth.push(name);
                    }
                }
            }
            "XCLIENT" => self.xclient = Some(words.map(str::to_ascii_uppercase).collect()),
            "XFORWARD" => self.xforward = Some(words.map(str::to_ascii_uppercase).collect()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::Keywords;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn reads_what_servers_announce() {
        let none = Keywords::default();
        let cases: [(&[&str], Keywords); 8] = [
            (&["mx.example.net at your service"], none.clone()),
            // A greeting that looks like a keyword is a greeting.
            (&["STARTTLS"], none.clone()),
            (
                &["mx", "PIPELINING", "size 1000", "8bitmime", "DSN", "CHUNKING", "BINARYMIME", "SMTPUTF8"],
                Keywords {
                    pipelining: true,
                    size: Some(1000),
                    eight_bit_mime: true,
                    dsn: true,
                    chunking: true,
                    binarymime: true,
                    smtputf8: true,
                    ..none.clone()
                },
            ),
            (
                &["mx", "SIZE", "DELIVERBY", "MT-PRIORITY MIXER", "REQUIRETLS", "STARTTLS"],
                Keywords {
                    size: Some(0),
                    deliver_by: Some(0),
                    mt_priority: true,
                    require_tls: true,
                    starttls: true,
                    ..none.clone()
                },
            ),
            (&["mx", "SIZE -1", "DELIVERBY soon"], none.clone()),
            (&["mx", "", "  ", "=", "AUTH"], none.clone()),
            (
                &["mx", "AUTH plain LOGIN", "AUTH=LOGIN PLAIN"],
                Keywords { auth: words(&["PLAIN", "LOGIN"]), ..none.clone() },
            ),
            (
                &["mx", "XCLIENT NAME  ADDR proto", "XFORWARD"],
                Keywords { xclient: Some(words(&["NAME", "ADDR", "PROTO"])), xforward: Some(vec![]), ..none.clone() },
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(Keywords::read(lines.iter().copied()), expected, "{lines:?}");
        }
    }
}
