//! `settings`: what the operator wrote for this extension.

use crate::config::Setting;
use crate::extension::bindings::pillarbox::extension::settings::{Host, Value};
use crate::extension::state::State;

impl Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<Value>> {
        self.cross(name.len())?;
        let Some(setting) = self.linked.settings.get(&name) else { return Ok(None) };
        let (octets, value) = match setting {
            Setting::Text(text) => (text.len(), Value::Text(text.clone())),
            Setting::Integer(number) => (8, Value::Integer(*number)),
            Setting::Float(number) => (8, Value::Float(*number)),
            Setting::Boolean(truth) => (1, Value::Boolean(*truth)),
            Setting::Texts(texts) => (texts.iter().map(String::len).sum(), Value::Texts(texts.clone())),
        };
        self.answer(octets, Some(value))
    }

    fn names(&mut self) -> wasmtime::Result<Vec<String>> {
        self.cross(0)?;
        let names: Vec<String> = self.linked.settings.keys().cloned().collect();
        self.answer(names.iter().map(String::len).sum(), names)
    }

    fn seed(&mut self) -> wasmtime::Result<u64> {
        self.cross(8)?;
        Ok(self.seed)
    }
}
