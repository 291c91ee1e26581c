//! "Did you mean …?"

/// The candidate most like `word`, when one is like it at all: the same letters in another case, or few edits away.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let most = word.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between two words (Wagner and Fischer, 1974), one row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, a) in from.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&to) {
            left = (diagonal + usize::from(a != *b)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, left);
        }
        row.iter_mut().take(1).for_each(|first| *first = above + 1);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted() {
        let cases =
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("é", "e", 1)];
        for (from, to, expected) in cases {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_is_found_or_none_is() {
        let words = ["net.listen", "net.limits", "api.listen"];
        assert_eq!(nearest("net.lisen", words), Some("net.listen"));
        assert_eq!(nearest("NET.LIMITS", words), Some("net.limits"));
        assert_eq!(nearest("something", words), None);
        assert_eq!(nearest("foo", ["log"]), None);
        assert_eq!(nearest("nmae", ["name"]), Some("name"));
    }
}
