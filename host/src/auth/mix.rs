//! What the entries of a file are like, and how many are like each other: for names that have none, so that those who
//! ask for them see what they see of known ones. It does not know names.

use std::collections::BTreeMap;

use super::credential::{Cost, Credential};

/// The kinds of entries of a file in their proportions. As large as the file has kinds, of which there are few: another
/// one comes with another cost or length of salt.
pub(super) struct Mix {
    /// One entry of each kind, in an order that files share, with how many there are of its kind and of those before.
    kinds: Vec<(u64, Credential)>,
}

impl Mix {
    /// Of `all`; of none, of what is made for a new user.
    pub(super) fn new<'a>(all: impl Iterator<Item = &'a Credential>) -> Mix {
        let mut counts: BTreeMap<(Cost, Option<usize>), (u64, &Credential)> = BTreeMap::new();
        for credential in all {
            let salt = credential.scram().map(|verifier| verifier.salt.len());
            let (count, _) = counts.entry((credential.cost(), salt)).or_insert((0, credential));
            *count = count.saturating_add(1);
        }
        let mut total: u64 = 0;
        let mut kinds: Vec<_> = counts
            .into_values()
            .map(|(count, credential)| {
                total = total.saturating_add(count);
                (total, credential.clone())
            })
            .collect();
        if kinds.is_empty() {
            kinds.push((1, Credential::nobody()));
        }
        Mix { kinds }
    }

    /// The one that falls to `lot`. Where the file changes a little, few lots fall otherwise: whoever sees a name change
    /// with the others knows that it has no entry.
    pub(super) fn dealt(&self, lot: u64) -> Option<&Credential> {
        let total = self.kinds.last().map_or(0, |(total, _)| *total);
        let place = (u128::from(lot) * u128::from(total)) >> u64::BITS;
        let kind = self.kinds.partition_point(|(up_to, _)| u128::from(*up_to) <= place);
        self.kinds.get(kind).map(|(_, credential)| credential)
    }
}
