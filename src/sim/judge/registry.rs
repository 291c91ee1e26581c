//! All nodes know the same schemas, and what an author was told is on its disk is among them.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::schema::{Subject, subjects};
use crate::types::MessageId;
use crate::types::storage::View;

/// Subjects that are compared; more than any run registers.
const SUBJECTS: usize = 1_000;

/// Of each subject the versions that count, 1 first, and those that do not: by the messages that said them.
pub type Registry = BTreeMap<String, (Vec<MessageId>, Vec<MessageId>)>;

/// What a node knows.
pub fn registry(view: &dyn View) -> Registry {
    let of = |name: String| {
        let subject = Subject::load(&name, view);
        let counted = subject.versions().iter().map(|version| version.registration.message).collect();
        let passed = subject.passed().iter().map(|passed| passed.registration.message).collect();
        (name, (counted, passed))
    };
    subjects(None, SUBJECTS, view).into_iter().map(of).collect()
}

/// Whether all nodes know the same, and all of that was promised to clients.
pub fn schemas(all: &[Registry], promised: &BTreeSet<MessageId>) -> Verdict {
    let Some((first, others)) = all.split_first() else { return Ok(()) };
    for (n, other) in others.iter().enumerate() {
        if let Some(name) = first.keys().chain(other.keys()).find(|name| first.get(*name) != other.get(*name)) {
            let (ours, theirs) = (first.get(name), other.get(name));
            return Err(format!("`{name}` is {ours:?} at one node and {theirs:?} at another, {}", n + 1));
        }
    }
    let known: BTreeSet<&MessageId> =
        first.values().flat_map(|(counted, passed)| counted.iter().chain(passed)).collect();
    let gone = promised.iter().find(|id| !known.contains(id));
    gone.map_or(Ok(()), |id| Err(format!("the registration in {id} was acknowledged and no node knows it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Stamp;

    #[test]
    fn schemas_objects_to_whatever_differs_and_to_what_is_gone() {
        let id = |n: u64| MessageId::new(Stamp::new(n, 0), 0);
        let of = |counted: &[u64], passed: &[u64]| {
            let ids = |ids: &[u64]| ids.iter().map(|n| id(*n)).collect::<Vec<_>>();
            Registry::from([("a".to_string(), (ids(counted), ids(passed)))])
        };
        assert_eq!(schemas(&[of(&[1, 2], &[3]), of(&[1, 2], &[3])], &[id(2), id(3)].into()), Ok(()));
        assert!(schemas(&[of(&[1, 2], &[3]), of(&[1, 3], &[2])], &BTreeSet::new()).is_err(), "another one counts");
        assert!(schemas(&[of(&[1], &[]), Registry::new()], &BTreeSet::new()).is_err(), "one node knows nothing");
        assert!(schemas(&[of(&[1], &[])], &[id(9)].into()).is_err(), "a promise is broken");
    }
}
