//! What is served all the same and hardly meant: in the configuration, of its certificates, and of where the server keeps
//! its state. `check` and `reload` show it, the log keeps it.

use super::Prepared;
use crate::config::Problem;
use crate::{observe, spool, tls};
use std::time::SystemTime;

impl Prepared {
    /// All of it, in the order of the text.
    pub fn warnings(&self, now: SystemTime) -> Vec<Problem> {
        let mut warnings = self.config.warnings();
        let state_dir = &self.config.server.state_dir;
        if let Some(mode) = spool::exposed(state_dir) {
            let path = state_dir.display();
            let message = format!("anybody may write in the state directory {path} (mode {mode:04o})");
            warnings.push(Problem::whole(message).help(format!("take it from them: chmod o-w {path}")).as_warning());
        }
        for (name, acceptor) in &self.tls {
            let Some(listener) = self.config.listeners.get(name) else { continue };
            for (written, validity) in listener.tls.certificates.iter().zip(acceptor.validity()) {
                let chain =
                    validity.chain.strip_prefix(&self.config.source.directory).unwrap_or(&validity.chain).display();
                let (from, until) = (observe::timestamp(validity.not_before), observe::timestamp(validity.not_after));
                let message = match validity.standing(now) {
                    tls::Standing::Good => continue,
                    tls::Standing::Early => format!("the certificate {chain} does not hold before {from}"),
                    tls::Standing::Ageing => {
                        format!("the certificate {chain} holds until {until}: less than a third of its life is left")
                    }
                    tls::Standing::Expired => {
                        format!("the certificate {chain} has expired, {until}")
                    }
                };
                warnings.push(Problem::at(written.place, message).as_warning());
            }
        }
        warnings.sort_by_key(Problem::place);
        warnings
    }
}

/// Each when its generation is published.
pub(super) fn log_warnings(prepared: &Prepared) {
    for warning in prepared.warnings(SystemTime::now()) {
        let (at, warning) = (&*warning.line(&prepared.config.source), warning.message());
        tracing::warn!(at, warning, "configuration");
    }
}
