//! The stock extensions, embedded when the binary was built. To the host they are components like any other.

include!(concat!(env!("OUT_DIR"), "/stock.rs"));

/// The component of this name; none when the binary was built without (a plain `cargo build` in a fresh clone).
pub fn component(name: &str) -> Option<&'static [u8]> {
    STOCK.iter().find(|(stock, octets)| *stock == name && !octets.is_empty()).map(|(_, octets)| *octets)
}
