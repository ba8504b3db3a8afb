//! The nearest right word for a wrong one.

/// The word of `words` that `wrong` was most likely meant to be; none when nothing is near.
pub(super) fn nearest<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let normal = |word: &str| word.to_ascii_lowercase().replace('_', "-");
    let wrong = normal(wrong);
    // A third of a word may be wrong, as compilers have it; a word of two letters may have one wrong.
    let near = (wrong.chars().count().min(64) / 3).max(1);
    let distance = |word: &str| {
        // Half a word, or a word with something around it, is near as well.
        let part = (word.len() > 3 && wrong.contains(word)) || (wrong.len() > 3 && word.starts_with(&wrong));
        let edits = strsim::osa_distance(&wrong, word);
        if part { edits.min(near) } else { edits }
    };
    words
        .into_iter()
        .map(|word| (distance(&normal(word)), word))
        .filter(|(distance, word)| *distance <= near && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Help for `wrong`: the nearest right word, or else all of them after `lead`.
pub(super) fn suggest(wrong: &str, words: &[&str], lead: &str) -> String {
    match nearest(wrong, words.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("{lead} {}", listed(words)),
    }
}

/// The words in backticks, with commas between them.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
