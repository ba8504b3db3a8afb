//! Just enough of Rust's grammar to tell code from comments and strings, and one word from another.

/// The text with every comment and the content of every string and character blanked out; lines stay where they are.
pub fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    let mut word_before = false;
    while let Some(character) = rest.chars().next() {
        // The `r` of `bar` begins no raw string.
        let length = if word_before && is_word(character) { 0 } else { string_or_comment(rest) };
        let (blank, next) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if blank.is_empty() {
            bare.push(character);
            word_before = is_word(character);
            rest = next.get(character.len_utf8()..).unwrap_or_default();
        } else {
            bare.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            word_before = false;
            rest = next;
        }
    }
    bare
}

/// The length in octets of the comment, string or character that `text` begins with; 0 for anything else.
fn string_or_comment(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let literal = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - literal.len();
    if prefix > 2 {
        return 0;
    }
    if text.get(..prefix).is_some_and(|prefix| prefix.ends_with('r')) {
        let quoted = literal.trim_start_matches('#');
        let marks = literal.len() - quoted.len();
        if !quoted.starts_with('"') {
            return 0;
        }
        let end = format!("\"{}", "#".repeat(marks));
        let content = prefix + marks + 1;
        let length = text.get(content..).and_then(|content| content.find(&end));
        return length.map_or(text.len(), |length| content + length + end.len());
    }
    match literal.chars().next() {
        Some('"') => prefix + quoted(literal, '"').unwrap_or(literal.len()),
        // `'a` is a lifetime, `'a'` and `'\n'` are characters.
        Some('\'') => {
            let mut characters = literal.chars().skip(1);
            let is_character = matches!((characters.next(), characters.next()), (Some('\\'), _) | (_, Some('\'')));
            if is_character { quoted(literal, '\'').map_or(0, |length| prefix + length) } else { 0 }
        }
        _ => 0,
    }
}

/// The length of a comment in which comments may lie.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a literal, both marks included, in which a backslash takes the next character's meaning.
fn quoted(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == mark {
            return Some(at + mark.len_utf8());
        }
    }
    None
}

/// The code above the tests that end a file.
pub fn without_tests(code: &str) -> &str {
    let mark = "\n#[cfg(test)]\n";
    let of_a_module = |at: &usize| {
        let mut item =
            code.get(at + mark.len()..).unwrap_or_default().lines().skip_while(|line| line.starts_with("#["));
        item.next().is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let end = code.match_indices(mark).map(|(at, _)| at).find(of_a_module);
    end.and_then(|at| code.get(..at)).unwrap_or(code)
}

/// Where `word` stands in the code, not as a part of a longer word, as offsets.
pub fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code.get(..*at).and_then(|before| before.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|after| after.chars().next());
        let inside = |neighbour: Option<char>| neighbour.is_some_and(is_word);
        let follows_path = code.get(..*at).is_some_and(|before| before.ends_with("super::"));
        !inside(before) && !follows_path && (word.ends_with(':') || !inside(after))
    })
}

/// The lines, from 1, on which `word` stands.
pub fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let mut lines: Vec<usize> = places(code, word).map(|at| line(code, at)).collect();
    lines.dedup();
    lines
}

/// The line, from 1, of an offset.
pub fn line(code: &str, offset: usize) -> usize {
    1 + code.get(..offset).unwrap_or_default().matches('\n').count()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blank() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"b \\\" c\", d)", "f(        , d)"),
            ("f(r#\"b \" c\"#, d)", "f(          , d)"),
            ("f(br\"\\\", d)", "f(     , d)"),
            ("f('\"', 'a, \"b\")", "f(   , 'a,    )"),
            ("f(b'\\'', '\\u{1F600}')", "f(     ,            )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("for r in bar", "for r in bar"),
            ("a// b", "a    "),
            ("\"never ends", "           "),
        ];
        for (text, expected) in cases {
            assert_eq!(bare(text), expected);
        }
    }

    #[test]
    fn words_are_whole() {
        let code = "Instant InstantX\nstd::time::Instant, my_Instant";
        assert_eq!(lines_with(code, "Instant"), [1, 2]);
        assert_eq!(places(code, "Instant").count(), 2);
    }
}
