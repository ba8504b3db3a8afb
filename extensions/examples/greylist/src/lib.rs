//! An example: greylisting (RFC 6647). Mail from a client, a sender and a recipient that were never seen together is
//! refused for now; who tries again after a while is let through, and from then on at once.
//!
//! It shows how `kv` and `table` are used. It reads no clock: that time passes is seen by a key that is gone. Whatever
//! fails lets the mail through, for greylisting that does not work must not cost any.

mod triplet;

use pillarbox_sdk::{
    Decision, Error, Extension, Parameter, Recipient, Reply, envelope_read, info, kv, session, settings, table, warn,
};
use triplet::triplet;

/// What the keys begin with; the operator grants it: `grant.kv = ["greylist/"]`.
const NAMESPACE: &str = "greylist/";

/// The table of networks that are never greylisted: `grant.table = ["exempt"]`, or `false` to do without.
const EXEMPT: &str = "exempt";

#[derive(Debug)]
struct Greylist {
    /// Seconds that must pass before another attempt counts.
    delay: u64,
    /// Seconds within which it must come.
    window: u64,
    /// Seconds for which one that passed is remembered after its last mail.
    keep: u64,
}

impl Extension for Greylist {
    fn init() -> Result<Self, String> {
        settings::only(&["delay", "window", "keep"])?;
        const DAY: u64 = 24 * 60 * 60;
        let greylist = Self {
            delay: seconds("delay", 5 * 60)?,
            window: seconds("window", DAY)?,
            keep: seconds("keep", 36 * DAY)?,
        };
        if greylist.window <= greylist.delay || greylist.keep == 0 {
            return Err("`window` must be longer than `delay`, and `keep` longer than nothing".to_owned());
        }
        Ok(greylist)
    }
}

impl Recipient for Greylist {
    fn recipient(&mut self, address: &str, _parameters: &[Parameter]) -> Decision {
        match self.judge(address) {
            Ok(true) => Decision::next(),
            // RFC 6647 section 4: 4yz, so that who is serious tries again.
            Ok(false) => Decision::tempfail(Reply::new(450, "4.7.1", "greylisted, try again later")),
            Err(why) => {
                warn!("not greylisted: {}", why.describe());
                Decision::next()
            }
        }
    }
}

pillarbox_sdk::export!(Greylist: recipient);

impl Greylist {
    /// Whether this mail is let through.
    fn judge(&self, recipient: &str) -> Result<bool, Error> {
        // Who has logged in is known, and will not try again for a while.
        if session::authentication()?.is_some() {
            return Ok(true);
        }
        let Some(client) = session::client()?.endpoint.address else { return Ok(true) };
        if exempt(&client)? {
            return Ok(true);
        }
        let sender = envelope_read::sender()?.unwrap_or_default();
        let triplet = triplet(&client, &sender, recipient);
        let passed = format!("{NAMESPACE}passed/{triplet}");
        let waiting = format!("{NAMESPACE}waiting/{triplet}");
        let early = format!("{NAMESPACE}early/{triplet}");
        if kv::get(&passed)?.is_some() {
            // Its time begins anew with each mail.
            kv::set(&passed, b"1", self.keep)?;
            return Ok(true);
        }
        if kv::get(&waiting)?.is_none() {
            // `waiting` is there as long as another attempt counts, `early` as long as none does yet. `early` first: were
            // it missing, whoever tries at once would pass. And 0 would be for ever.
            if self.delay > 0 {
                kv::set(&early, &[], self.delay)?;
            }
            kv::set(&waiting, &[], self.window)?;
            info!("{triplet} is new");
            return Ok(false);
        }
        if kv::get(&early)?.is_some() {
            return Ok(false);
        }
        kv::set(&passed, b"1", self.keep)?;
        kv::unset(&waiting)?;
        info!("{triplet} has passed");
        Ok(true)
    }
}

/// Whether the operator has named this client. Without the table nobody is.
fn exempt(client: &str) -> Result<bool, Error> {
    match table::lookup(EXEMPT, client) {
        Ok(value) => Ok(value.is_some()),
        Err(Error::Denied(_)) => Ok(false),
        Err(why) => Err(why),
    }
}

/// A duration of the settings, in whole seconds.
fn seconds(name: &str, default: u64) -> Result<u64, String> {
    Ok(settings::duration(name)?.map_or(default, |milliseconds| milliseconds.div_ceil(1000)))
}
