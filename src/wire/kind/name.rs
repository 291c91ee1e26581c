//! Closed lists of names: printing them, reading them back, and a helpful word for what is not on the list.
//!
//! Pure.

use crate::types::limits;

/// A name that is not on its list, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {list}: {hint}")]
pub struct UnknownName {
    list: &'static str,
    text: String,
    hint: String,
}

impl UnknownName {
    /// `text`, which is none of `names`; `advice` says where to find the list.
    pub(super) fn new<'a>(
        list: &'static str,
        text: &str,
        names: impl Iterator<Item = &'a str>,
        advice: &str,
    ) -> UnknownName {
        let text: String = text.chars().take(limits::NAME_BYTES).collect();
        let hint = match nearest(&text, names) {
            Some(name) => format!("did you mean `{name}`? {advice}"),
            None => advice.to_string(),
        };
        UnknownName { list, text, hint }
    }
}

/// The name that `text` was most likely meant to be; none when all are too different.
pub(super) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let far = (text.chars().count() / 3).max(1);
    let ranked = names.map(|name| (distance(&text, &name.to_ascii_lowercase()), name));
    ranked.min_by_key(|(edits, _)| *edits).filter(|(edits, _)| *edits <= far).map(|(_, name)| name)
}

/// Edits (insert, delete, replace) that turn one text into the other (Levenshtein, 1965).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (y, (replace, delete)) in b.iter().zip(row.iter().zip(&row[1..])) {
            let insert = next.last().map_or(0, |left| left + 1);
            next.push(insert.min(delete + 1).min(replace + usize::from(x != *y)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// An enum that is printed and read by the names of its variants.
macro_rules! named {
    (
        $(#[$about:meta])*
        pub enum $type:ident, $list:literal, $advice:literal {
            $($(#[$variant_about:meta])* $variant:ident $(= $tag:literal)?,)*
        }
    ) => {
        $(#[$about])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $type {
            $($(#[$variant_about])* $variant $(= $tag)?,)*
        }

        impl $type {
            /// All of them, in their order.
            pub const ALL: [$type; [$(stringify!($variant)),*].len()] = [$($type::$variant,)*];

            /// The name, as it is written everywhere.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => stringify!($variant),)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        /// Takes the name in any case.
        impl std::str::FromStr for $type {
            type Err = $crate::wire::kind::UnknownName;

            fn from_str(text: &str) -> Result<$type, Self::Err> {
                let known = $type::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(text));
                let names = $type::ALL.iter().map(|one| one.name());
                known.ok_or_else(|| $crate::wire::kind::UnknownName::new($list, text, names, $advice))
            }
        }
    };
}
pub(super) use named;
