//! Back to the generation before, at once: what it was made of is kept as it was checked, so that neither the file nor a
//! component is read, compiled or judged again. Only one is kept, and a rollback uses it up.

use super::prepare::refuse_expired;
use super::{Prepared, Refused, Server, users};
use crate::extension::Row;
use crate::tls;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A configuration with its extensions, certificates and users, and the generation it was published as.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) number: u64,
    pub(super) prepared: Arc<Prepared>,
}

impl Server {
    /// Serves the previous generation again, as a new one: sessions that hold the old number must see that it is another.
    ///
    /// # Errors
    /// There is none, an address cannot be had any more, or its certificate has expired since. Then everything stays.
    pub(super) async fn rollback_now(&self) -> Result<String, Refused> {
        let (now, previous) = {
            let serving = self.serving();
            (serving.now.clone(), serving.previous.clone())
        };
        let Served { number: target, prepared } = previous.ok_or(Refused::NoPrevious)?;
        // Nobody followed these files while another generation was served: a user who was removed since must not come
        // back. What cannot be read is said when they are watched again.
        for (path, file) in &prepared.users {
            if let Some(current) = now.prepared.users.get(path) {
                file.store(current.load_full());
            }
            let _ = users::read_again(path, file).await;
        }
        let acceptors: Vec<_> = prepared.tls.values().cloned().collect();
        let _ =
            tokio::task::spawn_blocking(move || acceptors.iter().for_each(|acceptor| drop(acceptor.refresh()))).await;
        take_over(&now.prepared.tls, &prepared.tls)?;
        let number = self.publish(prepared).await?;
        let mut serving = self.serving();
        serving.previous = None;
        serving.rolled_back_from = Some(now.number);
        Ok(format!(
            "generation {number} is served, which is what generation {target} was; generation {} holds again from the \
             next reload or restart, if the file still says so",
            now.number
        ))
    }

    /// Forgets the compiled code that neither what is served nor what was served before needs.
    pub(super) fn retain(&self) {
        let serving = self.serving();
        let served = [Some(&serving.now), serving.previous.as_ref()].into_iter().flatten();
        let rows: Vec<Row> = served.flat_map(|served| served.prepared.loaded.rows.iter().cloned()).collect();
        drop(serving);
        self.runtime.retain(&rows);
    }
}

/// What is presented goes over from one generation to the next.
///
/// # Errors
/// A certificate that was not served before has expired.
pub(super) fn take_over(
    old: &BTreeMap<String, tls::Acceptor>,
    new: &BTreeMap<String, tls::Acceptor>,
) -> Result<(), Refused> {
    for (name, acceptor) in new {
        match old.get(name) {
            // The same certificates: tickets that clients hold stay good.
            Some(before) if before.fingerprint() == acceptor.fingerprint() => acceptor.inherit(before),
            // Starting with an expired certificate is better than not starting; changing to one is a mistake.
            before => refuse_expired(acceptor, before)?,
        }
    }
    Ok(())
}
