//! Trouble that lasts, and is not to fill the log.

/// Something that does not work, as it was said so far. It is said when it begins and when its reason becomes another, but
/// the same is not said twice before it is over.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Vec<String>);

/// So many reasons are said before it is over.
const MOST: usize = 8;

impl Trouble {
    /// Whether this is to be said. Reasons that differ by their digits (times, ports) are one.
    pub fn is_news(&mut self, reason: &str) -> bool {
        let reason = reason.replace(|c: char| c.is_ascii_digit(), "");
        let news = self.0.len() < MOST && !self.0.contains(&reason);
        if news {
            self.0.push(reason);
        }
        news
    }

    /// It works. Whether there was any trouble before.
    pub fn ends(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_until_it_is_over() {
        let mut trouble = Trouble::default();
        assert!(!trouble.ends(), "there was none");
        for (reason, news) in [
            ("connection refused", true),
            ("connection refused", false),
            ("expired 10 seconds ago", true),
            ("expired 11 seconds ago", false),
            ("connection refused", false),
        ] {
            assert_eq!(trouble.is_news(reason), news, "{reason}");
        }
        assert!(trouble.ends());
        assert!(!trouble.ends(), "it is over already");
        assert!(trouble.is_news("connection refused"));
        let said = ('a'..='z').filter(|letter| trouble.is_news(&letter.to_string())).count();
        assert_eq!(said, MOST - 1, "no endless list");
    }
}
