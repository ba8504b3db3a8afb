//! `http`: requests to hosts that are granted. What comes back is handed on as it is, redirects too.

use crate::config::{Capability, Spending};
use crate::extension::bindings::pillarbox::extension::http::{Host, Request, Response};
use crate::extension::bindings::pillarbox::extension::types::{Entry, Error};
use crate::extension::state::State;
use crate::http::{Client, Outgoing, Target};
use std::sync::Arc;

impl State {
    /// The request, where it goes and who sends it, if it may be sent.
    fn call(&mut self, request: Request) -> Result<(Target, Outgoing, Arc<Client>), Error> {
        // The grant is about hosts: what names none is no request.
        let target = Target::parse(&request.url).map_err(|error| Error::Invalid(error.to_string()))?;
        if !self.linked.grant.calls(&request.method, target.scheme, &target.host, target.port) {
            return self.deny(Capability::Http, &format!("{} {target}", request.method));
        }
        let headers = request.headers.iter().map(|entry| (entry.name.as_str(), entry.value.as_str()));
        let outgoing = Outgoing::new(&request.method, headers, request.body);
        let outgoing = outgoing.map_err(|error| Error::Invalid(error.to_string()))?;
        self.session()?;
        let client = self.linked.services.http.clone();
        Ok((target, outgoing, client.ok_or_else(|| Error::Failed("there is no client".to_owned()))?))
    }
}

impl Host for State {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        let fields: usize = request.headers.iter().map(octets).sum();
        self.cross(request.method.len() + request.url.len() + fields + request.body.len())?;
        self.spend(Spending::Http)?;
        let answer = match self.call(request) {
            Ok((target, outgoing, client)) => {
                client.send(&target, outgoing).await.map_err(|error| Error::Failed(error.to_string()))
            }
            Err(error) => Err(error),
        };
        let answer = answer.map(|answer| Response {
            status: answer.status,
            headers: answer.headers.into_iter().map(|(name, value)| Entry { name, value }).collect(),
            body: answer.body,
        });
        let size = |answer: &Response| answer.headers.iter().map(octets).sum::<usize>() + answer.body.len();
        self.answer(answer.as_ref().map_or(0, size), answer)
    }
}

fn octets(entry: &Entry) -> usize {
    entry.name.len() + entry.value.len()
}
