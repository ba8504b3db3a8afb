//! What a listener speaks: the protocol, and which keywords of its own the server announces and serves.
//!
//! Protocol and keywords are the machine's own; the room does not know what any of them does.

use std::time::Duration;

use pillarbox_smtp::{Keywords, Protocol};

use super::Problem;
use super::reader::{Table, Value};

/// `protocol` of a listener.
pub(super) fn read_protocol(listener: &mut Table<'_>) -> Protocol {
    let chosen = listener.take("protocol").and_then(|value| value.choice(&PROTOCOLS));
    chosen.unwrap_or_default()
}

const PROTOCOLS: [(&str, Protocol); 2] =
    [(Protocol::Smtp.name(), Protocol::Smtp), (Protocol::Lmtp.name(), Protocol::Lmtp)];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `esmtp` of a listener: what it announces and serves of what the machine can do. What stands on something that is off
/// is off as well.
pub(super) fn read_esmtp(listener: &mut Table<'_>) -> Keywords {
    let Some(mut table) = listener.table("esmtp") else {
        return Keywords::default();
    };
    let mut switch = |key| table.take(key).and_then(|value| Some((value.boolean()?, value)));
    let on = |switch: Option<(bool, Value<'_>)>| switch.is_none_or(|(on, _)| on);
    let wanted = |switch: Option<(bool, Value<'_>)>| switch.is_some_and(|(on, _)| on);
    let pipelining = on(switch("pipelining"));
    let size = on(switch("size"));
    let eight_bit_mime = on(switch("8bitmime"));
    let enhanced_status_codes = on(switch("enhancedstatuscodes"));
    let smtputf8 = switch("smtputf8");
    let chunking = on(switch("chunking"));
    let binarymime = switch("binarymime");
    let (dsn, limits, help, vrfy) = (on(switch("dsn")), on(switch("limits")), on(switch("help")), on(switch("vrfy")));
    let (deliver_by, future_release) = (wanted(switch("deliverby")), wanted(switch("futurerelease")));
    let (mt_priority, require_tls) = (wanted(switch("mt-priority")), on(switch("requiretls")));
    let mut seconds = |key, range, default| {
        let duration = table.take(key).and_then(|value| value.duration(range));
        u32::try_from(duration.unwrap_or(default).as_secs()).unwrap_or(u32::MAX)
    };
    let least = seconds("deliverby-minimum", Duration::ZERO..=DAY * 365, Duration::ZERO);
    let most = seconds("futurerelease-maximum", Duration::from_secs(1)..=DAY * 3650, DAY * 7);
    let keywords = Keywords {
        pipelining,
        size,
        eight_bit_mime,
        enhanced_status_codes,
        smtputf8: eight_bit_mime && on(smtputf8),
        chunking,
        binarymime: chunking && on(binarymime),
        dsn,
        limits,
        help,
        vrfy,
        deliver_by: deliver_by.then_some(least),
        future_release: future_release.then_some(most),
        mt_priority,
        require_tls,
    };
    // Who switches the base off means what stands on it as well, unless he says the contrary.
    for (base, switched_on, dependent) in [("8bitmime", eight_bit_mime, smtputf8), ("chunking", chunking, binarymime)] {
        if let Some((true, value)) = dependent.filter(|_| !switched_on) {
            let message = format!("`esmtp.{}` without `esmtp.{base}`", value.name);
            let help = format!("whoever is told of the one relies on the other: leave out `esmtp.{base} = false`");
            value.note(Problem::at(value.place, message).help(help));
        }
    }
    table.finish();
    keywords
}
