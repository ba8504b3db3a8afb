//! Chance that can be had again: a seed that is printed, and what follows from it.

/// xorshift64*, which is chance enough for where a server is killed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From `PILLARBOX_SEED`, or from the clock; printed either way.
    pub fn seeded() -> Random {
        let seed = match std::env::var("PILLARBOX_SEED") {
            Ok(seed) => seed.parse().expect("PILLARBOX_SEED is a number"),
            Err(_) => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
        };
        println!("PILLARBOX_SEED={seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below this.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

/// How often something is done, unless the environment says otherwise.
pub fn cycles(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |count| count.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
